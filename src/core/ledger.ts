import { MAX_RETRY_AGE_MS } from './limits.js';
import {
  compareBytesAt,
  encodeVersion,
  readVersion,
  readWallMs,
  VERSION_BYTES,
  writeVersion,
  type Version,
} from './version.js';

/*
 * What a record remembers of the LINEARIZABLE requests answered on its key, so that a retry gets the same answer. It is looked at
 * and changed as the bytes that lie in the record: it may be most of those, and of a request only one place in it matters.
 *
 *  0  floor    16   the highest request id that has been dropped
 * 16  answered 33   each: the id, what was answered (a byte), the version that the answer named; in the order of the ids
 */
const ANSWERED_AT = VERSION_BYTES;
const CODE_AT = VERSION_BYTES;
const NAMED_AT = CODE_AT + 1;
const ANSWERED_BYTES = NAMED_AT + VERSION_BYTES;

/** How many answered requests a record remembers. */
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

export interface AnsweredRequest {
  readonly id: Version;
  /** What was answered: an {@link AnsweredCode}, or another number from 0 to 255 that a later release may know. */
  readonly result: number;
  /** The version that the answer named. */
  readonly version: Version;
}

/** What a record knows of a request. */
export type Remembered =
  | { readonly kind: 'answered'; readonly result: number; readonly version: Version }
  /** Not among those remembered, and above all that were forgotten: it has never been answered. */
  | { readonly kind: 'new' }
  /** At or below the floor: it may have been answered and forgotten, so it can never be applied any more. */
  | { readonly kind: 'forgotten' };

/** A ledger with these requests, in the order of their ids. */
export function encodeLedger(
  floor: Version,
  answered: readonly AnsweredRequest[] = [],
): Uint8Array {
  const ledger = new Uint8Array(ANSWERED_AT + answered.length * ANSWERED_BYTES);
  writeVersion(floor, ledger, 0);
  for (const [i, request] of answered.entries()) writeAnswered(request, ledger, placeAt(i));
  return ledger;
}

/** Whether so many bytes may be a ledger. */
export function isLedgerSize(bytes: number): boolean {
  return bytes >= ANSWERED_AT && (bytes - ANSWERED_AT) % ANSWERED_BYTES === 0;
}

/** The highest request that the ledger has forgotten. */
export function floorOf(ledger: Uint8Array): Version {
  return readVersion(ledger, 0);
}

/**
 * Looks a request up. `floor` is the highest request that a record without a ledger has forgotten: of a plain write its own
 * version, since it carried nothing over; of absence the fence under which a tombstone with its ledger was dropped.
 */
export function recall(ledger: Uint8Array | undefined, floor: Version, id: Version): Remembered {
  const sought = encodeVersion(id);
  const held = ledger ?? encodeVersion(floor);
  const at = placeAt(placeOf(held, sought) - 1);
  if (at >= ANSWERED_AT && compareBytesAt(held, at, sought, 0, VERSION_BYTES) === 0) {
    const result = held[at + CODE_AT] as number;
    return { kind: 'answered', result, version: readVersion(held, at + NAMED_AT) };
  }
  return { kind: compareBytesAt(sought, 0, held, 0, VERSION_BYTES) <= 0 ? 'forgotten' : 'new' };
}

/**
 * The ledger with one more request, which it does not have. It forgets those that are so old that nobody sends them again, and the
 * oldest where there are too many; the floor rises to the highest of them, so that nothing forgotten is ever taken for new.
 */
export function remember(
  ledger: Uint8Array | undefined,
  floor: Version,
  answered: AnsweredRequest,
  nowMs: number,
): Uint8Array {
  const held = ledger ?? encodeVersion(floor);
  const count = countOf(held);
  const oldestMs = nowMs - MAX_RETRY_AGE_MS;
  let forgotten = Math.max(count + 1 - MAX_REMEMBERED, 0);
  while (forgotten < count && readWallMs(held, placeAt(forgotten)) < oldestMs) forgotten += 1;
  const place = Math.max(placeOf(held, encodeVersion(answered.id)), forgotten);

  const next = Buffer.allocUnsafe(held.length + ANSWERED_BYTES - forgotten * ANSWERED_BYTES);
  const highest = placeAt(forgotten - 1);
  const rises = forgotten > 0 && compareBytesAt(held, highest, held, 0, VERSION_BYTES) > 0;
  next.set(held.subarray(rises ? highest : 0, (rises ? highest : 0) + VERSION_BYTES), 0);
  next.set(held.subarray(placeAt(forgotten), placeAt(place)), ANSWERED_AT);
  const at = placeAt(place - forgotten);
  writeAnswered(answered, next, at);
  next.set(held.subarray(placeAt(place)), at + ANSWERED_BYTES);
  return next;
}

/** How many of those that are listed have an id at or below this one, 16 bytes. Most are looked up soon, or are new. */
function placeOf(ledger: Uint8Array, id: Uint8Array): number {
  let place = countOf(ledger);
  while (place > 0 && compareBytesAt(ledger, placeAt(place - 1), id, 0, VERSION_BYTES) > 0) {
    place -= 1;
  }
  return place;
}

function countOf(ledger: Uint8Array): number {
  return (ledger.length - ANSWERED_AT) / ANSWERED_BYTES;
}

function placeAt(place: number): number {
  return ANSWERED_AT + place * ANSWERED_BYTES;
}

function writeAnswered({ id, result, version }: AnsweredRequest, out: Uint8Array, at: number) {
  writeVersion(id, out, at);
  out[at + CODE_AT] = result;
  writeVersion(version, out, at + NAMED_AT);
}
