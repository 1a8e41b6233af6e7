import { invalidArgument, type KvError } from './errors.js';
import { MAX_TTL_MS } from './limits.js';
import { decodeRecord, encodeRecord, expiryOf, hasExpiry, versionOf } from './record.js';
import { MAX_WALL_MS, type Version } from './version.js';

/**
 * Whether the record (or its head) has expired at `nowMs` of the wall: from that millisecond on it *is* a tombstone of the same
 * version. Expiring is no event and writes nothing, so it never beats a newer write and replicas stay equal; whoever answers
 * a reader judges, by its own clock.
 */
export function isExpired(record: Uint8Array, nowMs: number): boolean {
  return hasExpiry(record) && (expiryOf(record) as number) <= nowMs;
}

/**
 * What a reader is told of a record that has expired: the tombstone of its version, with a checksum of its own, as if the key
 * had been deleted under that stamp. For answers alone: every disk keeps, and every repair copies, the record as it was written.
 */
export function expiredAnswer(key: Uint8Array, record: Uint8Array): Uint8Array {
  const changed = decodeRecord(record)?.changed;
  return encodeRecord(key, {
    version: versionOf(record),
    tombstone: true,
    ...(changed === undefined ? {} : { changed }),
    value: NO_VALUE,
  });
}

/** When what is stamped `version` and lives for `ttlMs` expires: counted from the stamp, so that a retry is the same bytes. */
export function expiryAfter(version: Version, ttlMs: number): number {
  return version.wallMs + ttlMs;
}

/** What is wrong with an expiry, or undefined: it is 1 ms to {@link MAX_TTL_MS} after the stamp of its record. */
export function checkExpiry(version: Version, expiresAtMs: number): KvError | undefined {
  const ttlMs = expiresAtMs - version.wallMs;
  if (ttlMs >= 1 && ttlMs <= MAX_TTL_MS && expiresAtMs <= MAX_WALL_MS) return undefined;
  return invalidArgument(
    'expiresAtMs',
    ttlMs < 1
      ? `has passed, ${-ttlMs} ms before the stamp of the write`
      : `${ttlMs} ms after the stamp of the write, the limit is ${MAX_TTL_MS}`,
  );
}

const NO_VALUE = new Uint8Array(0);
