import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { KeyFilter } from '../../src/replica/key-filter.js';

const hashOf = (name: string) => hash32(Buffer.from(name));

describe('the filter of keys', () => {
  test('never misses a key that was added, however many layers it takes', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(0xffffffff), { maxLength: 400 }), (hashes) => {
        const filter = new KeyFilter(256);
        for (const hash of hashes) filter.add(hash);
        return hashes.every((hash) => filter.mayHave(hash));
      }),
      { seed: 11, numRuns: 50 },
    );
  });

  test('reports fewer than one in a hundred of the keys that were not added, over four layers', () => {
    const filter = new KeyFilter(2 ** 16);
    for (let i = 0; i < 50_000; i++) filter.add(hashOf(`in/${i}`));
    let wrong = 0;
    for (let i = 0; i < 20_000; i++) wrong += filter.mayHave(hashOf(`out/${i}`)) ? 1 : 0;
    expect(wrong).toBeLessThan(200);
    expect(filter.sizeBytes).toBe((2 ** 16 * (1 + 2 + 4 + 8)) / 8);
  });

  test('does not grow when a key is added again', () => {
    const filter = new KeyFilter(256);
    for (let i = 0; i < 10_000; i++) filter.add(hashOf(`in/${i % 10}`));
    expect(filter.sizeBytes).toBe(32);
  });
});
