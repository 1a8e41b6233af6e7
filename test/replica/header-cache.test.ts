import { expect, test } from 'vitest';
import { HEADER_BYTES } from '../../src/core/record.js';
import { HeaderCache } from '../../src/replica/header-cache.js';
import { bytes } from './fixtures.js';

const recordOf = (byte: number) => new Uint8Array(40).fill(byte);
const headerOf = (byte: number) => new Uint8Array(HEADER_BYTES).fill(byte);

test('a header is given back under its key, until two others that share its slots were used after it', () => {
  const cache = new HeaderCache(8);
  cache.set(bytes('a'), 1, recordOf(1));
  cache.set(bytes('b'), 2, recordOf(2));
  expect(cache.get(bytes('a'), 1)).toEqual(headerOf(1));
  cache.set(bytes('a'), 1, recordOf(3));
  expect(cache.get(bytes('a'), 1)).toEqual(headerOf(3));
  cache.set(bytes('c'), 5, recordOf(5));
  expect(cache.get(bytes('c'), 5)).toEqual(headerOf(5));
  expect(cache.get(bytes('a'), 1)).toEqual(headerOf(3));
  cache.set(bytes('d'), 9, recordOf(9));
  expect(cache.get(bytes('c'), 5)).toBeUndefined();
  expect(cache.get(bytes('a'), 1)).toEqual(headerOf(3));
  expect(cache.get(bytes('d'), 9)).toEqual(headerOf(9));
  expect(cache.get(bytes('b'), 2)).toEqual(headerOf(2));
});

test('what is forgotten is gone, and its slot is the next to be taken', () => {
  const cache = new HeaderCache(2);
  cache.set(bytes('a'), 0, recordOf(1));
  cache.set(bytes('b'), 0, recordOf(2));
  cache.forget(bytes('b'), 0);
  expect(cache.get(bytes('b'), 0)).toBeUndefined();
  cache.set(bytes('c'), 0, recordOf(3));
  expect(cache.get(bytes('a'), 0)).toEqual(headerOf(1));
  expect(cache.get(bytes('c'), 0)).toEqual(headerOf(3));
});

test('keys with the same hash are told apart, prefixes of each other included', () => {
  const cache = new HeaderCache(8);
  cache.set(bytes('ab'), 1, recordOf(1));
  expect(cache.get(bytes('ac'), 1)).toBeUndefined();
  expect(cache.get(bytes('a'), 1)).toBeUndefined();
  cache.set(bytes('a'), 1, recordOf(2));
  expect(cache.get(bytes('ab'), 1)).toEqual(headerOf(1));
  expect(cache.get(bytes('a'), 1)).toEqual(headerOf(2));
});

test('long keys are not remembered and displace nothing, and clearing forgets everything', () => {
  const cache = new HeaderCache(4);
  cache.set(bytes('a'), 1, recordOf(1));
  const long = bytes('k'.repeat(71));
  cache.set(long, 1, recordOf(2));
  expect(cache.get(long, 1)).toBeUndefined();
  expect(cache.get(bytes('a'), 1)).toEqual(headerOf(1));
  cache.clear();
  expect(cache.get(bytes('a'), 1)).toBeUndefined();
});
