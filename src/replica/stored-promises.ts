import { KvError } from '../core/errors.js';
import { compareFences, type FenceState } from '../core/fence.js';
import { hash32 } from '../core/hash.js';
import { partitionOf } from '../core/placement.js';
import { isIntact, VERSION_AT } from '../core/record.js';
import { compareBytesAt, readU16, VERSION_BYTES, writeU16 } from '../core/version.js';
import type { Store } from '../io/store.js';
import { ALL_PROMISES, numberOfPromises, promisesKey, recordKey } from './layout.js';
import { lookUp, type Lookup } from './lookup.js';
import { seal, unseal } from './meta.js';

/** Of one promise in an entry: whether it is in doubt, its ballot, the length of its key, its key. */
const BALLOT_AT = 1;
const LENGTH_AT = BALLOT_AT + VERSION_BYTES;
const KEY_AT = LENGTH_AT + 2;

const ENTRIES_AT_ONCE = 16;
/** Their records are read whole, values and all. */
const KEYS_AT_ONCE = 64;

export interface StoredPromise {
  readonly key: Uint8Array;
  /** 16 bytes. */
  readonly ballot: Uint8Array;
  /** What is held came as a copy from below the promise (promises.ts); absent: no. */
  readonly isInDoubt?: boolean;
}

/** An entry as it was found on disk. */
export interface StoredEntry {
  /** Entries are numbered in the order in which they were written, over restarts too. */
  readonly number: number;
  /** How many promises it has. */
  readonly size: number;
  /** Those that may still keep something out. */
  readonly promises: readonly StoredPromise[];
}

/** What is stored of these promises in the entry of that number. */
export function sealPromises(number: number, promises: readonly StoredPromise[]): Uint8Array {
  let length = 0;
  for (const { key } of promises) length += KEY_AT + key.length;
  const bytes = Buffer.allocUnsafe(length);
  let at = 0;
  for (const { key, ballot, isInDoubt } of promises) {
    bytes[at] = isInDoubt === true ? 1 : 0;
    bytes.set(ballot, at + BALLOT_AT);
    writeU16(bytes, at + LENGTH_AT, key.length);
    bytes.set(key, at + KEY_AT);
    at += KEY_AT + key.length;
  }
  return seal(promisesKey(number), bytes);
}

/**
 * The entries on disk, in the order of their numbers. Left out of them are promises that have nothing to keep out any more: what is
 * held is at or above them, or the committed fence. Rejects with STORE_FAILED when an entry is not what was written.
 */
export async function loadPromises(
  store: Store,
  fences: readonly FenceState[],
): Promise<StoredEntry[]> {
  const entries: StoredEntry[] = [];
  const cursor = store.cursor(ALL_PROMISES);
  try {
    for (;;) {
      const found = await cursor.next(ENTRIES_AT_ONCE);
      if (found.length === 0) return entries;
      for (const [storeKey, sealed] of found) {
        const promises = unsealPromises(storeKey, sealed);
        const live = await withoutVoid(store, fences, promises);
        entries.push({
          number: numberOfPromises(storeKey),
          size: promises.length,
          promises: live,
        });
      }
    }
  } finally {
    await cursor.close();
  }
}

/** Whether this is a record that was taken of the key, at or above the ballot. */
export function isAtOrAbove(key: Uint8Array, record: Lookup, ballot: Uint8Array): boolean {
  return (
    record instanceof Uint8Array &&
    isIntact(hash32(key), record) &&
    compareBytesAt(record, VERSION_AT, ballot, 0, VERSION_BYTES) >= 0
  );
}

async function withoutVoid(
  store: Store,
  fences: readonly FenceState[],
  promises: readonly StoredPromise[],
): Promise<StoredPromise[]> {
  const live: StoredPromise[] = [];
  for (let at = 0; at < promises.length; at += KEYS_AT_ONCE) {
    const some = promises.slice(at, at + KEYS_AT_ONCE).filter(({ key, ballot }) => {
      const fence = fences[partitionOf(hash32(key))];
      return fence === undefined || compareFences(ballot, fence.committed) > 0;
    });
    const held = await lookUp(
      store,
      some.map(({ key }) => recordKey(key)),
    );
    for (const [i, promise] of some.entries()) {
      if (!isAtOrAbove(promise.key, held[i], promise.ballot)) live.push(promise);
    }
  }
  return live;
}

function unsealPromises(storeKey: Uint8Array, sealed: Uint8Array): StoredPromise[] {
  const bytes = unseal(storeKey, sealed);
  if (bytes === undefined) {
    throw new KvError(
      'STORE_FAILED',
      'the data folder is damaged: a promise of a ballot fails its checksum',
    );
  }
  const promises: StoredPromise[] = [];
  let at = 0;
  while (at < bytes.length) {
    const end = at + KEY_AT + readU16(bytes, at + LENGTH_AT);
    promises.push({
      key: bytes.subarray(at + KEY_AT, end),
      ballot: bytes.subarray(at + BALLOT_AT, at + LENGTH_AT),
      isInDoubt: bytes[at] === 1,
    });
    at = end;
  }
  return promises;
}
