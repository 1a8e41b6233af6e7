import type { Clock } from '../io/clock.js';
import { sleep, type Timers } from '../io/timers.js';

/** Work goes on for about this long before it rests, so that whoever waits behind it does not wait long. */
const SLICE_MS = 10;
/** However long a slice became (a slow disk, a far peer): rests are not much longer than what a person notices. */
const MAX_REST_MS = 500;

/** Lets background work go on at full speed while the node has nothing else to do, and a part of the time while it has. */
export class Pace {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #busy: () => boolean;
  readonly #restShare: number;
  #workingSinceMs: number;
  #rest: Promise<void> | undefined;

  /** `busy`: whether the node has work in the foreground now. `restShare`: a rest, in parts of the work before it. */
  constructor(clock: Clock, timers: Timers, busy: () => boolean, restShare: number) {
    this.#restShare = restShare;
    this.#clock = clock;
    this.#timers = timers;
    this.#busy = busy;
    this.#workingSinceMs = clock.monotonicMs();
  }

  get busy(): boolean {
    return this.#busy();
  }

  /** Work begins, after there was none. */
  begin(): void {
    if (this.#rest === undefined) this.#workingSinceMs = this.#clock.monotonicMs();
  }

  /** Undefined: work on. Else it is time to rest, until the promise resolves. */
  rest(): Promise<void> | undefined {
    if (this.#rest !== undefined) return this.#rest;
    const workedMs = this.#clock.monotonicMs() - this.#workingSinceMs;
    if (workedMs < SLICE_MS) return undefined;
    if (!this.#busy()) {
      this.#workingSinceMs += workedMs;
      return undefined;
    }
    this.#rest = this.#restFor(Math.min(workedMs * this.#restShare, MAX_REST_MS));
    return this.#rest;
  }

  async #restFor(restMs: number): Promise<void> {
    await sleep(this.#timers, restMs);
    this.#rest = undefined;
    this.#workingSinceMs = this.#clock.monotonicMs();
  }
}
