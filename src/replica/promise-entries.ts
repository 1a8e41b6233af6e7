import type { StoreBatch } from '../io/store.js';
import { promisesKey } from './layout.js';
import { sealPromises, type StoredPromise } from './stored-promises.js';

/** The youngest entries are left as they are: most of their promises are over within a few commits. */
export const YOUNG_ENTRIES = 16;
const MOST_IN_ENTRY = 1_024;

/** A promise of memory, and where it is on disk. */
export interface KeptPromise extends StoredPromise {
  readonly isInDoubt: boolean;
  /** The entry that has it, as it is or as it was before it was raised; undefined: none that is known to be on disk. */
  entry: PromiseEntry | undefined;
  /** It goes into the next batch. */
  isDue: boolean;
  /** It was fulfilled, or a fence has passed it. */
  isOver: boolean;
}

interface PromiseEntry {
  readonly number: number;
  /** How many it had when it was written. */
  readonly size: number;
  /** Those of them that may be live. */
  readonly promises: readonly KeptPromise[];
  /** How many of them no later entry has, and are not over. */
  live: number;
  /** Whether it is to go once it is mostly void: it is not young, and what is live in it is not due already. */
  mayGoEarly: boolean;
}

/**
 * Where promises are on disk. Those that one group commit brings share an entry. So a promise costs a few bytes, and its end
 * nothing: an entry is deleted when none of its promises is live, because each was fulfilled, passed by a fence or written anew.
 *
 * Of an entry beside the youngest at least half the promises are live: where fewer are, they go into the next batch. So what is on
 * disk is at most twice what is live, and the entries of a few commits.
 *
 * Nothing counts as on disk, or as gone from it, before {@link written}. Where that word does not come, nobody knows what became of
 * the batch, and the next one does the same again: then every promise is there, and every entry that is not needed is not,
 * whichever it was.
 */
export class PromiseEntries {
  #nextNumber = 0;
  #due: KeptPromise[] = [];
  /** To be deleted. */
  #void: PromiseEntry[] = [];
  /** What the last batch brings and deletes, until that is known to be so. */
  #brought: PromiseEntry[] = [];
  #deleted: PromiseEntry[] = [];
  readonly #young: PromiseEntry[] = [];

  /** Whether there is a promise that the disk does not have as it is. */
  get hasDue(): boolean {
    return this.#due.length > 0;
  }

  /** An entry that is on disk at the start, in the order of their numbers, and what memory has taken from it. */
  found(number: number, size: number, promises: readonly KeptPromise[]): void {
    this.#nextNumber = number + 1;
    const entry: PromiseEntry = { number, size, promises, live: 0, mayGoEarly: true };
    this.#holds(entry);
    this.#clean(entry);
  }

  /** The promise is new, or not what it was. */
  changed(promise: KeptPromise): void {
    if (promise.isDue) return;
    promise.isDue = true;
    this.#due.push(promise);
  }

  /** The promise was fulfilled by what is on disk, or passed by a fence that is: on disk it is void from now on. */
  over(promise: KeptPromise): void {
    promise.isOver = true;
    this.#release(promise);
  }

  /**
   * Adds to the batch what the disk lacks, and takes off what it need not have. All of it counts as brought and deleted before the
   * batch is touched: where that throws, the next call does the same again.
   */
  write(batch: StoreBatch): void {
    this.#takeBack();
    for (let at = 0; at < this.#due.length; at += MOST_IN_ENTRY) {
      this.#bring(this.#due.slice(at, at + MOST_IN_ENTRY));
    }
    this.#due = [];
    this.#deleted = this.#void;
    this.#void = [];
    for (const { number, promises } of this.#brought) {
      batch.put(promisesKey(number), sealPromises(number, promises));
    }
    for (const { number } of this.#deleted) batch.del(promisesKey(number));
  }

  /** The batch is on disk. */
  written(): void {
    for (const entry of this.#brought) {
      this.#holds(entry);
      this.#young.push(entry);
    }
    this.#brought = [];
    this.#deleted = [];
    while (this.#young.length > YOUNG_ENTRIES) {
      const entry = this.#young.shift() as PromiseEntry;
      entry.mayGoEarly = true;
      this.#clean(entry);
    }
  }

  /** Of the last batch nobody has said that it is on disk. */
  #takeBack(): void {
    for (const entry of this.#brought) {
      for (const promise of entry.promises) this.changed(promise);
    }
    this.#void.push(...this.#brought, ...this.#deleted);
    this.#brought = [];
    this.#deleted = [];
  }

  #bring(due: readonly KeptPromise[]): void {
    const promises: KeptPromise[] = [];
    for (const promise of due) {
      promise.isDue = false;
      if (!promise.isOver) promises.push(promise);
    }
    if (promises.length === 0) return;
    const number = this.#nextNumber;
    this.#nextNumber += 1;
    this.#brought.push({ number, size: promises.length, promises, live: 0, mayGoEarly: false });
  }

  /** The entry is on disk, and later than all others that are. */
  #holds(entry: PromiseEntry): void {
    for (const promise of entry.promises) {
      if (promise.isOver) continue;
      this.#release(promise);
      promise.entry = entry;
      entry.live += 1;
    }
    if (entry.live === 0) this.#void.push(entry);
  }

  #release(promise: KeptPromise): void {
    const { entry } = promise;
    if (entry === undefined) return;
    promise.entry = undefined;
    entry.live -= 1;
    if (entry.live === 0) this.#void.push(entry);
    else this.#clean(entry);
  }

  /** Has an entry that is mostly void go, with what is live in it written anew. */
  #clean(entry: PromiseEntry): void {
    if (!entry.mayGoEarly || entry.live * 2 >= entry.size) return;
    entry.mayGoEarly = false;
    for (const promise of entry.promises) {
      if (promise.entry === entry) this.changed(promise);
    }
  }
}
