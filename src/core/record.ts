import { hash32, matchesHash64, writeHash64 } from './hash.js';
import { mayBeLedger } from './ledger.js';
import {
  compareBytesAt,
  readU16,
  readVersion,
  readWallMs,
  VERSION_BYTES,
  writeU16,
  writeU32,
  writeVersion,
  type Version,
} from './version.js';

/**
 * A record as it lies on disk and travels: encoded once by whoever stamps it, the same bytes ever after.
 *
 * ```
 *  0  digest   8   xxHash64 of flags and all that follows, seeded by the key's hash32
 *  8  flags    1   tombstone, expiry, changed, ledger, leased; unknown bits are refused
 *  9  version 16
 * 25  expiry   6   wall ms                          when flagged
 *     changed 16   version of the last real change  when flagged
 *     ledger       u16 length, then as core/ledger.ts says   when flagged
 *     value        the rest
 * ```
 *
 * The first 25 bytes are the *header*: enough to compare two records, so replicas exchange headers where the value is not
 * needed. With expiry and last change, where there are any, it is the *head*: enough to say also whether there is a value, and the
 * version that users see. The digest covers the key through its seed, so a record that a disk or a wire moved under another key is seen.
 * It is one 64-bit hash, not two of 32 bits with different seeds: xxHash32 has differences that cancel under half of all
 * seeds, so those two would often collide together.
 */
export interface RecordFields {
  readonly version: Version;
  readonly tombstone: boolean;
  /** Absolute wall ms. From then on the record is a tombstone of the same version. */
  readonly expiresAtMs?: number | undefined;
  /** The version at which the value last changed, where a LINEARIZABLE round re-accepted it since. Absent: `version`. */
  readonly changed?: Version | undefined;
  /**
   * The LINEARIZABLE requests lately answered on this key, as core/ledger.ts has them. Absent for a plain write, whose floor is its
   * own version.
   */
  readonly ledger?: Uint8Array | undefined;
  /** Proposed by a coordinator that means to propose again soon: see core/lease.ts. Absent: false. */
  readonly leased?: boolean;
  /** Empty for a tombstone. */
  readonly value: Uint8Array;
}

export const DIGEST_BYTES = 8;
export const HEADER_BYTES = DIGEST_BYTES + 1 + VERSION_BYTES;
/** Where the version starts in a record and in a header. */
export const VERSION_AT = DIGEST_BYTES + 1;

const FLAGS_AT = DIGEST_BYTES;
const TOMBSTONE = 1;
const EXPIRY = 2;
const CHANGED = 4;
const LEDGER = 8;
const LEASED = 16;
const KNOWN_FLAGS = TOMBSTONE | EXPIRY | CHANGED | LEDGER | LEASED;
const EXPIRY_BYTES = 6;
const NO_VALUE = new Uint8Array(0);

/** Encodes a record of `key`. Bounds (value size, expiry within 48 bits) are checked at the door, not here. */
export function encodeRecord(key: Uint8Array, fields: RecordFields): Uint8Array {
  const { ledger } = fields;
  const value = fields.tombstone ? NO_VALUE : fields.value;
  const size =
    HEADER_BYTES +
    (fields.expiresAtMs === undefined ? 0 : EXPIRY_BYTES) +
    (fields.changed === undefined ? 0 : VERSION_BYTES) +
    (ledger === undefined ? 0 : 2 + ledger.length) +
    value.length;
  const bytes = Buffer.allocUnsafe(size);
  let flags = (fields.tombstone ? TOMBSTONE : 0) | (fields.leased === true ? LEASED : 0);
  let at = HEADER_BYTES;
  writeVersion(fields.version, bytes, VERSION_AT);
  if (fields.expiresAtMs !== undefined) {
    flags |= EXPIRY;
    writeU16(bytes, at, Math.floor(fields.expiresAtMs / 0x1_0000_0000));
    writeU32(bytes, at + 2, fields.expiresAtMs >>> 0);
    at += EXPIRY_BYTES;
  }
  if (fields.changed !== undefined) {
    flags |= CHANGED;
    writeVersion(fields.changed, bytes, at);
    at += VERSION_BYTES;
  }
  if (ledger !== undefined) {
    flags |= LEDGER;
    writeU16(bytes, at, ledger.length);
    bytes.set(ledger, at + 2);
    at += 2 + ledger.length;
  }
  bytes.set(value, at);
  bytes[FLAGS_AT] = flags;
  writeHash64(bytes.subarray(FLAGS_AT), hash32(key), bytes, 0);
  return bytes;
}

/**
 * Decodes what {@link encodeRecord} wrote; undefined when the bytes cannot be a record. Value and ledger are views into `bytes`.
 * Whether the bytes are those that were written is {@link isIntact}'s to say.
 */
export function decodeRecord(bytes: Uint8Array): RecordFields | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const flags = bytes[FLAGS_AT] as number;
  if ((flags & ~KNOWN_FLAGS) !== 0) return undefined;
  // Nearly all records: what is left out of an object that is put together from optional parts costs more than the rest of it.
  if (flags === 0) {
    const value = bytes.length === HEADER_BYTES ? NO_VALUE : bytes.subarray(HEADER_BYTES);
    return { version: readVersion(bytes, VERSION_AT), tombstone: false, value };
  }
  let at = HEADER_BYTES;
  let expiresAtMs: number | undefined;
  let changed: Version | undefined;
  let ledger: Uint8Array | undefined;
  if ((flags & EXPIRY) !== 0) {
    if (bytes.length < at + EXPIRY_BYTES) return undefined;
    expiresAtMs = readWallMs(bytes, at);
    at += EXPIRY_BYTES;
  }
  if ((flags & CHANGED) !== 0) {
    if (bytes.length < at + VERSION_BYTES) return undefined;
    changed = readVersion(bytes, at);
    at += VERSION_BYTES;
  }
  if ((flags & LEDGER) !== 0) {
    if (bytes.length < at + 2) return undefined;
    const ledgerBytes = readU16(bytes, at);
    at += 2;
    if (bytes.length < at + ledgerBytes) return undefined;
    ledger = bytes.subarray(at, at + ledgerBytes);
    if (!mayBeLedger(ledger)) return undefined;
    at += ledgerBytes;
  }
  const tombstone = (flags & TOMBSTONE) !== 0;
  if (tombstone && at !== bytes.length) return undefined;
  return {
    version: readVersion(bytes, VERSION_AT),
    tombstone,
    expiresAtMs,
    changed,
    ledger,
    leased: (flags & LEASED) !== 0,
    value: at === bytes.length ? NO_VALUE : bytes.subarray(at),
  };
}

/** True when `record` is byte for byte what was encoded for `key`. `keyHash` is `hash32(key)`, known to every caller. */
export function isIntact(keyHash: number, record: Uint8Array): boolean {
  return (
    record.length >= HEADER_BYTES && matchesHash64(record.subarray(FLAGS_AT), keyHash, record, 0)
  );
}

export function isTombstone(header: Uint8Array): boolean {
  return ((header[FLAGS_AT] as number) & TOMBSTONE) !== 0;
}

/** True when the record carries an expiry, which the header alone does not tell. */
export function hasExpiry(header: Uint8Array): boolean {
  return ((header[FLAGS_AT] as number) & EXPIRY) !== 0;
}

/** When the record expires, wall ms; undefined: never. Takes the record or its head, and {@link isHead} says whether it is one. */
export function expiryOf(head: Uint8Array): number | undefined {
  return hasExpiry(head) ? readWallMs(head, HEADER_BYTES) : undefined;
}

/** The version at which the value last changed, which is the one that users see. Takes the record or its head. */
export function changedOf(head: Uint8Array): Version {
  return readVersion(head, hasChanged(head) ? changedAt(head) : VERSION_AT);
}

/** True for a plain write as a client may send it: nothing in it that only a LINEARIZABLE round adds. */
export function isPlainRecord(header: Uint8Array): boolean {
  return ((header[FLAGS_AT] as number) & (CHANGED | LEDGER | LEASED)) === 0;
}

export function isLeased(header: Uint8Array): boolean {
  return ((header[FLAGS_AT] as number) & LEASED) !== 0;
}

export function versionOf(header: Uint8Array): Version {
  return readVersion(header, VERSION_AT);
}

/** The digest as 16 hexadecimal characters, for people. */
export function formatDigest(header: Uint8Array): string {
  return Buffer.from(header.buffer, header.byteOffset, DIGEST_BYTES).toString('hex');
}

/** The first 25 bytes, as a view. */
export function headerOf(record: Uint8Array): Uint8Array {
  return record.length === HEADER_BYTES ? record : record.subarray(0, HEADER_BYTES);
}

/** Whether these are the same record, or one of them is the header of the other: headers of different records differ. */
export function haveSameHeader(a: Uint8Array, b: Uint8Array): boolean {
  return (
    a.length >= HEADER_BYTES &&
    b.length >= HEADER_BYTES &&
    compareBytesAt(a, 0, b, 0, HEADER_BYTES) === 0
  );
}

/** The header, and with it expiry and last change where there are any: 25 to 47 bytes, as a view. */
export function headOf(record: Uint8Array): Uint8Array {
  const bytes = headBytes(record);
  return record.length === bytes ? record : record.subarray(0, bytes);
}

/** Whether there are bytes enough for a head: what is shorter says not all that a head says. */
export function isHead(bytes: Uint8Array): boolean {
  return bytes.length >= HEADER_BYTES && bytes.length >= headBytes(bytes);
}

function headBytes(header: Uint8Array): number {
  return changedAt(header) + (hasChanged(header) ? VERSION_BYTES : 0);
}

function hasChanged(header: Uint8Array): boolean {
  return ((header[FLAGS_AT] as number) & CHANGED) !== 0;
}

/** Where the version of the last change begins, where there is one. */
function changedAt(header: Uint8Array): number {
  return hasExpiry(header) ? HEADER_BYTES + EXPIRY_BYTES : HEADER_BYTES;
}

/**
 * The merge rule, on records or headers: positive when `a` wins. The higher version wins; of equal versions with different
 * bytes (it takes a cloned process) the tombstone, then the greater digest. Commutative, associative and idempotent, so
 * replicas that have seen the same records hold the same one, in whatever order they saw them.
 */
export function compareRecords(a: Uint8Array, b: Uint8Array): number {
  return (
    compareBytesAt(a, VERSION_AT, b, VERSION_AT, VERSION_BYTES) ||
    ((a[FLAGS_AT] as number) & TOMBSTONE) - ((b[FLAGS_AT] as number) & TOMBSTONE) ||
    compareBytesAt(a, 0, b, 0, DIGEST_BYTES)
  );
}
