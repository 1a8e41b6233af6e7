import { invalidArgument, KvError } from '../core/errors.js';
import { changedOf, expiryOf, type RecordFields } from '../core/record.js';
import type { Receipt } from '../core/receipt.js';
import type { Version } from '../core/version.js';
import { decodeText, type Codec } from './codec.js';
import type { Entry } from './kv.js';
import { checkObject } from './request-options.js';

class StoredEntry<V> implements Entry<V> {
  declare readonly expiresAtMs?: number;
  declare readonly receipt?: Receipt;

  constructor(
    readonly key: Uint8Array,
    readonly value: V,
    readonly version: Version,
    expiresAtMs: number | undefined,
    receipt: Receipt | undefined,
  ) {
    if (expiresAtMs !== undefined) this.expiresAtMs = expiresAtMs;
    if (receipt !== undefined) this.receipt = receipt;
  }

  get keyText(): string {
    const text = decodeText(this.key);
    if (text === undefined) throw invalidArgument('key', 'is not UTF-8 text; read its bytes');
    return text;
  }
}

/** The version at which the value last changed: what users see, also where a later round re-accepted the same value. */
function changedAt(fields: RecordFields): Version {
  return fields.changed ?? fields.version;
}

export function entryOf<V>(
  key: Uint8Array,
  value: V,
  fields: RecordFields,
  receipt?: Receipt,
): Entry<V> {
  return new StoredEntry(key, value, changedAt(fields), fields.expiresAtMs, receipt);
}

/** An entry of a scan that asked for keys only, from the head of its record. */
export function keyEntryOf(key: Uint8Array, head: Uint8Array): Entry<undefined> {
  return new StoredEntry(key, undefined, changedOf(head), expiryOf(head), undefined);
}

/** Throws INVALID_ARGUMENT unless it has the shape of a codec. */
export function checkCodec<V>(codec: Codec<V>): Codec<V> {
  checkObject('codec', codec);
  if (typeof codec.encode === 'function' && typeof codec.decode === 'function') return codec;
  throw invalidArgument('codec', 'must have encode and decode');
}

/** Decodes a value that has been read. Throws KvError, whatever the codec throws. */
export function decodeValue<V>(codec: Codec<V>, bytes: Uint8Array): V {
  try {
    return codec.decode(bytes);
  } catch (cause) {
    throw codecFailure(codec, 'decode', cause);
  }
}

/** Encodes a value that is to be written. Throws KvError, whatever the codec throws. */
export function encodeValue<V>(codec: Codec<V>, value: V): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = codec.encode(value);
  } catch (cause) {
    throw codecFailure(codec, 'encode', cause);
  }
  if (bytes instanceof Uint8Array) return bytes;
  throw invalidArgument('value', `the ${codec.name} codec did not make a Uint8Array of it`);
}

function codecFailure(
  codec: { readonly name: string },
  did: 'encode' | 'decode',
  cause: unknown,
): KvError {
  if (cause instanceof KvError) return cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  return new KvError(
    'INVALID_ARGUMENT',
    `value: the ${codec.name} codec cannot ${did} it: ${why}`,
    {
      cause,
    },
  );
}
