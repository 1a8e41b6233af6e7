import { segmentOf } from '../core/hash-tree.js';
import { partitionOf } from '../core/placement.js';
import { compareBytesAt, readU16, writeU16 } from '../core/version.js';

/**
 * What lies where in the store of a node. The first byte of a key says which family it belongs to; families sort apart, so
 * one iterator walks one family and meets nothing else.
 *
 * ```
 * 01  meta      name in ASCII                                → sealed with a checksum (meta.ts)
 * 02  record    user key                                     → record (core/record.ts), so a scan is one iterator
 * 03  promises  number (6)                                   → the ballots that one group commit promised, with a checksum
 * 04  hint      length of target id, target id, user key     → empty: the target is owed this key
 * 05  segment   partition, segment (2), user key             → empty: which keys a segment of a hash tree has
 * 06  fence     partition                                    → the fences promised, sealed and committed, with a checksum
 * ```
 */
const META = 0x01;
const RECORD = 0x02;
const PROMISES = 0x03;
const HINT = 0x04;
const SEGMENT = 0x05;
const FENCE = 0x06;
const NUMBER_BYTES = 6;
const AFTER_RECORDS = Uint8Array.of(RECORD + 1);

/** Where the user key starts in the store key of a record. */
const USER_KEY_AT = 1;
/** Where the partition, the segment and the user key start in an entry of the segment index. */
const ENTRY_PARTITION_AT = 1;
const ENTRY_SEGMENT_AT = 2;
const ENTRY_USER_KEY_AT = 4;

/** Before every key of every family, and after. */
export const WHOLE_STORE = { gte: Uint8Array.of(0), lt: Uint8Array.of(0xff, 0xff) };

/** All records. */
export const ALL_RECORDS = { gte: Uint8Array.of(RECORD), lt: AFTER_RECORDS };

/** All hints. */
export const ALL_HINTS = { gte: Uint8Array.of(HINT), lt: Uint8Array.of(HINT + 1) };

/** All promises. */
export const ALL_PROMISES = { gte: Uint8Array.of(PROMISES), lt: Uint8Array.of(PROMISES + 1) };

/** The entries of promises are numbered in the order in which they were written. */
export function promisesKey(number: number): Buffer {
  const key = Buffer.allocUnsafe(1 + NUMBER_BYTES);
  key[0] = PROMISES;
  key.writeUIntBE(number, 1, NUMBER_BYTES);
  return key;
}

export function numberOfPromises(storeKey: Uint8Array): number {
  return Buffer.from(storeKey).readUIntBE(1, NUMBER_BYTES);
}

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

/** `target`: the id of a node, in ASCII. */
export function hintKey(target: Uint8Array, userKey: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(HINT, target.length), target, userKey]);
}

/** The parts of the store key of a hint, as views of it; undefined for bytes that no hint has. */
export function partsOfHint(
  storeKey: Uint8Array,
): { readonly target: Uint8Array; readonly userKey: Uint8Array } | undefined {
  const userKeyAt = 2 + (storeKey[1] ?? 0);
  if (userKeyAt === 2 || storeKey.length <= userKeyAt) return undefined;
  return { target: storeKey.subarray(2, userKeyAt), userKey: storeKey.subarray(userKeyAt) };
}

export function metaKey(name: string): Uint8Array {
  return Buffer.concat([Uint8Array.of(META), Buffer.from(name, 'ascii')]);
}

/** All fences. */
export const ALL_FENCES = { gte: Uint8Array.of(FENCE), lt: Uint8Array.of(FENCE + 1) };

export function fenceKey(partition: number): Uint8Array {
  return Uint8Array.of(FENCE, partition);
}

/** The entry that names a key in the index of its segment. */
export function segmentEntryKey(keyHash: number, userKey: Uint8Array): Buffer {
  const key = Buffer.allocUnsafe(ENTRY_USER_KEY_AT + userKey.length);
  writeSegmentStart(key, partitionOf(keyHash), segmentOf(keyHash));
  key.set(userKey, ENTRY_USER_KEY_AT);
  return key;
}

/** The user key that an entry of the index names, as a view. */
export function userKeyOfEntry(entryKey: Uint8Array): Uint8Array {
  return entryKey.subarray(ENTRY_USER_KEY_AT);
}

export function segmentOfEntry(entryKey: Uint8Array): number {
  return readU16(entryKey, ENTRY_SEGMENT_AT);
}

/** The entries of a partition from segment `from` on, up to `until` (exclusive). */
export function segmentEntries(
  partition: number,
  from: number,
  until: number,
): { gte: Uint8Array; lt: Uint8Array } {
  const gte = Buffer.allocUnsafe(ENTRY_USER_KEY_AT);
  const lt = Buffer.allocUnsafe(ENTRY_USER_KEY_AT);
  writeSegmentStart(gte, partition, from);
  writeSegmentStart(lt, partition, until);
  return { gte, lt };
}

function writeSegmentStart(out: Uint8Array, partition: number, segment: number): void {
  out[0] = SEGMENT;
  out[ENTRY_PARTITION_AT] = partition;
  writeU16(out, ENTRY_SEGMENT_AT, segment);
}
