import type { Outcome } from './errors.js';
import { countSlots, slotBit, type Slots } from './slots.js';

/** Where a vote stands (etcd raft's `quorum` calls it pending, won, lost). Never changes once it is met or missed. */
export type Verdict = 'pending' | 'met' | 'missed';

/**
 * Counts what the replicas of a key answer to a write, and says what may be told to the caller. Pure: it is told what was
 * sent and what came back, each slot at most once, in any order.
 */
export class WriteTally {
  #pending: Slots = 0;
  #took: Slots = 0;
  /** Those that may have applied it, and those that did not say. */
  #failed: Slots = 0;

  constructor(
    readonly needed: number,
    /** The slots that count for the level: all of them, or those of a zone. */
    readonly counted: Slots,
  ) {}

  /** The record is on its way to the replica. */
  sent(slot: number): void {
    this.#pending |= slotBit(slot);
  }

  /** The record, or a newer one, is on the replica's disk. */
  took(slot: number): void {
    this.#pending &= ~slotBit(slot);
    this.#took |= slotBit(slot);
  }

  /** The replica has not applied the record and never will: it refused, or it was not sent after all. */
  refused(slot: number): void {
    this.#pending &= ~slotBit(slot);
  }

  /** The replica may have applied it, or may still. */
  failed(slot: number): void {
    this.#pending &= ~slotBit(slot);
    this.#failed |= slotBit(slot);
  }

  /** What the replica said does not count any more. */
  discard(slot: number): void {
    if ((this.#took & slotBit(slot)) !== 0) this.failed(slot);
    this.#took &= ~slotBit(slot);
  }

  /** How many replicas that count for the level have it on disk. */
  get answered(): number {
    return countSlots(this.#took & this.counted);
  }

  /** `met` as soon as enough have it; `missed` as soon as no answer still to come could make it enough. */
  get verdict(): Verdict {
    if (this.answered >= this.needed) return 'met';
    return countSlots((this.#took | this.#pending) & this.counted) < this.needed
      ? 'missed'
      : 'pending';
  }

  /**
   * What a failure answered now must admit. `none` only when no replica has it, none may have it, and none was sent it
   * without having answered; replicas that do not count for the level are as good as any other at keeping a write.
   */
  get outcome(): Outcome {
    return (this.#pending | this.#took | this.#failed) === 0 ? 'none' : 'unknown';
  }

  /** True when nothing is on its way any more. */
  get complete(): boolean {
    return this.#pending === 0;
  }
}
