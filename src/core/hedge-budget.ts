/**
 * How many requests may be sent that nobody asked for: a share of those that were, plus a small burst. Without it, hedging
 * doubles the load just when everything is slow (Dean and Barroso, "The Tail at Scale", 2013).
 */
export class HedgeBudget {
  #left: number;

  constructor(
    readonly share = 0.05,
    readonly burst = 10,
  ) {
    this.#left = burst;
  }

  /** A request of its own right was sent. */
  earn(): void {
    this.#left = Math.min(this.#left + this.share, this.burst);
  }

  /** True when one more may be sent; it is then counted. */
  spend(): boolean {
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
