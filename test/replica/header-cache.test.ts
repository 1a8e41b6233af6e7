import { expect, test } from 'vitest';
import { HEADER_BYTES } from '../../src/core/record.js';
import { HeaderCache } from '../../src/replica/header-cache.js';
import { bytes } from './fixtures.js';

const recordOf = (byte: number) => new Uint8Array(40).fill(byte);
const headerOf = (byte: number) => new Uint8Array(HEADER_BYTES).fill(byte);

test('a header is given back under its key, and of nine that share a set the first is gone that was not used lately', () => {
  const cache = new HeaderCache(16);
  const names = 'a b c d e f g h i j'.split(' ');
  const put = (at: number, byte: number) => {
    cache.set(bytes(names[at] as string), 2 * at, recordOf(byte));
  };
  const has = () => names.filter((name, at) => cache.get(bytes(name), 2 * at)).join('');
  for (let at = 0; at < 8; at++) put(at, at);
  cache.set(bytes('a'), 1, recordOf(99));
  expect(has()).toBe('abcdefgh');
  put(0, 77);
  expect(cache.get(bytes('a'), 0)).toEqual(headerOf(77));
  expect(cache.get(bytes('b'), 2)).toEqual(headerOf(1));
  expect(cache.get(bytes('a'), 1)).toEqual(headerOf(99));
  // All were used: the hand goes round once, and the first goes.
  put(8, 8);
  expect(cache.get(bytes('b'), 2)).toEqual(headerOf(1));
  // The second has been used since, the third has not.
  put(9, 9);
  expect(has()).toBe('bdefghij');
  expect(cache.get(bytes('j'), 18)).toEqual(headerOf(9));
});

test('what is forgotten is gone, and its slot is the next to be taken', () => {
  const cache = new HeaderCache(8);
  cache.set(bytes('a'), 0, recordOf(1));
  for (let other = 1; other < 8; other++) cache.set(bytes(`b${other}`), 0, recordOf(other));
  cache.forget(bytes('b1'), 0);
  expect(cache.get(bytes('b1'), 0)).toBeUndefined();
  cache.set(bytes('c'), 0, recordOf(3));
  expect(cache.get(bytes('a'), 0)).toEqual(headerOf(1));
  expect(cache.get(bytes('b7'), 0)).toEqual(headerOf(7));
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
  const cache = new HeaderCache(8);
  cache.set(bytes('a'), 1, recordOf(1));
  const long = bytes('k'.repeat(71));
  cache.set(long, 1, recordOf(2));
  expect(cache.get(long, 1)).toBeUndefined();
  expect(cache.get(bytes('a'), 1)).toEqual(headerOf(1));
  cache.clear();
  expect(cache.get(bytes('a'), 1)).toBeUndefined();
});
