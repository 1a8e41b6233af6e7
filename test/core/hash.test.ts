import { describe, expect, test } from 'vitest';
import { hash32, matchesHash64, writeHash64 } from '../../src/core/hash.js';

// Published by the authors of xxHash: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md and its sanity tests.
const VECTORS = [
  { text: '', hash32: 0x02cc5d05, hash64: 'ef46db3751d8e999' },
  { text: 'a', hash32: 0x550d7456, hash64: 'd24ec4f1a98c6e5b' },
  { text: 'abc', hash32: 0x32d153ff, hash64: '44bc2cf5ad770999' },
] as const;

describe('the hashes', () => {
  test.each(VECTORS)('of "$text" are those of xxHash', (vector) => {
    const bytes = Buffer.from(vector.text);
    expect(hash32(bytes)).toBe(vector.hash32);
    const out = Buffer.alloc(10);
    writeHash64(bytes, 0, out, 1);
    expect(out.toString('hex')).toBe(`00${vector.hash64}00`);
    expect(matchesHash64(bytes, 0, out, 1)).toBe(true);
  });

  test('depend on the seed, up to the largest', () => {
    const bytes = Buffer.from('abc');
    const out = Buffer.alloc(8);
    writeHash64(bytes, 0xffffffff, out, 0);
    expect(matchesHash64(bytes, 0xffffffff, out, 0)).toBe(true);
    expect(matchesHash64(bytes, 0, out, 0)).toBe(false);
    expect(hash32(bytes, 0xffffffff)).not.toBe(hash32(bytes));
  });

  test('differ in either half', () => {
    const bytes = Buffer.from('abc');
    const out = Buffer.alloc(8);
    for (let at = 0; at < 8; at++) {
      writeHash64(bytes, 0, out, 0);
      out[at] = (out[at] as number) ^ 1;
      expect(matchesHash64(bytes, 0, out, 0)).toBe(false);
    }
  });

  test('of 64 bits see differences that two seeded ones of 32 would both miss', () => {
    // Added to two words of one lane, 16 bytes apart, these cancel in xxHash32 under about every other seed.
    const inverseOfPrime2 = 0xb6c92f47;
    const [first, second] = [Math.imul(inverseOfPrime2, 1 << 18), 1 << 31];
    const seeds = 256;
    let missed = 0;
    for (let seed = 0; seed < seeds; seed++) {
      const bytes = Buffer.alloc(64, seed);
      const changed = Buffer.from(bytes);
      changed.writeInt32LE((bytes.readInt32LE(0) + first) | 0, 0);
      changed.writeInt32LE((bytes.readInt32LE(16) + second) | 0, 16);
      if (hash32(bytes, seed) === hash32(changed, seed)) missed++;
      const out = Buffer.alloc(8);
      writeHash64(bytes, seed, out, 0);
      expect(matchesHash64(changed, seed, out, 0)).toBe(false);
    }
    expect(missed).toBeGreaterThan(seeds / 4);
  });
});
