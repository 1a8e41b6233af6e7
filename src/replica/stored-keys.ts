import { hash32 } from '../core/hash.js';
import type { Log } from '../io/log.js';
import type { Store, StoreCursor } from '../io/store.js';
import { KeyFilter } from './key-filter.js';
import { ALL_RECORDS, userKeyOf } from './layout.js';

/** Keys hashed in one turn of the event loop: about a millisecond. */
const KEYS_PER_TURN = 1_000;

/** Which keys the store may have: all, until a walk over it in the background has filled a filter that knows better. */
export class StoredKeys {
  readonly #store: Store;
  readonly #log: Log;
  #filter = new KeyFilter();
  #complete = false;
  #walk: Promise<void> = Promise.resolve();

  constructor(store: Store, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  /** False while nothing can be ruled out yet. */
  get complete(): boolean {
    return this.#complete;
  }

  /** False: the key is not on disk. */
  mayHave(keyHash: number): boolean {
    return !this.#complete || this.#filter.mayHave(keyHash);
  }

  /** To be called before the batch that brings the key is written: a key that is missed would be overwritten unseen. */
  add(keyHash: number): void {
    this.#filter.add(keyHash);
  }

  /** Forgets everything, and stops a walk under way. */
  clear(): void {
    this.#filter = new KeyFilter();
    this.#complete = false;
  }

  /**
   * Starts the walk, over a snapshot taken within this call. No batch may be under way: what was written before is then in
   * the snapshot, and what comes later is added by whoever writes it.
   */
  walk(): void {
    this.clear();
    this.#walk = this.#addStored(this.#filter);
  }

  /** Resolves when nothing here uses the store any more. */
  async stop(): Promise<void> {
    this.clear();
    await this.#walk;
  }

  async #addStored(filter: KeyFilter): Promise<void> {
    try {
      const cursor = this.#store.cursor({ ...ALL_RECORDS, values: false });
      try {
        await this.#addAll(cursor, filter);
      } finally {
        await cursor.close();
      }
      this.#complete = this.#filter === filter;
    } catch (error) {
      // Nothing is lost but speed.
      if (this.#filter === filter)
        this.#log.warn(
          { err: error },
          'the filter of keys is incomplete, so every key is looked up',
        );
    }
  }

  /** Ends early when the filter is not the one that counts any more. */
  async #addAll(cursor: StoreCursor, filter: KeyFilter): Promise<void> {
    while (this.#filter === filter) {
      const entries = await cursor.next(KEYS_PER_TURN);
      if (entries.length === 0) return;
      for (const [key] of entries) filter.add(hash32(userKeyOf(key)));
    }
  }
}
