import type { Outcome } from './errors.js';
import { compareFences, isAtOrBelow, NO_FENCE } from './fence.js';
import { compareRecords } from './record.js';
import { countSlots, slotBit, type Slots } from './slots.js';
import { compareBytesAt, VERSION_BYTES } from './version.js';

/*
 * A round of CASPaxos (Rystsov, arXiv 1802.07000) on the replicas of one key, at one ballot, which only its coordinator uses and
 * for one record only:
 *
 * 1. Prepare. A majority promises to take nothing below the ballot any more, and says what it holds.
 * 2. The change function (core/linear-decision.ts) makes a record of the newest of that; its version is the ballot.
 * 3. Accept. A majority takes it: it is *chosen*, and answered.
 *
 * Whatever was chosen at a lower ballot is on some replica of the majority that promised, for that one took it before it promised.
 * So by induction the newest of what they hold is what was chosen last or builds on it, and what is chosen is never lost. A
 * plain write is an accept at its own stamp without a prepare: it builds on nothing and replaces what it finds, as a write may that
 * expects nothing. Where a majority took it, every later prepare meets it; where a minority did, a round meets it or does
 * not, and it takes effect when one has, or is shadowed.
 *
 * Promises need not be named by the accept that relies on them, though replicas may forget: who is refilled is given promises along
 * with values, by so many replicas that one of those is among them whose answers were counted beside its own, as
 * core/replica-groups.ts argues for values. What it holds below one of them it only has a copy of, and abstains on
 * (replica/promises.ts).
 */

/** Counts what replicas answer to a prepare. Pure; each slot is told of once. */
export class PrepareTally {
  #awaited: Slots = 0;
  #promised: Slots = 0;
  /** By slot, of those that have promised. */
  readonly #records: (Uint8Array | undefined)[] = [];
  readonly #fences: Uint8Array[] = [];
  #beatenBy: Uint8Array | undefined;

  constructor(readonly needed: number) {}

  asked(slot: number): void {
    this.#awaited |= slotBit(slot);
  }

  promised(slot: number, record: Uint8Array | undefined, fence: Uint8Array = NO_FENCE): void {
    this.#awaited &= ~slotBit(slot);
    this.#promised |= slotBit(slot);
    this.#records[slot] = record;
    this.#fences[slot] = fence;
  }

  /** It has promised, or holds, this version: a ballot must be above it. */
  beaten(slot: number, by: Uint8Array): void {
    this.lost(slot);
    this.#beatenBy = higher(this.#beatenBy, by);
  }

  /** It does not promise, for whatever other reason; or what it promised does not count any more. */
  lost(slot: number): void {
    this.#awaited &= ~slotBit(slot);
    this.#promised &= ~slotBit(slot);
  }

  /** `short`: what is on its way cannot make it a majority. */
  get verdict(): 'pending' | 'promised' | 'short' {
    if (this.answered >= this.needed) return 'promised';
    return countSlots(this.#promised | this.#awaited) < this.needed ? 'short' : 'pending';
  }

  get answered(): number {
    return countSlots(this.#promised);
  }

  get beatenBy(): Uint8Array | undefined {
    return this.#beatenBy;
  }

  /** The highest fence that any of them has committed: the version of absence. */
  get fence(): Uint8Array {
    let highest: Uint8Array = NO_FENCE;
    this.#eachPromised((slot) => {
      const fence = this.#fences[slot] as Uint8Array;
      if (compareFences(fence, highest) > 0) highest = fence;
    });
    return highest;
  }

  /**
   * The newest that any of them holds. As in reads (core/read-tally.ts), at or below the highest fence only what a replica under that
   * fence holds counts.
   */
  get record(): Uint8Array | undefined {
    const { fence } = this;
    let newest: Uint8Array | undefined;
    this.#eachPromised((slot) => {
      const record = this.#records[slot];
      if (record === undefined) return;
      const held = this.#fences[slot] as Uint8Array;
      if (isAtOrBelow(record, fence) && compareFences(held, fence) < 0) return;
      if (newest === undefined || compareRecords(record, newest) > 0) newest = record;
    });
    return newest;
  }

  #eachPromised(visit: (slot: number) => void): void {
    for (let slot = 0; slot < this.#records.length; slot++) {
      if ((this.#promised & slotBit(slot)) !== 0) visit(slot);
    }
  }
}

/** Counts what replicas answer to an accept. Pure; each slot is told of once. */
export class AcceptTally {
  #awaited: Slots = 0;
  #accepted: Slots = 0;
  /** Those that may have taken it, and those that did not say. */
  #unknown: Slots = 0;
  #beatenBy: Uint8Array | undefined;

  constructor(readonly needed: number) {}

  sent(slot: number): void {
    this.#awaited |= slotBit(slot);
  }

  /** The record is on its disk. */
  accepted(slot: number): void {
    this.#awaited &= ~slotBit(slot);
    this.#accepted |= slotBit(slot);
  }

  /** It has promised, or holds, a higher version, and never takes the record any more. */
  beaten(slot: number, by: Uint8Array): void {
    this.#awaited &= ~slotBit(slot);
    this.#beatenBy = higher(this.#beatenBy, by);
  }

  /** It has not taken the record, and never will. */
  refused(slot: number): void {
    this.#awaited &= ~slotBit(slot);
  }

  /** It may have taken it, or may still. */
  failed(slot: number): void {
    this.#awaited &= ~slotBit(slot);
    this.#unknown |= slotBit(slot);
  }

  /** What it said does not count any more. */
  discard(slot: number): void {
    if ((this.#accepted & slotBit(slot)) !== 0) this.failed(slot);
    this.#accepted &= ~slotBit(slot);
  }

  /** `short`: what is on its way cannot make it chosen. Others may still find it, and choose it. */
  get verdict(): 'pending' | 'chosen' | 'short' {
    if (this.answered >= this.needed) return 'chosen';
    return countSlots(this.#accepted | this.#awaited) < this.needed ? 'short' : 'pending';
  }

  get answered(): number {
    return countSlots(this.#accepted);
  }

  get beatenBy(): Uint8Array | undefined {
    return this.#beatenBy;
  }

  /** `none`: no replica has it, and none may have it. */
  get outcome(): Outcome {
    return (this.#awaited | this.#accepted | this.#unknown) === 0 ? 'none' : 'unknown';
  }

  get complete(): boolean {
    return this.#awaited === 0;
  }
}

function higher(a: Uint8Array | undefined, b: Uint8Array): Uint8Array {
  return a === undefined || compareBytesAt(b, 0, a, 0, VERSION_BYTES) > 0 ? b : a;
}
