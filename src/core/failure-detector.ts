/** How many round trips are remembered. */
const WINDOW = 32;
/** An answer that is late by this many deviations has phi 8: one in a hundred million would come later. */
const LOST_DEVIATIONS = 5.225;
/** No number of nines says more. */
const MAX_PHI = 99;

export interface RhythmBounds {
  /** Before anything was measured, a probe is taken to be lost after this. */
  readonly untriedMs: number;
  /** A link may be this unsteady however steady it was: processes pause, disks stall. */
  readonly leastDeviationMs: number;
  /** However slow the link has been, a probe is taken to be lost after this. */
  readonly mostMs: number;
}

/**
 * The rhythm of one link, learnt from the round trips of answered probes: a phi accrual failure detector (Hayashibara et al.
 * 2004). phi = n says that an answer comes later than this with a chance of 10^-n, were the link as it has been. The normal
 * distribution's tail is approximated by a logistic function, as in Akka.
 */
export class LinkRhythm {
  readonly #bounds: RhythmBounds;
  readonly #roundTripsMs: number[] = [];
  #observed = 0;
  #meanMs = 0;
  #deviationMs: number;

  constructor(bounds: RhythmBounds) {
    this.#bounds = bounds;
    this.#deviationMs = bounds.untriedMs / LOST_DEVIATIONS;
  }

  /** A probe was answered. */
  observe(roundTripMs: number): void {
    this.#roundTripsMs[this.#observed++ % WINDOW] = roundTripMs;
    const count = this.#roundTripsMs.length;
    let sum = 0;
    for (const ms of this.#roundTripsMs) sum += ms;
    const meanMs = sum / count;
    let squares = 0;
    for (const ms of this.#roundTripsMs) squares += (ms - meanMs) ** 2;
    this.#meanMs = meanMs;
    this.#deviationMs = Math.max(Math.sqrt(squares / count), this.#bounds.leastDeviationMs);
  }

  /** How sure it is that a probe which was sent `waitedMs` ago will not be answered: 0 to 99. */
  phi(waitedMs: number): number {
    const y = (waitedMs - this.#meanMs) / this.#deviationMs;
    const x = y * (1.5976 + 0.070566 * y * y);
    const phi = x > 30 ? x / Math.LN10 : Math.log10(1 + Math.exp(x));
    return Math.min(phi, MAX_PHI);
  }

  /** After this long without an answer others are asked whether they can reach it. */
  get timeoutMs(): number {
    return Math.min(this.#meanMs + LOST_DEVIATIONS * this.#deviationMs, this.#bounds.mostMs);
  }
}
