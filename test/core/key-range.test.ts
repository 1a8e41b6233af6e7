import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareKeys, keyAfter, prefixEnd } from '../../src/core/key-range.js';
import { keys, LAW } from './arbitraries.js';

function startsWith(key: Uint8Array, prefix: Uint8Array): boolean {
  return Buffer.compare(key.subarray(0, prefix.length), prefix) === 0;
}

describe('keys', () => {
  test('are ordered as the store orders them', () => {
    fc.assert(
      fc.property(keys, keys, (a, b) => {
        expect(Math.sign(compareKeys(a, b))).toBe(Buffer.compare(a, b));
      }),
      LAW,
    );
  });

  test('have nothing between them and the key after', () => {
    fc.assert(
      fc.property(keys, keys, (key, other) => {
        const after = keyAfter(key);
        expect(compareKeys(key, after)).toBeLessThan(0);
        expect(compareKeys(other, key) > 0).toBe(compareKeys(other, after) >= 0);
      }),
      LAW,
    );
  });
});

describe('the end of a prefix', () => {
  test('bounds exactly the keys that start with it', () => {
    fc.assert(
      fc.property(keys, keys, fc.boolean(), (prefix, tail, extend) => {
        const key = extend ? Buffer.concat([prefix, tail]) : tail;
        const end = prefixEnd(prefix);
        const within =
          compareKeys(key, prefix) >= 0 && (end === undefined || compareKeys(key, end) < 0);
        expect(within).toBe(startsWith(key, prefix));
      }),
      LAW,
    );
  });

  test('is open for the empty prefix and for one of nothing but 0xff', () => {
    expect(prefixEnd(Buffer.alloc(0))).toBeUndefined();
    expect(prefixEnd(Buffer.from([0xff, 0xff]))).toBeUndefined();
    expect(prefixEnd(Buffer.from([1, 0xff]))).toEqual(new Uint8Array([2]));
  });

  test('leaves the prefix as it was', () => {
    const prefix = Buffer.from('ab');
    prefixEnd(prefix);
    expect(prefix.toString()).toBe('ab');
  });
});
