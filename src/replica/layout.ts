import { compareBytesAt } from '../core/version.js';

/**
 * What lies where in the store of a node. The first byte of a key says which family it belongs to; families sort apart, so
 * one iterator walks one family and meets nothing else.
 *
 * ```
 * 01  meta      name in ASCII                                → sealed with a checksum (meta.ts)
 * 02  record    user key                                     → record (core/record.ts), so a scan is one iterator
 * 03  promise   user key                                     → reserved: the highest ballot promised for the key
 * 04  hint      length of target id, target id, user key     → reserved: the target is owed this key
 * 05  segment   partition, segment (2), user key             → reserved: which keys a segment of a hash tree has
 * 06  fence     partition                                    → reserved: the fence promised and the one committed
 * ```
 */
const META = 0x01;
const RECORD = 0x02;
const AFTER_RECORDS = Uint8Array.of(RECORD + 1);

/** Where the user key starts in the store key of a record. */
const USER_KEY_AT = 1;

/** Before every key of every family, and after. */
export const WHOLE_STORE = { gte: Uint8Array.of(0), lt: Uint8Array.of(0xff, 0xff) };

/** All records. */
export const ALL_RECORDS = { gte: Uint8Array.of(RECORD), lt: AFTER_RECORDS };

export function recordKey(userKey: Uint8Array): Buffer {
  const key = Buffer.allocUnsafe(USER_KEY_AT + userKey.length);
  key[0] = RECORD;
  key.set(userKey, USER_KEY_AT);
  return key;
}

/** The user key, as a view of the store key of a record. */
export function userKeyOf(storeKey: Uint8Array): Uint8Array {
  return storeKey.subarray(USER_KEY_AT);
}

/** Whether `storeKey` is the record key of `userKey`. */
export function isKeyOf(storeKey: Uint8Array, userKey: Uint8Array): boolean {
  return (
    storeKey.length === USER_KEY_AT + userKey.length &&
    compareBytesAt(storeKey, USER_KEY_AT, userKey, 0, userKey.length) === 0
  );
}

/** The records from `gte` (inclusive) up to `lt` (exclusive; empty: to the last). */
export function recordRange(gte: Uint8Array, lt: Uint8Array): { gte: Uint8Array; lt: Uint8Array } {
  return { gte: recordKey(gte), lt: lt.length === 0 ? AFTER_RECORDS : recordKey(lt) };
}

export function metaKey(name: string): Uint8Array {
  return Buffer.concat([Uint8Array.of(META), Buffer.from(name, 'ascii')]);
}
