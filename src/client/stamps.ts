import { driftMs, HybridClock } from '../core/hlc.js';
import { compareVersions, readU32, ZERO_VERSION, type Version } from '../core/version.js';
import type { Random } from '../io/random.js';

export interface StampsOptions {
  /** The wall clock of the servers. It may be corrected at any time, backwards too. */
  readonly wallMs: () => number;
  readonly random: Random;
  /** What one healthy node admits may be this far ahead of another, and is taken when it is read. */
  readonly maxDriftMs: number;
}

/**
 * The stamps of one connection: above each other, and above all that it was shown, so far as healthy nodes admit that.
 *
 * A hybrid clock never goes back, so one that once followed a wrong wall would give stamps that every node refuses until the
 * others have caught up with it. {@link Stamps.correct} leaves such a clock for a new one.
 */
export class Stamps {
  readonly #options: StampsOptions;
  #clock: HybridClock;
  /** The highest version read or acknowledged: a stamp that was only refused holds nobody. */
  #shown = ZERO_VERSION;

  constructor(options: StampsOptions) {
    this.#options = options;
    this.#clock = this.#startAfter(ZERO_VERSION);
  }

  next(): Version | undefined {
    return this.#clock.stamp();
  }

  /** Later stamps will be above `version`, unless it lies further ahead than any healthy node admits. */
  observe(version: Version): void {
    if (this.#clock.observe(version) && compareVersions(version, this.#shown) > 0) {
      this.#shown = version;
    }
  }

  /** The wall was measured anew: where the clock is further ahead of it than any healthy node admits, a new one takes over. */
  correct(): void {
    if (!this.#isTooFarAhead(this.#clock.latest)) return;
    if (this.#isTooFarAhead(this.#shown)) this.#shown = ZERO_VERSION;
    this.#clock = this.#startAfter(this.#shown);
  }

  #isTooFarAhead(version: Version): boolean {
    return driftMs(version, this.#options.wallMs()) > this.#options.maxDriftMs;
  }

  /** With a writer of its own: it will come to the moments for which the clock before it has stamped already. */
  #startAfter(after: Version): HybridClock {
    const { wallMs, maxDriftMs, random } = this.#options;
    // Never stored and never configured, so a cloned process does not share it.
    const bytes = random.bytes(8);
    const writer = { hi: readU32(bytes, 0), lo: readU32(bytes, 4) };
    return new HybridClock({ wallMs, writer, maxDriftMs, after });
  }
}
