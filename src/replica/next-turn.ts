import type { Timers } from '../io/timers.js';

/** Answers that were due at once and must not come within the call that they answer. */
export class NextTurn {
  readonly #timers: Timers;
  #waiting: (() => void)[] = [];

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  run(answer: () => void): void {
    this.#waiting.push(answer);
    if (this.#waiting.length > 1) return;
    this.#timers.turn(() => {
      const answers = this.#waiting;
      this.#waiting = [];
      for (const give of answers) give();
    });
  }
}
