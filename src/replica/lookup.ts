import { isIntact } from '../core/record.js';
import { StoreError, type Store } from '../io/store.js';
import type { HeldKey } from './apply.js';
import { CORRUPT, describeStoreError, refused } from './failure.js';
import type { KnownRecords } from './known-records.js';

/** What the store says of one key: its bytes, that there are none, or why it cannot say. */
export type Lookup = Uint8Array | undefined | StoreError;

/**
 * Reads all `keys` at once. LevelDB fails such a read as a whole when one block of its files is damaged, so then each key is
 * read by itself: damage silences the keys that it hit, and no others.
 */
export async function lookUp(store: Store, keys: readonly Uint8Array[]): Promise<Lookup[]> {
  try {
    return await store.getMany(keys);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
  }
  const found: Lookup[] = [];
  for (const key of keys) {
    try {
      found.push(await store.get(key));
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      found.push(error);
    }
  }
  return found;
}

/** Finds out what is on disk of these keys; gives how many cannot be read. */
export async function lookUpHeld(
  store: Store,
  keys: readonly HeldKey[],
  known: KnownRecords,
): Promise<number> {
  let corrupt = 0;
  const found = await lookUp(
    store,
    keys.map((held) => held.storeKey),
  );
  for (let i = 0; i < keys.length; i++) {
    const held = keys[i] as HeldKey;
    const record = found[i];
    if (record instanceof StoreError) {
      held.failure = refused('STORE_FAILED', describeStoreError(record));
    } else if (record !== undefined && !isIntact(held.keyHash, record)) {
      held.failure = CORRUPT;
      corrupt += 1;
      known.foundCorrupt(held.key, held.keyHash);
    } else {
      held.stored = record;
    }
  }
  return corrupt;
}
