import { expect, test } from 'vitest';
import { HEADER_BYTES } from '../../src/core/record.js';
import { HeaderCache } from '../../src/replica/header-cache.js';

const recordOf = (byte: number) => new Uint8Array(40).fill(byte);

test('a header is given back under its key, until another key takes its slot', () => {
  const cache = new HeaderCache(4);
  cache.set('a', 1, recordOf(1));
  cache.set('b', 2, recordOf(2));
  expect(cache.get('a', 1)).toEqual(new Uint8Array(HEADER_BYTES).fill(1));
  cache.set('a', 1, recordOf(3));
  expect(cache.get('a', 1)).toEqual(new Uint8Array(HEADER_BYTES).fill(3));
  cache.set('c', 5, recordOf(5));
  expect(cache.get('a', 1)).toBeUndefined();
  expect(cache.get('c', 5)).toEqual(new Uint8Array(HEADER_BYTES).fill(5));
  expect(cache.get('b', 2)).toEqual(new Uint8Array(HEADER_BYTES).fill(2));
});

test('keys with the same hash are told apart', () => {
  const cache = new HeaderCache(4);
  cache.set('a', 1, recordOf(1));
  expect(cache.get('b', 1)).toBeUndefined();
});

test('long keys are not remembered, and clearing forgets everything', () => {
  const cache = new HeaderCache(4);
  const long = 'k'.repeat(129);
  cache.set(long, 1, recordOf(1));
  expect(cache.get(long, 1)).toBeUndefined();
  cache.set('a', 1, recordOf(1));
  cache.clear();
  expect(cache.get('a', 1)).toBeUndefined();
});
