import { hash32 } from '../core/hash.js';
import { isIntact } from '../core/record.js';
import type { Log } from '../io/log.js';
import type { Store, StoreCursor, StoreEntry } from '../io/store.js';
import type { CorruptKeys } from './corrupt-keys.js';
import { KeyFilter } from './key-filter.js';
import { ALL_RECORDS, userKeyOf } from './layout.js';
import type { Trees } from './trees.js';

/** Keys hashed in one turn of the event loop: about a millisecond. */
const KEYS_PER_TURN = 1_000;
/** Whole records are read and checked as well. */
const RECORDS_PER_TURN = 250;

/**
 * Which keys the store may have: all, until a walk over it in the background has filled a filter that knows better. Where the
 * trees are not known either, the same walk rebuilds them.
 */
export class StoredKeys {
  readonly #store: Store;
  readonly #log: Log;
  readonly #trees: Trees;
  readonly #corrupt: CorruptKeys;
  #filter = new KeyFilter();
  #complete = false;
  #walkFailed = false;
  #walk: Promise<unknown> = Promise.resolve();

  constructor(store: Store, log: Log, trees: Trees, corrupt: CorruptKeys) {
    this.#store = store;
    this.#log = log;
    this.#trees = trees;
    this.#corrupt = corrupt;
  }

  /** False while nothing can be ruled out yet. */
  get complete(): boolean {
    return this.#complete;
  }

  /** The last walk could not read everything, so nothing is complete until there has been another. */
  get walkFailed(): boolean {
    return this.#walkFailed;
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
    this.#walkFailed = false;
  }

  /**
   * Starts the walk, over a snapshot taken within this call. No batch may be under way: what was written before is then in
   * the snapshot, and what comes later is added by whoever writes it.
   */
  walk(): void {
    this.clear();
    const rebuildTrees = !this.#trees.ready;
    if (rebuildTrees) this.#trees.clear();
    const walk = this.#addStored(this.#filter, rebuildTrees);
    // One that is given up still has its cursor for a moment.
    this.#walk = Promise.all([this.#walk, walk]);
  }

  /** Resolves when nothing here uses the store any more. */
  async stop(): Promise<void> {
    this.clear();
    await this.#walk;
  }

  async #addStored(filter: KeyFilter, rebuildTrees: boolean): Promise<void> {
    try {
      const cursor = this.#store.cursor({ ...ALL_RECORDS, values: rebuildTrees });
      try {
        await this.#addAll(cursor, filter, rebuildTrees);
      } finally {
        await cursor.close();
      }
      if (this.#filter !== filter) return;
      this.#complete = true;
      if (rebuildTrees) this.#trees.complete();
    } catch (error) {
      if (this.#filter === filter) {
        this.#walkFailed = true;
        this.#log.warn(
          { err: error },
          'the walk over all records failed and will be tried again: until then every key is looked up, and without trees nothing is compared; if it goes on failing, stop the node and empty its data folder, and it is refilled by the others',
        );
      }
    }
  }

  /** Ends early when the filter is not the one that counts any more. */
  async #addAll(cursor: StoreCursor, filter: KeyFilter, rebuildTrees: boolean): Promise<void> {
    for (;;) {
      const entries = await cursor.next(rebuildTrees ? RECORDS_PER_TURN : KEYS_PER_TURN);
      if (entries.length === 0 || this.#filter !== filter) return;
      for (const entry of entries) {
        const keyHash = hash32(userKeyOf(entry[0]));
        filter.add(keyHash);
        if (rebuildTrees) this.#addToTrees(entry, keyHash);
      }
    }
  }

  /** What cannot be read adds nothing. */
  #addToTrees([storeKey, record]: StoreEntry, keyHash: number): void {
    if (isIntact(keyHash, record)) this.#trees.replace(keyHash, undefined, record);
    else this.#corrupt.add(userKeyOf(storeKey), keyHash);
  }
}
