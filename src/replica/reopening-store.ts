import {
  StoreError,
  type Store,
  type StoreBatch,
  type StoreCursor,
  type StoreOpener,
  type StoreRange,
} from '../io/store.js';

/**
 * A store that can be closed and opened again under those who use it, because a failed sync leaves unknown what is on disk
 * until LevelDB has read its log anew. Between the two, every call is refused with a {@link StoreError}.
 */
export class ReopeningStore implements Store {
  readonly #opener: StoreOpener;
  #store: Store | undefined;
  #reads = 0;

  private constructor(opener: StoreOpener, store: Store) {
    this.#opener = opener;
    this.#store = store;
  }

  static async open(opener: StoreOpener): Promise<ReopeningStore> {
    return new ReopeningStore(opener, await opener.open());
  }

  /**
   * Closes and opens, and answers again once `verify` has found that it is the same store. False, and nothing is changed, when
   * the disk has no room for that: until it has, the store as it was can be read, for a batch whose sync failed is in none of
   * its answers. Rejects when opening or verifying fails; it can be tried again.
   */
  async reopen(verify: (store: Store) => Promise<void>): Promise<boolean> {
    if (this.#store !== undefined) {
      if (!(await this.#opener.hasRoom())) return false;
      const store = this.#store;
      this.#store = undefined;
      await store.close();
    }
    if ((await this.#opener.verify()) === 'damaged') {
      throw new StoreError('corrupt', 'its log is damaged; the node must be started anew');
    }
    const store = await this.#opener.open();
    try {
      await verify(store);
    } catch (error) {
      await store.close();
      throw error;
    }
    this.#store = store;
    return true;
  }

  /** Keys looked up and cursors opened, so far. */
  get reads(): number {
    return this.#reads;
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#reads += 1;
    return this.#open().get(key);
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    this.#reads += keys.length;
    return this.#open().getMany(keys);
  }

  batch(): StoreBatch {
    return this.#open().batch();
  }

  cursor(range: StoreRange): StoreCursor {
    this.#reads += 1;
    return this.#open().cursor(range);
  }

  async sizeBytes(): Promise<number> {
    return this.#open().sizeBytes();
  }

  async close(): Promise<void> {
    const store = this.#store;
    this.#store = undefined;
    await store?.close();
  }

  #open(): Store {
    if (this.#store === undefined) {
      throw new StoreError(
        'failed',
        'the store is closed after a failed write, to be opened again',
      );
    }
    return this.#store;
  }
}
