import { compareKeys } from '../core/key-range.js';
import {
  StoreError,
  type Store,
  type StoreBatch,
  type StoreCursor,
  type StoreEntry,
  type StoreOpener,
  type StoreRange,
} from './store.js';

const NO_VALUE = new Uint8Array(0);

/** A store in memory alone, for tests and examples: every commit is complete at once, and nothing outlives the process. */
export function openMemoryStore(): Store {
  return new MemoryStore(new SortedEntries(), () => {});
}

/** A disk in memory that holds one store: what was committed is there again when it is opened again. */
export function memoryStoreOpener(): StoreOpener {
  const entries = new SortedEntries();
  let open = false;
  return {
    async open() {
      if (open) throw new StoreError('locked', 'cannot open the memory store: it is open already');
      open = true;
      return new MemoryStore(entries, () => {
        open = false;
      });
    },
    hasRoom: async () => true,
    verify: async () => 'intact',
    acceptDamage: async () => {},
  };
}

/** A sorted array, copied before the first change after a snapshot of it was taken. */
class SortedEntries {
  #entries: StoreEntry[] = [];
  #shared = false;

  snapshot(): readonly StoreEntry[] {
    this.#shared = true;
    return this.#entries;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const at = firstFrom(this.#entries, key);
    const entry = this.#entries[at];
    return entry !== undefined && compareKeys(entry[0], key) === 0 ? entry[1] : undefined;
  }

  set(key: Uint8Array, value: Uint8Array | undefined): void {
    if (this.#shared) {
      this.#entries = [...this.#entries];
      this.#shared = false;
    }
    const at = firstFrom(this.#entries, key);
    const entry = this.#entries[at];
    const present = entry !== undefined && compareKeys(entry[0], key) === 0 ? 1 : 0;
    if (value === undefined) this.#entries.splice(at, present);
    else this.#entries.splice(at, present, [key, value]);
  }

  sizeBytes(): number {
    return this.#entries.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
  }
}

/** The index of the first entry whose key is not below `key`. */
function firstFrom(entries: readonly StoreEntry[], key: Uint8Array): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys((entries[middle] as StoreEntry)[0], key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

class MemoryStore implements Store {
  readonly #entries: SortedEntries;
  readonly #onClose: () => void;
  #closed = false;

  constructor(entries: SortedEntries, onClose: () => void) {
    this.#entries = entries;
    this.#onClose = onClose;
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#assertOpen();
    return this.#entries.get(key)?.slice();
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    this.#assertOpen();
    return keys.map((key) => this.#entries.get(key)?.slice());
  }

  batch(): StoreBatch {
    this.#assertOpen();
    return new MemoryBatch((changes) => {
      this.#assertOpen();
      for (const [key, value] of changes) this.#entries.set(key, value);
    });
  }

  cursor(range: StoreRange): StoreCursor {
    this.#assertOpen();
    const snapshot = this.#entries.snapshot();
    const from = firstFrom(snapshot, range.gte);
    const to = Math.max(from, firstFrom(snapshot, range.lt));
    const step = range.reverse === true ? -1 : 1;
    const withValues = range.values !== false;
    let at = range.reverse === true ? to - 1 : from;
    let closed = false;
    return {
      next: async (count) => {
        this.#assertOpen();
        if (closed) throw new StoreError('failed', 'a scan failed: the cursor is closed');
        const entries: StoreEntry[] = [];
        while (entries.length < count && at >= from && at < to) {
          const [key, value] = snapshot[at] as StoreEntry;
          entries.push([key.slice(), withValues ? value.slice() : NO_VALUE]);
          at += step;
        }
        return entries;
      },
      close: async () => {
        closed = true;
      },
    };
  }

  async sizeBytes(): Promise<number> {
    this.#assertOpen();
    return this.#entries.sizeBytes();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClose();
  }

  #assertOpen(): void {
    if (this.#closed) throw new StoreError('failed', 'the memory store is closed');
  }
}

type Change = readonly [key: Uint8Array, value: Uint8Array | undefined];

class MemoryBatch implements StoreBatch {
  readonly #apply: (changes: readonly Change[]) => void;
  #changes: Change[] = [];
  #ended = false;

  constructor(apply: (changes: readonly Change[]) => void) {
    this.#apply = apply;
  }

  get length(): number {
    return this.#changes.length;
  }

  put(key: Uint8Array, value: Uint8Array): this {
    this.#assertOpen();
    this.#changes.push([key, value]);
    return this;
  }

  del(key: Uint8Array): this {
    this.#assertOpen();
    this.#changes.push([key, undefined]);
    return this;
  }

  async commit(): Promise<void> {
    this.#assertOpen();
    this.#ended = true;
    // `Uint8Array.from` copies; `slice` of a Buffer would share its memory.
    this.#apply(
      this.#changes.map(([key, value]) => [
        Uint8Array.from(key),
        value === undefined ? undefined : Uint8Array.from(value),
      ]),
    );
  }

  async discard(): Promise<void> {
    this.#ended = true;
  }

  #assertOpen(): void {
    if (this.#ended) throw new StoreError('failed', 'the batch has ended');
  }
}
