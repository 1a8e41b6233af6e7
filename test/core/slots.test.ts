import fc from 'fast-check';
import { expect, test } from 'vitest';
import { countSlots, firstSlots, hasSlot, MAX_SLOTS, slotBit } from '../../src/core/slots.js';

const slotSets = fc.uniqueArray(fc.integer({ min: 0, max: MAX_SLOTS - 1 }));

test('a set of slots holds what was put into it and counts it', () => {
  fc.assert(
    fc.property(slotSets, (members) => {
      const slots = members.reduce((set, slot) => set | slotBit(slot), 0);
      expect(countSlots(slots)).toBe(members.length);
      for (let slot = 0; slot < MAX_SLOTS; slot++) {
        expect(hasSlot(slots, slot)).toBe(members.includes(slot));
      }
    }),
    { seed: 1 },
  );
});

test('the first slots are the first ones, up to the most there can be', () => {
  for (let count = 0; count <= MAX_SLOTS; count++) {
    expect(countSlots(firstSlots(count))).toBe(count);
    expect(hasSlot(firstSlots(count), count)).toBe(false);
  }
});
