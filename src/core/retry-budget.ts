export interface RetryBudgetOptions {
  /** How long a deposit or a withdrawal counts. */
  readonly windowMs: number;
  /** First attempts that allow one retry, whole: 5 bounds the extra load of retrying at a fifth. */
  readonly attemptsPerRetry: number;
  /**
   * Retries a second that are allowed in any case. Over the window they are more than one connection has under way, so that
   * all which a dying node takes with it can move on at once.
   */
  readonly retriesPerSecond: number;
}

const DEFAULT_RETRY_BUDGET: RetryBudgetOptions = {
  windowMs: 10_000,
  attemptsPerRetry: 5,
  retriesPerSecond: 250,
};

const SLICES = 10;

/**
 * A token bucket that leaks, after Finagle's RetryBudget: a first attempt deposits a token, a retry takes several, and both
 * are forgotten after the window. However many operations fail at once, retries stay a bounded part of what is
 * sent, so retrying cannot keep an overloaded cluster down.
 *
 * Time is passed in, on a clock that never goes back.
 */
export class RetryBudget {
  readonly #sliceMs: number;
  readonly #price: number;
  readonly #reserve: number;
  readonly #slices = new Float64Array(SLICES);
  #slice = 0;
  #balance = 0;

  constructor(options: RetryBudgetOptions = DEFAULT_RETRY_BUDGET) {
    this.#sliceMs = options.windowMs / SLICES;
    this.#price = options.attemptsPerRetry;
    this.#reserve = (options.retriesPerSecond * options.windowMs * this.#price) / 1_000;
  }

  /** A first attempt was made. */
  deposit(nowMs: number): void {
    this.#add(nowMs, 1);
  }

  /** True, and the tokens are taken, when a retry may be made now. */
  withdraw(nowMs: number): boolean {
    this.#leak(nowMs);
    if (this.#reserve + this.#balance < this.#price) return false;
    this.#add(nowMs, -this.#price);
    return true;
  }

  #add(nowMs: number, tokens: number): void {
    this.#leak(nowMs);
    const at = this.#slice % SLICES;
    this.#slices[at] = (this.#slices[at] as number) + tokens;
    this.#balance += tokens;
  }

  #leak(nowMs: number): void {
    const slice = Math.floor(nowMs / this.#sliceMs);
    if (slice === this.#slice) return;
    const passed = Math.min(slice - this.#slice, SLICES);
    for (let i = 1; i <= passed; i++) {
      const at = (this.#slice + i) % SLICES;
      this.#balance -= this.#slices[at] as number;
      this.#slices[at] = 0;
    }
    this.#slice = slice;
  }
}
