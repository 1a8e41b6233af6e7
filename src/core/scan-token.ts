import { hash32 } from './hash.js';
import { readU32, writeU16, writeU32 } from './version.js';

/** What a resume token is bound to: it is good for this cluster, this range and this direction only. */
export interface TokenScope {
  readonly clusterId: string;
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
  readonly reverse: boolean;
}

const FORMAT = 1;
/** Format, then two hashes over scope and key; the key follows. */
const KEY_AT = 9;
const SECOND_SEED = 0x9e3779b9;

/**
 * The token of a page: everything up to `key` (inclusive, in the direction of the scan) has been answered. No node keeps
 * anything for it, so the next page may come from another node, and a token never grows old.
 */
export function encodeScanToken(scope: TokenScope, key: Uint8Array): Uint8Array {
  const token = new Uint8Array(KEY_AT + key.length);
  token[0] = FORMAT;
  token.set(key, KEY_AT);
  const bound = bind(scope, key);
  writeU32(token, 1, hash32(bound));
  writeU32(token, 5, hash32(bound, SECOND_SEED));
  return token;
}

/** The key that the token carries; undefined when the token is not of this scope, or was changed. */
export function decodeScanToken(scope: TokenScope, token: Uint8Array): Uint8Array | undefined {
  if (token.length <= KEY_AT || token[0] !== FORMAT) return undefined;
  const key = token.subarray(KEY_AT);
  const bound = bind(scope, key);
  return readU32(token, 1) === hash32(bound) && readU32(token, 5) === hash32(bound, SECOND_SEED)
    ? key
    : undefined;
}

/** Scope and key as one run of bytes, each part behind its length so that no two scopes run together. */
function bind(scope: TokenScope, key: Uint8Array): Uint8Array {
  const parts = [Buffer.from(scope.clusterId, 'utf8'), scope.gte, scope.lt, key];
  const bytes = new Uint8Array(1 + parts.reduce((sum, part) => sum + 2 + part.length, 0));
  bytes[0] = Number(scope.reverse);
  let at = 1;
  for (const part of parts) {
    writeU16(bytes, at, part.length);
    bytes.set(part, at + 2);
    at += 2 + part.length;
  }
  return bytes;
}
