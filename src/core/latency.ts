const TYPICAL_WEIGHT = 0.1;
/** Up by this factor for an answer above the estimate, down by its 99th root for one below: they balance where 1 in 100 is. */
const UP = 1.1;
const DOWN = UP ** (-1 / 99);
const MIN_MS = 0.01;
const START_P99_MS = 10;

/**
 * What answers from one peer usually take, and what only one in a hundred exceeds: two numbers, changed in O(1) by every
 * answer. The quantile is a stochastic approximation (Ma, Muthukrishnan and Sandler, "Frugal Streaming for Estimating
 * Quantiles", 2013) on a logarithmic scale, so it follows a peer from 1 ms to 100 ms within about fifty slow answers.
 */
export class LatencyEstimate {
  #typicalMs: number | undefined;
  #p99Ms = START_P99_MS;

  /** An exponentially weighted mean; 0 before the first answer, so that a peer never asked is tried. */
  get typicalMs(): number {
    return this.#typicalMs ?? 0;
  }

  get p99Ms(): number {
    return this.#p99Ms;
  }

  observe(elapsedMs: number): void {
    const ms = Math.max(elapsedMs, MIN_MS);
    this.#typicalMs =
      this.#typicalMs === undefined
        ? ms
        : this.#typicalMs + (ms - this.#typicalMs) * TYPICAL_WEIGHT;
    this.#p99Ms = Math.max(this.#p99Ms * (ms > this.#p99Ms ? UP : DOWN), MIN_MS);
  }
}
