import { HEADER_BYTES } from '../core/record.js';

/** Longer keys are not remembered, so that the cache is bounded in bytes as well: under 5 MiB by default. */
const MAX_KEY_CHARACTERS = 256;

/**
 * The headers of the records last written or looked up: exactly those on disk, so a hot key is written without being read.
 * Bounded; the oldest entry makes room for a new key. Nothing is allocated for an entry: headers lie in one slab.
 */
export class HeaderCache {
  readonly #slots = new Map<string, number>();
  /** For each slot its key, in the order in which they came. */
  readonly #keys: (string | undefined)[];
  readonly #slab: Uint8Array;
  #next = 0;

  constructor(readonly capacity: number) {
    this.#keys = Array.from({ length: capacity });
    this.#slab = new Uint8Array(capacity * HEADER_BYTES);
  }

  /** A view that the next `set` may overwrite: copy what is kept. */
  get(key: string): Uint8Array | undefined {
    const slot = this.#slots.get(key);
    if (slot === undefined) return undefined;
    return this.#slab.subarray(slot * HEADER_BYTES, (slot + 1) * HEADER_BYTES);
  }

  /** Remembers the first 25 bytes of `record`. */
  set(key: string, record: Uint8Array): void {
    if (key.length > MAX_KEY_CHARACTERS) return;
    const slot = this.#slots.get(key) ?? this.#take(key);
    const at = slot * HEADER_BYTES;
    for (let i = 0; i < HEADER_BYTES; i++) this.#slab[at + i] = record[i] as number;
  }

  clear(): void {
    this.#slots.clear();
    this.#keys.fill(undefined);
  }

  #take(key: string): number {
    const slot = this.#next;
    this.#next = (slot + 1) % this.capacity;
    const evicted = this.#keys[slot];
    if (evicted !== undefined) this.#slots.delete(evicted);
    this.#keys[slot] = key;
    this.#slots.set(key, slot);
    return slot;
  }
}
