import { expect, test } from 'vitest';
import { CircuitBreaker } from '../../src/core/circuit-breaker.js';

const OPTIONS = { failures: 3, backoffMs: 100, maxBackoffMs: 300 };

function opened(atMs: number): CircuitBreaker {
  const breaker = new CircuitBreaker(OPTIONS);
  for (let i = 0; i < 3; i++) breaker.failed(atMs);
  return breaker;
}

test('failures in a row open it, and a success in between starts the count anew', () => {
  const breaker = new CircuitBreaker(OPTIONS);
  breaker.failed(0);
  breaker.failed(0);
  breaker.succeeded();
  breaker.failed(0);
  breaker.failed(0);
  expect(breaker.admits(0)).toBe(true);
  breaker.failed(0);
  expect(breaker.admits(0)).toBe(false);
  expect(breaker.closed).toBe(false);
});

test('after the backoff one probe goes, and no other until its result', () => {
  const breaker = opened(0);
  expect(breaker.admits(99)).toBe(false);
  expect(breaker.admits(100)).toBe(true);
  breaker.sent(100);
  expect(breaker.admits(101)).toBe(false);
  breaker.succeeded();
  expect(breaker.admits(101)).toBe(true);
  expect(breaker.closed).toBe(true);
});

test('every failed probe doubles the backoff, up to its most', () => {
  const breaker = opened(0);
  let nowMs = 0;
  for (const backoffMs of [100, 200, 300, 300]) {
    expect(breaker.admits(nowMs + backoffMs - 1)).toBe(false);
    nowMs += backoffMs;
    expect(breaker.admits(nowMs)).toBe(true);
    breaker.sent(nowMs);
    breaker.failed(nowMs);
  }
});

test('calls that were sent before it opened fail later without keeping it open longer', () => {
  const breaker = opened(0);
  for (let nowMs = 1; nowMs < 100; nowMs++) breaker.failed(nowMs);
  expect(breaker.admits(100)).toBe(true);
});

test('a probe that never gets an answer does not keep it open for ever', () => {
  const breaker = opened(0);
  breaker.sent(100);
  expect(breaker.admits(199)).toBe(false);
  expect(breaker.admits(200)).toBe(true);
});

test('any success closes it, a ping that nobody counted as a probe included', () => {
  const breaker = opened(0);
  breaker.succeeded();
  expect(breaker.admits(1)).toBe(true);
});
