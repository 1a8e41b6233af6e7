import type { Clock } from '../io/clock.js';
import type { Timers } from '../io/timers.js';

/** Waiting that ends when the node stops, so that no timer outlives it. Moments are of the monotonic clock. */
export class Waits {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #ends = new Set<() => void>();
  #stopped = false;

  constructor(clock: Clock, timers: Timers) {
    this.#clock = clock;
    this.#timers = timers;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** What `answer` resolves with; false when the moment, or the end, comes first. */
  within(answer: Promise<boolean>, untilMs: number): Promise<boolean> {
    return this.#wait(untilMs, answer);
  }

  /** Resolves with false at the moment, or at the end. */
  until(atMs: number): Promise<boolean> {
    return this.#wait(atMs);
  }

  /** Ends all of them, and every later one at once. */
  stop(): void {
    this.#stopped = true;
    for (const end of this.#ends) end();
  }

  /** No answer is awaited where there is none: a promise that never settles would keep all who ever waited for it alive. */
  #wait(untilMs: number, answer?: Promise<boolean>): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#stopped) {
        resolve(false);
        return;
      }
      const settle = (value: boolean): void => {
        cancel();
        this.#ends.delete(end);
        resolve(value);
      };
      const end = (): void => settle(false);
      const cancel = this.#timers.after(Math.max(0, untilMs - this.#clock.monotonicMs()), end);
      this.#ends.add(end);
      void answer?.then(settle);
    });
  }
}
