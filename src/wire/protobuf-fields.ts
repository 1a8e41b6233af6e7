/**
 * Fields of protobuf messages, for what is written by hand. A field with its default value (0, nothing) is not written. A tag is the
 * number of the field and its wire type, in one byte: fields 1 to 15.
 */

/** Shorter ones are copied byte by byte, which takes less time than the call of `set`. */
const SET_FROM_BYTES = 24;

type Bytes = Uint8Array | null | undefined;

export function numberSize(value: number | null | undefined): number {
  return value ? 1 + varintSize(value) : 0;
}

/** `bytes`: those of the field, or what knows how many they are. */
export function bytesSize(bytes: { readonly length: number } | null | undefined): number {
  return bytes && bytes.length > 0 ? elementSize(bytes) : 0;
}

/** Of one element of a repeated field, which is written though it may be empty. */
export function elementSize(bytes: { readonly length: number }): number {
  return 1 + varintSize(bytes.length) + bytes.length;
}

/** Of a number of 32 bits. */
export function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  return value < 0x1000_0000 ? 4 : 5;
}

export function putNumber(
  out: Uint8Array,
  at: number,
  tag: number,
  value: number | null | undefined,
): number {
  if (!value) return at;
  out[at] = tag;
  return putVarint(out, at + 1, value);
}

export function putBytes(out: Uint8Array, at: number, tag: number, bytes: Bytes): number {
  return bytes && bytes.length > 0 ? putElement(out, at, tag, bytes) : at;
}

export function putElement(out: Uint8Array, at: number, tag: number, bytes: Uint8Array): number {
  out[at] = tag;
  const start = putVarint(out, at + 1, bytes.length);
  if (bytes.length < SET_FROM_BYTES) {
    for (let i = 0; i < bytes.length; i++) out[start + i] = bytes[i] as number;
  } else out.set(bytes, start);
  return start + bytes.length;
}

/** Of a number up to 2^53, seven bits a byte, the lowest first. */
export function putVarint(out: Uint8Array, start: number, value: number): number {
  let at = start;
  let rest = value;
  for (; rest > 0x7fff_ffff; rest = Math.floor(rest / 128)) out[at++] = (rest & 127) | 128;
  for (; rest > 127; rest >>>= 7) out[at++] = (rest & 127) | 128;
  out[at] = rest;
  return at + 1;
}
