import type { Timers } from '../io/timers.js';

/** News that one loop waits for. What was raised while it did not wait is news still. */
export class Signal {
  readonly #timers: Timers;
  #raised = false;
  #wake: (() => void) | undefined;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  raise(): void {
    this.#raised = true;
    this.#wake?.();
  }

  /** Resolves with the next news, or after `limitMs`. */
  wait(limitMs: number): Promise<void> {
    if (this.#raised) {
      this.#raised = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#wake = undefined;
        this.#raised = false;
        cancel();
        resolve();
      };
      const cancel = this.#timers.after(Math.max(limitMs, 0), wake);
      this.#wake = wake;
    });
  }
}
