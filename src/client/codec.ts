import { isUtf8 } from 'node:buffer';
import { invalidArgument, KvError } from '../core/errors.js';

/** Turns values into bytes and back. Both may throw; a KvError is passed on, anything else becomes its cause. */
export interface Codec<V> {
  readonly name: string;
  /** The bytes are copied before the caller of the Kv goes on, so they may be the value's own. */
  encode(value: V): Uint8Array;
  /** `bytes` is a view that must not be kept: copy what is to outlive the call. */
  decode(bytes: Uint8Array): V;
}

/** Values are bytes, as they are. */
export const bytesCodec: Codec<Uint8Array> = {
  name: 'bytes',
  encode(value) {
    if (!(value instanceof Uint8Array)) {
      throw invalidArgument('value', `must be a Uint8Array, got ${typeOf(value)}`);
    }
    return value;
  },
  decode: (bytes) => new Uint8Array(bytes),
};

/** Values are text, as UTF-8. */
export const textCodec: Codec<string> = {
  name: 'text',
  encode: (value) => encodeText('value', value),
  decode(bytes) {
    const text = decodeText(bytes);
    if (text !== undefined) return text;
    throw unreadable('The value is not UTF-8 text. Read it with bytesCodec.');
  },
};

/** Values are what JSON can say. */
export const jsonCodec: Codec<unknown> = {
  name: 'json',
  encode(value) {
    const text: string | undefined = JSON.stringify(value);
    if (text === undefined) {
      throw invalidArgument('value', `has no JSON form, got ${typeOf(value)}`);
    }
    return Buffer.from(text, 'utf8');
  },
  decode(bytes) {
    const text = decodeText(bytes);
    try {
      if (text !== undefined) return JSON.parse(text) as unknown;
    } catch (cause) {
      throw unreadable('The value is not JSON. Read it with textCodec or bytesCodec.', cause);
    }
    throw unreadable('The value is not JSON, nor UTF-8 text. Read it with bytesCodec.');
  },
};

/** UTF-8 bytes. Refuses half a surrogate pair: all of them would become one replacement character, and keys would collide. */
export function encodeText(field: string, text: unknown): Uint8Array {
  if (typeof text !== 'string') {
    throw invalidArgument(field, `must be a string, got ${typeOf(text)}`);
  }
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length !== text.length && /\p{Surrogate}/u.test(text)) {
    throw invalidArgument(field, 'holds half a surrogate pair, which UTF-8 cannot say');
  }
  return bytes;
}

/** Undefined when the bytes are not UTF-8. */
export function decodeText(bytes: Uint8Array): string | undefined {
  if (!isUtf8(bytes)) return undefined;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}

export function typeOf(value: unknown): string {
  if (value === null) return 'null';
  return typeof value === 'object' ? (value.constructor?.name ?? 'object') : typeof value;
}

function unreadable(message: string, cause?: unknown): KvError {
  return new KvError('INVALID_ARGUMENT', message, { cause });
}
