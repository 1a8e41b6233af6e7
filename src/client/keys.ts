import { invalidArgument } from '../core/errors.js';
import { checkKey, type Limits } from '../core/limits.js';
import { encodeText, typeOf } from './codec.js';
import type { Key } from './kv.js';

/** The bytes of a key, after the prefix of its namespace; a copy, which the caller cannot change any more. */
export function keyBytes(prefix: Uint8Array, key: Key, field = 'key'): Uint8Array {
  if (typeof key !== 'string' && !(key instanceof Uint8Array)) {
    throw invalidArgument(field, `must be a string or a Uint8Array, got ${typeOf(key)}`);
  }
  const own = typeof key === 'string' ? encodeText(field, key) : key;
  if (prefix.length === 0) return own === key ? Buffer.from(own) : own;
  const bytes = Buffer.allocUnsafe(prefix.length + own.length);
  bytes.set(prefix);
  bytes.set(own, prefix.length);
  return bytes;
}

/** As {@link keyBytes}, and within the bounds of a stored key. An empty key is refused in a namespace as anywhere. */
export function storedKey(prefix: Uint8Array, key: Key, limits: Limits): Uint8Array {
  const bytes = keyBytes(prefix, key);
  const problem =
    bytes.length === prefix.length && prefix.length > 0
      ? invalidArgument('key', 'must not be empty')
      : checkKey(bytes, limits);
  if (problem !== undefined) throw problem;
  return bytes;
}
