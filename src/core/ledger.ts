import type { AnsweredRequest, Ledger } from './record.js';
import { MAX_RETRY_AGE_MS } from './limits.js';
import { compareVersions, type Version } from './version.js';

/** How many answered requests a record remembers, 33 bytes each. */
export const MAX_REMEMBERED = 64;

/** What was answered to a LINEARIZABLE request: the numbers are on disk. */
export const ANSWERED = {
  /** It took effect; the version is that of the change. */
  applied: 1,
  /** A compare-and-set found something else; the version is that of what it found. */
  lost: 2,
  /** Its outcome was asked for before it came: it never takes effect. */
  never: 3,
} as const;

export type AnsweredCode = (typeof ANSWERED)[keyof typeof ANSWERED];

export function isAnsweredCode(code: number): code is AnsweredCode {
  return code === ANSWERED.applied || code === ANSWERED.lost || code === ANSWERED.never;
}

/** What a record knows of a request. */
export type Remembered =
  | { readonly kind: 'answered'; readonly request: AnsweredRequest }
  /** Not among those remembered, and above all that were forgotten: it has never been answered. */
  | { readonly kind: 'new' }
  /** At or below the floor: it may have been answered and forgotten, so it can never be applied any more. */
  | { readonly kind: 'forgotten' };

/**
 * Looks a request up. `floor` is the highest request that the record has forgotten: of a plain write its own version, since it
 * carried nothing over; of absence the fence under which a tombstone with its ledger was dropped.
 */
export function recall(ledger: Ledger | undefined, floor: Version, id: Version): Remembered {
  for (const request of ledger?.answered ?? []) {
    if (compareVersions(request.id, id) === 0) return { kind: 'answered', request };
  }
  return { kind: compareVersions(id, ledger?.floor ?? floor) <= 0 ? 'forgotten' : 'new' };
}

/**
 * The ledger with one more request. It forgets those that are so old that nobody sends them again, and the oldest where there
 * are too many; the floor rises to the highest of them, so that nothing forgotten is ever taken for new.
 */
export function remember(
  ledger: Ledger | undefined,
  floor: Version,
  answered: AnsweredRequest,
  nowMs: number,
): Ledger {
  const byAge = [...(ledger?.answered ?? []), answered].sort((a, b) => compareVersions(a.id, b.id));
  const least = byAge.length - MAX_REMEMBERED;
  const kept = byAge.filter(
    ({ id }, i) =>
      compareVersions(id, answered.id) === 0 ||
      (i >= least && id.wallMs >= nowMs - MAX_RETRY_AGE_MS),
  );
  let highest = ledger?.floor ?? floor;
  for (const { id } of byAge) {
    if (kept.some((one) => one.id === id)) continue;
    if (compareVersions(id, highest) > 0) highest = id;
  }
  return { floor: highest, answered: kept };
}
