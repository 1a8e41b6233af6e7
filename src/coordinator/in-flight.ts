import type { Clock } from '../io/clock.js';
import type { Timers } from '../io/timers.js';

/** How often deadlines and late answers are looked for: an operation may outlive its deadline by this much. */
const SWEEP_MS = 5;

export interface InFlightBounds {
  readonly maxOperations: number;
  readonly maxBytes: number;
}

export const DEFAULT_IN_FLIGHT: InFlightBounds = {
  maxOperations: 8_192,
  maxBytes: 64 * 1024 * 1024,
};

/** An operation that has not been answered yet. Operations form a list through themselves, so joining it allocates nothing. */
export abstract class UnderWay {
  /** From when it is sent until it is answered; {@link InFlight} keeps it. */
  isUnderWay = false;
  before: UnderWay | undefined;
  after: UnderWay | undefined;
  abstract readonly deadlineMs: number;
  /** What it counts for against the bound on bytes. */
  abstract readonly bytes: number;
  /** Its deadline has passed: answers, and leaves. */
  abstract expire(): void;
  /** Nobody waits for it any more: answers, and leaves. */
  abstract cancel(): void;
  /** True when it carries out what the caller handed in. */
  abstract serves(operation: object): boolean;
  /** Whether anything may be to do for it before its deadline. */
  get isLookedAt(): boolean {
    return true;
  }
  /** Called now and then before its deadline. */
  look(_nowMs: number): void {}
}

/** The operations under way: how many, how large, and one timer for all their deadlines. */
export class InFlight {
  #first: UnderWay | undefined;
  #last: UnderWay | undefined;
  #count = 0;
  #bytes = 0;
  /** How many of them {@link UnderWay.isLookedAt}. */
  #lookedAt = 0;
  /** No deadline is before it. */
  #earliestMs = Infinity;
  #sweeping = false;
  #onEmpty: (() => void)[] = [];

  constructor(
    private readonly clock: Clock,
    private readonly timers: Timers,
    private readonly bounds: InFlightBounds,
  ) {}

  get count(): number {
    return this.#count;
  }

  /** Whether there is room for one more of `bytes`. */
  hasRoom(bytes: number): boolean {
    // A lone operation is let in whatever its size: the limits on keys and values have bounded it already.
    return (
      this.#count < this.bounds.maxOperations &&
      (this.#count === 0 || this.#bytes + bytes <= this.bounds.maxBytes)
    );
  }

  add(operation: UnderWay): void {
    operation.isUnderWay = true;
    operation.before = this.#last;
    if (this.#last === undefined) this.#first = operation;
    else this.#last.after = operation;
    this.#last = operation;
    this.#count++;
    this.#bytes += operation.bytes;
    if (operation.isLookedAt) this.#lookedAt++;
    if (operation.deadlineMs < this.#earliestMs) this.#earliestMs = operation.deadlineMs;
    if (!this.#sweeping) this.#armSweep();
  }

  /** It has been answered. Called once for each that was added. */
  remove(operation: UnderWay): void {
    operation.isUnderWay = false;
    const { before, after } = operation;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    operation.before = undefined;
    operation.after = undefined;
    this.#count--;
    this.#bytes -= operation.bytes;
    if (operation.isLookedAt) this.#lookedAt--;
    if (this.#count === 0 && this.#onEmpty.length > 0) {
      for (const tell of this.#onEmpty.splice(0)) tell();
    }
  }

  /** The oldest first: a broken channel cancels what it carried in that order, so each is found at once. */
  find(operation: object): UnderWay | undefined {
    for (let one = this.#first; one !== undefined; one = one.after) {
      if (one.serves(operation)) return one;
    }
    return undefined;
  }

  /** Calls `tell` once nothing is under way. */
  whenEmpty(tell: () => void): void {
    if (this.#count === 0) tell();
    else this.#onEmpty.push(tell);
  }

  #armSweep(): void {
    this.#sweeping = true;
    this.timers.after(SWEEP_MS, () => {
      this.#sweeping = false;
      this.#sweep();
      if (this.#count > 0) this.#armSweep();
    });
  }

  #sweep(): void {
    const nowMs = this.clock.monotonicMs();
    // Of writes there may be a thousand, with nothing to do for any of them.
    if (this.#lookedAt === 0 && nowMs < this.#earliestMs) return;
    this.#earliestMs = Infinity;
    for (let one = this.#first; one !== undefined;) {
      const { after }: UnderWay = one;
      if (nowMs >= one.deadlineMs) one.expire();
      else {
        if (one.deadlineMs < this.#earliestMs) this.#earliestMs = one.deadlineMs;
        one.look(nowMs);
      }
      // Who hears an answer may cancel other operations. If it was the next one, the next sweep goes on with the rest.
      if (after?.isUnderWay === false) this.#earliestMs = nowMs;
      one = after?.isUnderWay === true ? after : undefined;
    }
  }
}
