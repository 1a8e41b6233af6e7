import type { Clock } from '../io/clock.js';

/** Work that came less than this long ago is answered for: more of it is on the way. */
const LINGER_MS = 100;

export interface ForegroundOptions {
  readonly clock: Clock;
  /** How many operations are under way. */
  readonly underWay: () => number;
  /** How much work has come so far, in any unit that grows with it. */
  readonly begun: () => number;
}

/** Whether the node has work that somebody waits for: then what it does by itself steps back. */
export class Foreground {
  readonly #options: ForegroundOptions;
  #begun: number;
  #lastMs = Number.NEGATIVE_INFINITY;

  constructor(options: ForegroundOptions) {
    this.#options = options;
    this.#begun = options.begun();
  }

  get busy(): boolean {
    const { clock, underWay, begun } = this.#options;
    const nowMs = clock.monotonicMs();
    const begunNow = begun();
    if (underWay() > 0 || begunNow !== this.#begun) {
      this.#begun = begunNow;
      this.#lastMs = nowMs;
    }
    return nowMs - this.#lastMs < LINGER_MS;
  }
}
