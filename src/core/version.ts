/**
 * The stamp of a record: a hybrid logical clock reading and the writer that took it (Kulkarni et al. 2014).
 *
 * The order is total: `wallMs`, then `logical`, then the writer. The writer is 8 random bytes, held as two unsigned
 * 32-bit numbers, because a 64-bit number does not fit a JS number and BigInt has no place on the hot path.
 */
export interface Version {
  /** Milliseconds since 1970, 48 bits. */
  readonly wallMs: number;
  /** 0 to 65,535. Orders what one clock stamps within a millisecond. */
  readonly logical: number;
  readonly writerHi: number;
  readonly writerLo: number;
}

export const VERSION_BYTES = 16;
export const MAX_WALL_MS = 2 ** 48 - 1;
export const MAX_LOGICAL = 0xffff;

/** Below every version that a clock can issue: what "never written" compares as. */
export const ZERO_VERSION: Version = { wallMs: 0, logical: 0, writerHi: 0, writerLo: 0 };

/** Negative when `a` is older than `b`, positive when it is newer, 0 when they are the same version. */
export function compareVersions(a: Version, b: Version): number {
  return (
    a.wallMs - b.wallMs ||
    a.logical - b.logical ||
    a.writerHi - b.writerHi ||
    a.writerLo - b.writerLo
  );
}

/** Writes 16 bytes, big-endian, so that bytes compare as versions do. */
export function writeVersion(version: Version, out: Uint8Array, at: number): void {
  const wallHi = Math.floor(version.wallMs / 0x1_0000_0000);
  writeU16(out, at, wallHi);
  writeU32(out, at + 2, version.wallMs >>> 0);
  writeU16(out, at + 6, version.logical);
  writeU32(out, at + 8, version.writerHi);
  writeU32(out, at + 12, version.writerLo);
}

/** Reads the 16 bytes that {@link writeVersion} wrote. The caller has checked that they are there. */
export function readVersion(bytes: Uint8Array, at: number): Version {
  return {
    wallMs: readU16(bytes, at) * 0x1_0000_0000 + readU32(bytes, at + 2),
    logical: readU16(bytes, at + 6),
    writerHi: readU32(bytes, at + 8),
    writerLo: readU32(bytes, at + 12),
  };
}

export function encodeVersion(version: Version): Uint8Array {
  const bytes = new Uint8Array(VERSION_BYTES);
  writeVersion(version, bytes, 0);
  return bytes;
}

/** The wall part of an encoded version, without decoding the rest. */
export function readWallMs(bytes: Uint8Array, at: number): number {
  return readU16(bytes, at) * 0x1_0000_0000 + readU32(bytes, at + 2);
}

/** Compares `length` bytes as unsigned big-endian numbers do; the lengths are the caller's to check. */
export function compareBytesAt(
  a: Uint8Array,
  aAt: number,
  b: Uint8Array,
  bAt: number,
  length: number,
): number {
  for (let i = 0; i < length; i++) {
    const difference = (a[aAt + i] as number) - (b[bAt + i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** `wall-logical-writer` in hexadecimal, 34 characters: sorts as versions do, and is what people see and type. */
export function formatVersion(version: Version): string {
  const bytes = Buffer.allocUnsafe(VERSION_BYTES);
  writeVersion(version, bytes, 0);
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 12)}-${hex.slice(12, 16)}-${hex.slice(16)}`;
}

/** The inverse of {@link formatVersion}; undefined when the text is not a version. */
export function parseVersion(text: string): Version | undefined {
  const match = /^([0-9a-f]{12})-([0-9a-f]{4})-([0-9a-f]{8})([0-9a-f]{8})$/.exec(text);
  if (match === null) return undefined;
  const [, wall = '', logical = '', hi = '', lo = ''] = match;
  return {
    wallMs: Number.parseInt(wall, 16),
    logical: Number.parseInt(logical, 16),
    writerHi: Number.parseInt(hi, 16),
    writerLo: Number.parseInt(lo, 16),
  };
}

export function readU16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  );
}

export function writeU16(out: Uint8Array, at: number, value: number): void {
  out[at] = value >>> 8;
  out[at + 1] = value;
}

export function writeU32(out: Uint8Array, at: number, value: number): void {
  out[at] = value >>> 24;
  out[at + 1] = value >>> 16;
  out[at + 2] = value >>> 8;
  out[at + 3] = value;
}
