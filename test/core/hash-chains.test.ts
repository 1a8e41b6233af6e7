import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { HashChains } from '../../src/core/hash-chains.js';

interface Entry {
  readonly keyHash: number;
  readonly name: number;
  next: Entry | undefined;
}

const SEED = 20_261_123;

test('hash chains hold what was added and not deleted, and give it by its hash', () => {
  // Few hashes, so that chains are long, and negative ones, as bits of them are taken.
  const hash = fc.integer({ min: -40, max: 400 });
  const step = fc.record({ keyHash: hash, isAdded: fc.boolean(), which: fc.nat() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const chains = new HashChains<Entry>();
      const held: Entry[] = [];
      for (const [name, { keyHash, isAdded, which }] of steps.entries()) {
        if (isAdded || held.length === 0) {
          const entry: Entry = { keyHash, name, next: undefined };
          chains.add(entry);
          held.push(entry);
        } else {
          const [gone] = held.splice(which % held.length, 1) as [Entry];
          chains.delete(gone);
          chains.delete(gone);
        }
        expect(chains.size).toBe(held.length);
      }
      const names = (entries: Iterable<Entry>) =>
        [...entries].map(({ name }) => name).sort((a, b) => a - b);
      expect(names(chains)).toEqual(names(held));
      for (const entry of held) {
        let found = chains.chain(entry.keyHash);
        while (found !== undefined && found !== entry) found = found.next;
        expect(found).toBe(entry);
      }
    }),
    { seed: SEED, numRuns: 200 },
  );
});
