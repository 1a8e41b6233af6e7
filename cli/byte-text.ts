import { isUtf8 } from 'node:buffer';

/** Bytes in JSON: a string where they are UTF-8, else `{"base64": ...}`. No bytes have two forms, no form two meanings. */
export type BytesJson = string | { readonly base64: string };

export function bytesToJson(bytes: Uint8Array): BytesJson {
  const buffer = asBuffer(bytes);
  return isUtf8(buffer) ? buffer.toString('utf8') : { base64: buffer.toString('base64') };
}

/** The inverse of {@link bytesToJson}; undefined for anything else, including text that no bytes stand for. */
export function jsonToBytes(value: unknown): Uint8Array | undefined {
  if (typeof value === 'string') {
    return LONE_SURROGATE.test(value) ? undefined : Buffer.from(value, 'utf8');
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const names = Object.keys(value);
  const base64 = (value as { base64?: unknown }).base64;
  if (names.length !== 1 || typeof base64 !== 'string') return undefined;
  const bytes = Buffer.from(base64, 'base64');
  return bytes.toString('base64') === base64 ? bytes : undefined;
}

/** Bytes for people: UTF-8 with control characters escaped; anything else as `0x` and hexadecimal digits. */
export function bytesToDisplay(bytes: Uint8Array): string {
  const buffer = asBuffer(bytes);
  return isUtf8(buffer) ? printable(buffer.toString('utf8')) : `0x${buffer.toString('hex')}`;
}

/** Undefined when the text is not an even number of hexadecimal digits, with or without `0x`. */
export function hexToBytes(text: string): Uint8Array | undefined {
  const digits = text.replace(/^0x/i, '');
  return /^(?:[0-9a-f]{2})*$/i.test(digits) ? Buffer.from(digits, 'hex') : undefined;
}

/** Escapes what would steer a terminal or break a line: data never gets to move the cursor of whoever reads it. */
export function printable(text: string): string {
  return text.replaceAll(
    // C0 and C1 controls, line separators, and the marks that turn the direction of text.
    // oxlint-disable-next-line no-control-regex
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (character) =>
      NAMED[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** Half a character: a JS string can hold one, UTF-8 cannot. */
const LONE_SURROGATE = /\p{Surrogate}/u;

const NAMED: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
