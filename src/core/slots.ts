/**
 * A set of the replicas of one key, as bits of a small integer: bit `slot` is the replica at that place of the preference
 * list. Tallies are made of these, so that one costs a few integers and no allocation. At most 31 slots.
 */
export type Slots = number;

export const MAX_SLOTS = 31;
export const NO_SLOTS: Slots = 0;

/** The first `count` slots. */
export function firstSlots(count: number): Slots {
  return 2 ** count - 1;
}

export function slotBit(slot: number): Slots {
  return 1 << slot;
}

export function hasSlot(slots: Slots, slot: number): boolean {
  return (slots & (1 << slot)) !== 0;
}

/** How many slots are in the set. */
export function countSlots(slots: Slots): number {
  let count = 0;
  for (let rest = slots; rest !== 0; rest &= rest - 1) count++;
  return count;
}
