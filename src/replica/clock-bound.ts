import { KvError } from '../core/errors.js';
import { REPLICA_DRIFT_FACTOR } from '../core/limits.js';
import type { HybridClock } from '../core/hlc.js';
import type { Version } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { GroupCommit } from './group-commit.js';
import { CLOCK_BOUND_KEY, sealNumber } from './meta.js';

export interface ClockBoundOptions {
  readonly hlc: HybridClock;
  readonly clock: Clock;
  readonly commit: GroupCommit;
  readonly maxDriftMs: number;
}

/**
 * Keeps the clock's limit on disk ahead of its stamps, so that no version is issued twice, whatever happened to the wall
 * clock while the node was down. A limit is written through the group commit, usually with writes that go there anyway; a
 * node that issues no stamps writes none.
 *
 * A limit reaches `maxDriftMs` beyond the wall, or to the next stamp where that is further. After a crash the clock starts
 * from it, so the first stamps are ahead of the wall by about that much, however often the node crashes: every healthy replica
 * takes them. Only where a sync takes longer than that do limits reach further, since stamps would never catch up otherwise.
 */
export class ClockBound {
  readonly #hlc: HybridClock;
  readonly #clock: Clock;
  readonly #commit: GroupCommit;
  readonly #maxDriftMs: number;
  #raise: Promise<void> | undefined;
  /** How long the last limit took to reach the disk. */
  #raiseTookMs = 0;

  constructor(options: ClockBoundOptions) {
    this.#hlc = options.hlc;
    this.#clock = options.clock;
    this.#commit = options.commit;
    this.#maxDriftMs = options.maxDriftMs;
  }

  /** A new version. Waits for a sync only where stamps outrun the limit. Rejects with a KvError of outcome none. */
  async stamp(): Promise<Version> {
    for (;;) {
      const version = this.#hlc.stamp();
      if (version !== undefined) {
        if (this.#hlc.needsRaise(this.#maxDriftMs / 2)) this.#raiseAhead();
        return version;
      }
      this.#assertNearWall();
      await this.#raised();
    }
  }

  /** A later stamp asks again, and hears of the failure then if there is one still. */
  #raiseAhead(): void {
    if (this.#raise === undefined) this.#raised().catch(() => {});
  }

  #raised(): Promise<void> {
    this.#raise ??= this.#raiseOnce().finally(() => {
      this.#raise = undefined;
    });
    return this.#raise;
  }

  async #raiseOnce(): Promise<void> {
    const limitMs = this.#hlc.nextLimitMs(Math.max(this.#maxDriftMs, 2 * this.#raiseTookMs));
    const beganMs = this.#clock.monotonicMs();
    try {
      await this.#commit.putMeta(CLOCK_BOUND_KEY, sealNumber(CLOCK_BOUND_KEY, limitMs));
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      // Whatever became of the bound, no stamp was issued.
      throw new KvError(error.code, `no stamp can be issued: ${error.message}`, { cause: error });
    }
    this.#raiseTookMs = Math.ceil(this.#clock.monotonicMs() - beganMs);
    this.#hlc.raiseLimit(limitMs);
  }

  /** A clock that restarted far above the wall would issue what every replica refuses: better say so here. */
  #assertNearWall(): void {
    const aheadMs = this.#hlc.nextMs() - this.#clock.wallMs();
    if (aheadMs > REPLICA_DRIFT_FACTOR * this.#maxDriftMs) {
      throw new KvError(
        'CLOCK_DRIFT',
        `the clock of this node went back: versions up to ${aheadMs} ms ahead of it may have been issued`,
      );
    }
  }
}
