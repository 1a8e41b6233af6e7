export interface CircuitBreakerOptions {
  /** This many failures in a row open it. */
  readonly failures: number;
  /** How long it stays open the first time; twice as long after every probe that fails. */
  readonly backoffMs: number;
  readonly maxBackoffMs: number;
}

const DEFAULT_BREAKER: CircuitBreakerOptions = {
  failures: 5,
  backoffMs: 500,
  maxBackoffMs: 8_000,
};

/**
 * Keeps calls away from a peer that keeps failing, so that it does not cost every request its deadline (Nygard, "Release
 * It!"). Closed, it lets all through. Open, none. Once the backoff has passed it is half open: one call goes as a probe, and
 * its result closes the breaker or opens it again for longer. Times are of one monotonic clock.
 */
export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  #failuresInRow = 0;
  /** When the next probe may go; undefined while closed. */
  #probeAtMs: number | undefined;
  #probing = false;
  #backoffMs: number;

  constructor(options: CircuitBreakerOptions = DEFAULT_BREAKER) {
    this.#options = options;
    this.#backoffMs = options.backoffMs;
  }

  get closed(): boolean {
    return this.#probeAtMs === undefined;
  }

  /** Whether a call may be sent now. */
  admits(nowMs: number): boolean {
    return this.#probeAtMs === undefined || nowMs >= this.#probeAtMs;
  }

  /** A call is sent. Half open, it is the probe: no other goes until it has failed, or the backoff has passed again. */
  sent(nowMs: number): void {
    if (this.#probeAtMs === undefined) return;
    this.#probing = true;
    this.#probeAtMs = nowMs + this.#backoffMs;
  }

  /** The peer answered, whatever it said: closed. */
  succeeded(): void {
    this.#failuresInRow = 0;
    if (this.#probeAtMs === undefined) return;
    this.#probeAtMs = undefined;
    this.#probing = false;
    this.#backoffMs = this.#options.backoffMs;
  }

  /** The peer did not answer in time, or the way to it broke. */
  failed(nowMs: number): void {
    if (this.#probeAtMs === undefined) {
      this.#failuresInRow++;
      if (this.#failuresInRow >= this.#options.failures) this.#probeAtMs = nowMs + this.#backoffMs;
      return;
    }
    // Calls that were sent before it opened fail for a while after: they say nothing new.
    if (!this.#probing && nowMs < this.#probeAtMs) return;
    this.#probing = false;
    this.#backoffMs = Math.min(this.#backoffMs * 2, this.#options.maxBackoffMs);
    this.#probeAtMs = nowMs + this.#backoffMs;
  }
}
