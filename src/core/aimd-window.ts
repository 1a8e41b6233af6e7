/**
 * How much may be under way to one receiver: it grows while answers come, and halves when they show that the receiver has too
 * much to do (additive increase, multiplicative decrease: Chiu and Jain 1989; it doubles until the first such sign, as in
 * TCP's slow start, Jacobson 1988).
 */
export class AimdWindow {
  readonly #min: number;
  readonly #max: number;
  #size: number;
  #isNew = true;
  /** Answers to what was sent before say nothing of the window as it is now. */
  #cutAtMs = Number.NEGATIVE_INFINITY;

  constructor(min: number, max: number) {
    this.#min = min;
    this.#max = max;
    this.#size = min;
  }

  get size(): number {
    return Math.floor(this.#size);
  }

  /** An answer came in good time. */
  grow(): void {
    const step = this.#isNew ? 1 : this.#min / this.#size;
    this.#size = Math.min(this.#max, this.#size + step);
  }

  /** What was sent at `sentAtMs` was refused for load, came late or was lost. Halves once for all that was under way then. */
  cut(sentAtMs: number, nowMs: number): void {
    if (sentAtMs < this.#cutAtMs) return;
    this.#cutAtMs = nowMs;
    this.#isNew = false;
    this.#size = Math.max(this.#min, this.#size / 2);
  }

  /** Begins anew: what it has learnt was of another connection. */
  reset(): void {
    this.#size = this.#min;
    this.#isNew = true;
    this.#cutAtMs = Number.NEGATIVE_INFINITY;
  }
}
