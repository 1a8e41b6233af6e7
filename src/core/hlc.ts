import { MAX_RETRY_AGE_MS, REPLICA_DRIFT_FACTOR } from './limits.js';
import {
  compareVersions,
  MAX_LOGICAL,
  MAX_WALL_MS,
  ZERO_VERSION,
  type Version,
} from './version.js';

/** Eight random bytes as two unsigned 32-bit numbers: drawn at every start, never stored, so no two clocks share one. */
export interface Writer {
  readonly hi: number;
  readonly lo: number;
}

/**
 * The version that follows `last` at wall time `wallMs`: the wall where it is ahead, otherwise the next logical count, and
 * when that is full the next millisecond. Always above `last`, whatever the wall did. Fractions of the wall are dropped.
 *
 * This is the send rule of Kulkarni et al. 2014 ("Logical Physical Clocks", figure 5). Their receive rule is its second
 * half: take the greater of what was issued and what was seen, then send.
 */
export function nextVersion(last: Version, wallMs: number, writer: Writer): Version {
  const nowMs = Math.floor(wallMs);
  if (nowMs > last.wallMs) {
    return { wallMs: nowMs, logical: 0, writerHi: writer.hi, writerLo: writer.lo };
  }
  return last.logical < MAX_LOGICAL
    ? {
        wallMs: last.wallMs,
        logical: last.logical + 1,
        writerHi: writer.hi,
        writerLo: writer.lo,
      }
    : { wallMs: last.wallMs + 1, logical: 0, writerHi: writer.hi, writerLo: writer.lo };
}

/** How far the version is ahead of `nowMs`; negative when it is behind. */
export function driftMs(version: Version, nowMs: number): number {
  return version.wallMs - nowMs;
}

/**
 * Whether a coordinator takes a client's stamp. Ahead of the coordinator's clock by more than `maxDriftMs`, it could hide
 * honest writes for as long. Behind, a stamp may be as old as the longest retry, since a retry is the same bytes as the
 * first attempt; one older than that comes from a wrong clock, and would lose silently to almost any record.
 */
export function admitsClientStamp(version: Version, nowMs: number, maxDriftMs: number): boolean {
  const drift = driftMs(version, nowMs);
  return drift <= maxDriftMs && drift >= -(maxDriftMs + MAX_RETRY_AGE_MS);
}

/**
 * Whether a replica takes a coordinator's new write. A coordinator within `maxDriftMs` of the median admits stamps that far
 * ahead of itself, and this replica may be as far behind the median: so what one healthy coordinator admits, every healthy
 * replica takes. There is no bound behind: a stamp only ages on its way, and the coordinator has judged it.
 */
export function admitsCoordinatorStamp(
  version: Version,
  nowMs: number,
  maxDriftMs: number,
): boolean {
  return driftMs(version, nowMs) <= REPLICA_DRIFT_FACTOR * maxDriftMs;
}

export interface HybridClockOptions {
  /** The wall clock; an SDK adds the offset it has measured. May jump, either way. */
  readonly wallMs: () => number;
  readonly writer: Writer;
  /** How far beyond the wall a version that was seen may move this clock. */
  readonly maxDriftMs: number;
  /** Every stamp is above it. A node that starts again gives {@link lastVersionOf} of the bound it finds on disk. */
  readonly after?: Version;
  /** The bound that is on disk. Default: none, as for an SDK, which keeps nothing. */
  readonly limitMs?: number;
}

/**
 * A hybrid logical clock: the source of the versions of one node or one SDK. Its stamps only grow, are above all that it
 * has observed, and never lie above its limit. A node writes a new limit to disk and syncs it before it raises the limit,
 * so whatever happens no stamp is issued twice.
 */
export class HybridClock {
  readonly #wallMs: () => number;
  readonly #writer: Writer;
  readonly #maxDriftMs: number;
  #latest: Version;
  #limitMs: number;

  constructor(options: HybridClockOptions) {
    this.#wallMs = options.wallMs;
    this.#writer = options.writer;
    this.#maxDriftMs = options.maxDriftMs;
    this.#latest = options.after ?? ZERO_VERSION;
    this.#limitMs = options.limitMs ?? MAX_WALL_MS;
  }

  /** The highest version issued or observed. */
  get latest(): Version {
    return this.#latest;
  }

  /** No stamp has a higher wall part. */
  get limitMs(): number {
    return this.#limitMs;
  }

  /** A version above every one issued or observed; undefined, and nothing is consumed, where that is above the limit. */
  stamp(): Version | undefined {
    const version = nextVersion(this.#latest, this.#wallMs(), this.#writer);
    if (version.wallMs > this.#limitMs || version.wallMs > MAX_WALL_MS) return undefined;
    this.#latest = version;
    return version;
  }

  /**
   * Every later stamp will be above `version`. False, and the clock is untouched, when that would take it more than
   * `maxDriftMs` beyond the wall.
   */
  observe(version: Version): boolean {
    if (compareVersions(version, this.#latest) <= 0) return true;
    if (driftMs(version, this.#wallMs()) > this.#maxDriftMs) return false;
    this.#latest = version;
    return true;
  }

  /** The wall part that a stamp would have now. */
  nextMs(): number {
    return nextVersion(this.#latest, this.#wallMs(), this.#writer).wallMs;
  }

  /**
   * The limit to write next: `aheadMs` beyond the wall, or just the next stamp where the clock is further ahead than that.
   * Counted from the wall, because a clock that restarts begins at its limit: counted from the stamps, the limit of a node
   * that crashes again and again would run away from the wall.
   */
  nextLimitMs(aheadMs: number): number {
    return Math.max(Math.floor(this.#wallMs()) + aheadMs, this.nextMs());
  }

  /** True when fewer than `marginMs` are left until stamps run out: time to write a higher limit. */
  needsRaise(marginMs: number): boolean {
    return this.nextMs() + marginMs > this.#limitMs;
  }

  /** Allows stamps up to `limitMs`, which must be on disk and synced. A lower one than before changes nothing. */
  raiseLimit(limitMs: number): void {
    if (limitMs > this.#limitMs) this.#limitMs = limitMs;
  }
}

/** The highest version with the wall part `wallMs`: stamps after it are above all that a clock with that limit issued. */
export function lastVersionOf(wallMs: number): Version {
  return { wallMs, logical: MAX_LOGICAL, writerHi: 0xffffffff, writerLo: 0xffffffff };
}
