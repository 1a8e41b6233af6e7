import fc from 'fast-check';
import { expect, test } from 'vitest';
import { countSlots, firstSlots, hasSlot } from '../../src/core/slots.js';
import { WriteTally, type Verdict } from '../../src/core/write-tally.js';

type Said = 'unsent' | 'silent' | 'took' | 'refused' | 'failed';

/** Counts like a person with a list, and asks every possible future whether it meets the level. */
function dumbVerdict(needed: number, counted: number, said: readonly Said[]): Verdict {
  const inZone = said.filter((_, slot) => hasSlot(counted, slot));
  const has = inZone.filter((one) => one === 'took').length;
  const may = inZone.filter((one) => one === 'silent').length;
  return has >= needed ? 'met' : has + may >= needed ? 'pending' : 'missed';
}

const histories = fc.integer({ min: 1, max: 7 }).chain((replicas) =>
  fc.record({
    needed: fc.integer({ min: 1, max: replicas }),
    counted: fc.integer({ min: 1, max: firstSlots(replicas) }),
    fates: fc.array(fc.constantFrom<Said>('unsent', 'silent', 'took', 'refused', 'failed'), {
      minLength: replicas,
      maxLength: replicas,
    }),
    order: fc.shuffledSubarray([...Array(replicas).keys()], { minLength: replicas }),
  }),
);

test('a tally agrees with its dumb twin after every answer, whatever the order', () => {
  fc.assert(
    fc.property(histories, ({ needed, counted, fates, order }) => {
      const tally = new WriteTally(needed, counted);
      const said: Said[] = fates.map((fate) => (fate === 'unsent' ? 'unsent' : 'silent'));
      for (const [slot, one] of said.entries()) if (one === 'silent') tally.sent(slot);

      for (const slot of order) {
        const before = tally.verdict;
        const fate = fates[slot] as Said;
        if (fate === 'took') tally.took(slot);
        else if (fate === 'refused') tally.refused(slot);
        else if (fate === 'failed') tally.failed(slot);
        said[slot] = fate;

        expect(tally.verdict).toBe(dumbVerdict(needed, counted, said));
        if (before !== 'pending') expect(tally.verdict).toBe(before);
        expect(tally.complete).toBe(!said.includes('silent'));
        const surelyNowhere = said.every((one) => one === 'unsent' || one === 'refused');
        expect(tally.outcome).toBe(surelyNowhere ? 'none' : 'unknown');
        const took = said.filter((one, i) => one === 'took' && hasSlot(counted, i));
        expect(tally.answered).toBe(took.length);
        expect(tally.answered).toBeLessThanOrEqual(countSlots(counted));
      }
    }),
    { seed: 2, numRuns: 500 },
  );
});
