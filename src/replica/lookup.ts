import { StoreError, type Store } from '../io/store.js';

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
