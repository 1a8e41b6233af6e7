import { hasExpiry, haveSameHeader, HEADER_BYTES } from '../core/record.js';
import type { Log } from '../io/log.js';
import type { Store } from '../io/store.js';
import type { HeldKey } from './apply.js';
import type { CorruptKeys } from './corrupt-keys.js';
import { HeaderCache } from './header-cache.js';
import { recordKey } from './layout.js';
import { StoredKeys } from './stored-keys.js';
import type { Trees } from './trees.js';

const CACHED_HEADERS = 65_536;

/** The keys of a group that is being committed. */
export interface KeysUnderWay {
  /** Whether a key with this hash is among them. */
  mentions(keyHash: number): boolean;
}

/**
 * Everything that memory knows of the records on disk: which keys there may be, the headers of those lately used, the hash trees
 * and which records cannot be read. It is exact because it is told here of every batch, after its sync, by the only writer of
 * the store.
 */
export class KnownRecords {
  readonly trees: Trees;
  readonly corrupt: CorruptKeys;
  readonly #headers = new HeaderCache(CACHED_HEADERS);
  readonly #storedKeys: StoredKeys;
  /** What it has of these keys is not what every reader of the disk sees. */
  #underWay: KeysUnderWay | undefined;

  constructor(store: Store, log: Log, trees: Trees, corrupt: CorruptKeys) {
    this.trees = trees;
    this.corrupt = corrupt;
    this.#storedKeys = new StoredKeys(store, log, trees, corrupt);
  }

  /** False while every key must be looked up. */
  get filterComplete(): boolean {
    return this.#storedKeys.complete;
  }

  /** Not everything on disk could be read, so the trees that were to be rebuilt are not. */
  get walkFailed(): boolean {
    return this.#storedKeys.walkFailed;
  }

  /** Whether it is known without a read what is on disk of the key; `held.stored` is that then. */
  recall(held: HeldKey): boolean {
    held.stored = this.#headers.get(held.storeKey, held.keyHash);
    return held.stored !== undefined || !this.#storedKeys.mayHave(held.keyHash);
  }

  /** False: the key is not on disk. */
  mayHave(keyHash: number): boolean {
    return this.#storedKeys.mayHave(keyHash);
  }

  /**
   * The header of what is on disk of the key, synced; undefined where that is not known, or a batch under way may just have changed
   * it: a reader that has seen a batch must not be followed by one that has not. A copy.
   */
  header(storeKey: Uint8Array, keyHash: number): Uint8Array | undefined {
    if (this.#underWay?.mentions(keyHash) === true) return undefined;
    return this.#headers.get(storeKey, keyHash)?.slice();
  }

  /**
   * Whether it is known without a read that the record with this header is what is on disk of the key. Of what expires it is not:
   * a fence may hide it, which takes more than the header to tell. No batch may be under way.
   */
  isOnDisk(storeKey: Uint8Array, keyHash: number, header: Uint8Array): boolean {
    if (header.length !== HEADER_BYTES || hasExpiry(header)) return false;
    const held = this.#headers.get(storeKey, keyHash);
    return held !== undefined && haveSameHeader(held, header);
  }

  /** Before the batch that brings a record of the key is written. What was recalled stays as it is until {@link remember}. */
  willWrite(storeKey: Uint8Array, keyHash: number): void {
    this.#storedKeys.add(keyHash);
    this.#headers.forget(storeKey, keyHash);
  }

  /** Before the batch with these winners is written, which are among the keys of the group: {@link remember} or {@link lost} follows. */
  willCommit(group: KeysUnderWay, winners: readonly HeldKey[]): void {
    this.#underWay = group;
    for (const held of winners) {
      // A key that is on disk is in the filter, or the walk that fills it will come to it.
      if (held.stored === undefined) this.#storedKeys.add(held.keyHash);
    }
  }

  /** What became of the batch is not known. */
  lost(): void {
    this.#underWay = undefined;
    this.#headers.clear();
  }

  /** The winners are on disk. To be told before anybody is answered, and before {@link remember}. */
  wrote(winners: readonly HeldKey[]): void {
    for (const held of winners) this.trees.replace(held.keyHash, held.stored, held.winner);
  }

  /** Headers that were read or written. Overwrites what `held.stored` may be a view of. */
  remember(lookedUp: readonly HeldKey[], winners: readonly HeldKey[]): void {
    for (const held of lookedUp) {
      if (held.stored !== undefined) this.#headers.set(held.storeKey, held.keyHash, held.stored);
    }
    for (const held of winners)
      this.#headers.set(held.storeKey, held.keyHash, held.winner as Uint8Array);
    this.#underWay = undefined;
  }

  /** The record of the key, with this header, is not on disk any more. */
  removed(key: Uint8Array, keyHash: number, header: Uint8Array): void {
    this.#headers.forget(recordKey(key), keyHash);
    this.trees.replace(keyHash, header, undefined);
  }

  /** There is no record of the key on disk, whatever was known of one; what the trees say of it is for a rebuild to mend. */
  foundMissing(key: Uint8Array, keyHash: number): void {
    this.#headers.forget(recordKey(key), keyHash);
  }

  /** The record of the key on disk cannot be read. */
  foundCorrupt(key: Uint8Array, keyHash: number): void {
    this.#headers.forget(recordKey(key), keyHash);
    this.corrupt.add(key, keyHash);
  }

  /** The key can be read again; its segment has been computed anew. */
  mended(key: Uint8Array, keyHash: number): void {
    this.#headers.forget(recordKey(key), keyHash);
    this.corrupt.delete(key);
  }

  /** Nothing is known any more. */
  clear(): void {
    this.#headers.clear();
    this.#storedKeys.clear();
    this.trees.clear();
    this.corrupt.clear();
  }

  /** Begins to find out what is on disk. No batch may be under way within this call. */
  walk(): void {
    this.#storedKeys.walk();
  }

  /** Believes nothing but the disk, and has the trees computed anew. No batch may be under way within this call. */
  rebuild(): void {
    this.#headers.clear();
    this.trees.clear();
    this.walk();
  }

  /** Resolves when nothing here uses the store any more. */
  stop(): Promise<void> {
    return this.#storedKeys.stop();
  }
}
