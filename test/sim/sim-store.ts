import {
  StoreError,
  type Store,
  type StoreBatch,
  type StoreCursor,
  type StoreRange,
} from '../../src/io/store.js';
import type { Change, DiskUser, SimDisk } from './disk.js';
import { textOf } from './sorted-entries.js';

/** One opening of a disk. */
export class SimStore implements Store {
  readonly #disk: SimDisk;
  readonly #user: DiskUser;
  #closed = false;

  constructor(disk: SimDisk, user: DiskUser) {
    this.#disk = disk;
    this.#user = user;
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#assertOpen();
    return this.#disk.get(key, this.#user);
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    this.#assertOpen();
    return this.#disk.getMany(keys, this.#user);
  }

  batch(): StoreBatch {
    this.#assertOpen();
    return new SimBatch((changes, sync) => {
      this.#assertOpen();
      return this.#disk.commit(changes, sync, this.#user);
    });
  }

  cursor(range: StoreRange): StoreCursor {
    this.#assertOpen();
    const cursor = this.#disk.snapshot(range, this.#user);
    let closed = false;
    return {
      next: async (count) => {
        this.#assertOpen();
        if (closed) throw new StoreError('failed', 'the cursor is closed');
        return cursor.next(count);
      },
      close: async () => {
        closed = true;
      },
    };
  }

  async sizeBytes(): Promise<number> {
    this.#assertOpen();
    return this.#disk.sizeBytes();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#disk.close(this.#user);
  }

  #assertOpen(): void {
    if (this.#closed) throw new StoreError('failed', 'the store is closed');
  }
}

class SimBatch implements StoreBatch {
  readonly #commit: (changes: readonly Change[], sync: boolean) => Promise<void>;
  readonly #changes: (readonly [Uint8Array, Uint8Array | undefined])[] = [];
  #ended = false;

  constructor(commit: (changes: readonly Change[], sync: boolean) => Promise<void>) {
    this.#commit = commit;
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

  async commit(options: { readonly sync: boolean }): Promise<void> {
    this.#assertOpen();
    this.#ended = true;
    const changes = this.#changes.map<Change>(([key, value]) => [
      textOf(key),
      value === undefined ? undefined : Uint8Array.from(value),
    ]);
    await this.#commit(changes, options.sync);
  }

  async discard(): Promise<void> {
    this.#ended = true;
  }

  #assertOpen(): void {
    if (this.#ended) throw new StoreError('failed', 'the batch has ended');
  }
}
