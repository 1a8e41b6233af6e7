import { compareFences, isAtOrBelow, NO_FENCE } from './fence.js';
import { compareRecords, isTombstone, VERSION_AT } from './record.js';
import { countSlots, hasSlot, slotBit, type Slots } from './slots.js';
import { compareBytesAt, VERSION_BYTES } from './version.js';

/** What is to be done next for a read. */
export type ReadStep =
  /** Nothing, until another answer comes. */
  | { readonly kind: 'wait' }
  /** Ask the replica for its record or its header. Then look again. */
  | { readonly kind: 'ask'; readonly slot: number; readonly part: 'record' | 'header' }
  /** Give the replica `tally.record`, which it lacks. Then look again. */
  | { readonly kind: 'repair'; readonly slot: number }
  /** Answer with `tally.record`; undefined is absence. */
  | { readonly kind: 'answer' }
  /** Too few replicas answer, or too few can take what was read. */
  | { readonly kind: 'missed' }
  /** All that answer hold something older than `minVersion`. */
  | { readonly kind: 'stale' }
  /** Of a read that may not bring anything to any replica: they do not hold the same. */
  | { readonly kind: 'differ' };

const WAIT: ReadStep = { kind: 'wait' };
const ANSWER: ReadStep = { kind: 'answer' };
const MISSED: ReadStep = { kind: 'missed' };
const STALE: ReadStep = { kind: 'stale' };
const DIFFER: ReadStep = { kind: 'differ' };

/**
 * Decides a read: whom to ask, when enough have answered, who must be repaired, and what the answer is. Pure: the shell
 * tells it what came back and does what {@link next} says until that is to wait.
 *
 * Two rules make QUORUM what it promises. The answer is the newest of what `needed` replicas hold, so it is no older than
 * any write that a majority has. And it is given only when `needed` replicas have it (or something newer) on disk, so no
 * later read of a majority can miss it: successive reads never go backwards.
 *
 * And one rule for fences (core/fence.ts), where replicas have not all committed the same: at or below the highest fence among
 * the answers only what a replica under that fence says counts, a record or absence. What one under a lower fence holds there is
 * either the same or what the fence hides. So absence has a version, that fence; a tombstone that others have dropped is equal to
 * it and is not copied back; and a record that only replicas without the fence hold never comes back.
 */
export class ReadTally {
  /** What each answered slot holds, as a record or a header; undefined for absence. */
  readonly #headers: (Uint8Array | undefined)[] = [];
  /** The committed fence of each answered slot; made with the first fence that comes. */
  #fences: (Uint8Array | undefined)[] | undefined;
  /** The highest of the slots that have answered. */
  #fence: Uint8Array = NO_FENCE;
  #asked: Slots = 0;
  /** Those of them that were asked for the whole record. */
  #askedWhole: Slots = 0;
  #answered: Slots = 0;
  #lost: Slots = 0;
  /** The slot that is asked again, for the whole of the newest record; -1 when none is. */
  #fetching = -1;
  /** Set once the answer is chosen: from then on it is only brought to enough disks. */
  #chosen = false;
  #held: Slots = 0;
  #repairing: Slots = 0;
  #repaired: Slots = 0;
  #record: Uint8Array | undefined;
  #recordFence: Uint8Array = NO_FENCE;

  constructor(
    readonly needed: number,
    /** The slots that count for the level and can be reached, best first; at least `needed`. */
    readonly order: readonly number[],
    /** 16 bytes, or empty for none. */
    readonly minVersion: Uint8Array,
    /**
     * Of a LINEARIZABLE read: it answers what `needed` replicas hold as it is, for that has been chosen and nothing newer had been
     * when it began. What they hold differently is for a round to choose.
     */
    readonly agreeing = false,
  ) {}

  /** The newest whole record that has come; what is answered, or given to replicas that lack it. */
  get record(): Uint8Array | undefined {
    return this.#record;
  }

  /** The committed fence of a replica that holds `record`, which a copy of it carries; empty: none. */
  get recordFence(): Uint8Array {
    return this.#recordFence;
  }

  /** The newest record or header that a replica holds, of those that answered; undefined when none holds anything. */
  get newest(): Uint8Array | undefined {
    const slot = this.#newestSlot();
    return slot === -1 ? undefined : this.#headers[slot];
  }

  /** The slots that hold the answer because this read gave it to them. */
  get repaired(): Slots {
    return this.#repaired;
  }

  /** How many replicas have answered, or, once the answer is chosen, have it on disk. */
  get answered(): number {
    return countSlots(this.#chosen ? this.#held : this.#answered);
  }

  /** Notes that the first `needed` of `order` are asked, the first of all for its record and the others for headers. */
  start(): void {
    for (let i = 0; i < this.needed; i++) this.#asked |= slotBit(this.order[i] as number);
    this.#askedWhole = slotBit(this.order[0] as number);
  }

  /** The replica holds a record, under its committed fence. After a request for the header, `record` is undefined. */
  found(
    slot: number,
    header: Uint8Array,
    record: Uint8Array | undefined,
    fence: Uint8Array | undefined,
  ): void {
    if (this.#chosen) return;
    this.#note(slot, record ?? header, fence);
    if (record === undefined) return;
    const order = this.#record === undefined ? 1 : compareRecords(record, this.#record);
    // One that a fence has overtaken gives way to what still counts, however new it is.
    const isOvertaken = order < 0 && !this.#counts(this.#record as Uint8Array, this.#recordFence);
    if (order > 0 || isOvertaken) {
      this.#record = record;
      this.#recordFence = fence ?? NO_FENCE;
    } else if (order === 0 && fence !== undefined && compareFences(fence, this.#recordFence) > 0) {
      this.#recordFence = fence;
    }
  }

  /** The replica holds nothing under the key, and has committed this fence. */
  absent(slot: number, fence: Uint8Array | undefined): void {
    if (this.#chosen) return;
    this.#note(slot, undefined, fence);
  }

  /** The replica does not answer; what it said before no longer counts, since what it holds cannot be had. */
  lost(slot: number): void {
    this.#lost |= slotBit(slot);
    if (this.#chosen) return;
    if (slot === this.#fetching) this.#fetching = -1;
    this.#answered &= ~slotBit(slot);
    this.#findFence();
  }

  /** A repair is on the replica's disk, or something newer is. */
  took(slot: number): void {
    this.#repairing &= ~slotBit(slot);
    this.#repaired |= slotBit(slot);
    this.#held |= slotBit(slot);
  }

  /** The replica could not take a repair. */
  refused(slot: number): void {
    this.#repairing &= ~slotBit(slot);
    this.#lost |= slotBit(slot);
  }

  /** What the replica said, and took, does not count any more, and it is not asked again. */
  discard(slot: number): void {
    this.lost(slot);
    this.#answered &= ~slotBit(slot);
    this.#held &= ~slotBit(slot);
    this.#repairing &= ~slotBit(slot);
    this.#repaired &= ~slotBit(slot);
  }

  /** Asks one replica more than the level needs, because those asked are late. To wait when none is left. */
  hedge(): ReadStep {
    if (this.#chosen) return WAIT;
    if (countSlots(this.#answered) >= this.needed) return this.agreeing ? DIFFER : WAIT;
    return this.#askAnother(this.#record === undefined) ?? WAIT;
  }

  /** What to do now. Call it after every answer, and again after every step that is not to wait or to end. */
  next(): ReadStep {
    if (this.#chosen) return this.#settle();
    const answered = countSlots(this.#answered);
    const awaited = this.#asked & ~this.#answered & ~this.#lost;
    const lacksWhole = this.#record === undefined && (awaited & this.#askedWhole) === 0;
    if (answered < this.needed) {
      if (answered + countSlots(awaited) >= this.needed) return WAIT;
      return this.#askAnother(lacksWhole) ?? MISSED;
    }
    const holder = this.#newestSlot();
    const newest = holder === -1 ? undefined : this.#headers[holder];
    if (this.#isStale(newest)) {
      return this.#askAnother(lacksWhole) ?? (awaited === 0 ? STALE : WAIT);
    }
    if (newest === undefined) {
      this.#record = undefined;
    } else if (!this.#hasWhole(newest)) {
      if (this.#fetching !== -1) return WAIT;
      this.#fetching = holder;
      return { kind: 'ask', slot: holder, part: 'record' };
    }
    if (this.agreeing && !this.#isAgreed()) {
      return this.#askAnother(lacksWhole) ?? (awaited === 0 ? DIFFER : WAIT);
    }
    if (this.#record === undefined) return ANSWER;
    this.#choose(this.#record);
    return this.agreeing ? ANSWER : this.#settle();
  }

  /** Whether enough of those that answer hold just what is to be answered. */
  #isAgreed(): boolean {
    let holders = 0;
    for (const slot of this.order) {
      if (hasSlot(this.#answered, slot) && isSame(this.#headers[slot], this.#record)) holders++;
    }
    return holders >= this.needed;
  }

  #note(slot: number, header: Uint8Array | undefined, fence: Uint8Array | undefined): void {
    if (slot === this.#fetching) this.#fetching = -1;
    this.#answered |= slotBit(slot);
    this.#headers[slot] = header;
    if (fence !== undefined) this.#fences ??= [];
    if (this.#fences !== undefined) this.#fences[slot] = fence;
    this.#findFence();
  }

  /** Only of those whose answer counts: a fence says nothing without what its replica holds. */
  #findFence(): void {
    if (this.#fences === undefined) return;
    this.#fence = NO_FENCE;
    for (const slot of this.order) {
      if (!hasSlot(this.#answered, slot)) continue;
      const fence = this.#fences[slot];
      if (fence !== undefined && compareFences(fence, this.#fence) > 0) this.#fence = fence;
    }
  }

  /** Whether a record held under this fence may be the newest. */
  #counts(header: Uint8Array, fence: Uint8Array): boolean {
    return !isAtOrBelow(header, this.#fence) || compareFences(fence, this.#fence) >= 0;
  }

  /** Whether the whole of the newest record, or of a newer one that a replica had when it was asked, has come. */
  #hasWhole(newest: Uint8Array): boolean {
    if (this.#record === undefined || !this.#counts(this.#record, this.#recordFence)) return false;
    return compareRecords(this.#record, newest) >= 0;
  }

  /** The version of absence is the highest fence: absence without one is older than every version but the zero one. */
  #isStale(newest: Uint8Array | undefined): boolean {
    const { minVersion } = this;
    if (minVersion.length === 0) return false;
    if (newest !== undefined) {
      return compareBytesAt(newest, VERSION_AT, minVersion, 0, VERSION_BYTES) < 0;
    }
    return minVersion.some((byte) => byte !== 0) && compareFences(this.#fence, minVersion) < 0;
  }

  #choose(record: Uint8Array): void {
    this.#chosen = true;
    for (const slot of this.order) {
      if (!hasSlot(this.#answered, slot)) continue;
      const header = this.#headers[slot];
      if (header !== undefined && compareRecords(header, record) === 0) {
        this.#held |= slotBit(slot);
      }
    }
  }

  /** Brings the chosen record to every replica that answered without it, and to others where one of those fails. */
  #settle(): ReadStep {
    const spoken = this.#held | this.#repairing | this.#lost;
    const behind = this.#firstOf(this.#answered & ~spoken);
    if (behind !== -1) return this.#repair(behind);
    const held = countSlots(this.#held);
    if (held >= this.needed) return ANSWER;
    if (held + countSlots(this.#repairing) >= this.needed) return WAIT;
    const another = this.#firstOf(~spoken);
    return another === -1 ? MISSED : this.#repair(another);
  }

  #repair(slot: number): ReadStep {
    this.#repairing |= slotBit(slot);
    return { kind: 'repair', slot };
  }

  #askAnother(whole: boolean): ReadStep | undefined {
    const slot = this.#firstOf(~this.#asked);
    if (slot === -1) return undefined;
    this.#asked |= slotBit(slot);
    if (whole) this.#askedWhole |= slotBit(slot);
    return { kind: 'ask', slot, part: whole ? 'record' : 'header' };
  }

  /** The best of the given slots that may be asked; -1 when there is none. */
  #firstOf(slots: Slots): number {
    for (const slot of this.order) {
      if (hasSlot(slots, slot)) return slot;
    }
    return -1;
  }

  #newestSlot(): number {
    let newest = -1;
    for (const slot of this.order) {
      if (!hasSlot(this.#answered, slot)) continue;
      const header = this.#headers[slot];
      if (header === undefined || !this.#counts(header, this.#fences?.[slot] ?? NO_FENCE)) continue;
      const best = newest === -1 ? undefined : this.#headers[newest];
      if (best === undefined || compareRecords(header, best) > 0) newest = slot;
    }
    return newest;
  }
}

/**
 * Whether a replica holds what is to be answered. A tombstone at or below the fence is absence, and a record that expired before it
 * is not: where that fence is not committed, it is still there for whoever judges by a clock that is behind.
 */
function isSame(header: Uint8Array | undefined, record: Uint8Array | undefined): boolean {
  if (record === undefined) return header === undefined || isTombstone(header);
  return header !== undefined && compareRecords(header, record) === 0;
}
