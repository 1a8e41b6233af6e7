import { HEADER_BYTES } from '../core/record.js';

/** Longer keys are not remembered, so that the cache is bounded in bytes as well: under 12 MiB with 65,536 entries. */
const MAX_KEY_CHARACTERS = 128;

/**
 * The headers of the records last written or looked up: exactly those on disk, so a hot key is written without being read.
 * Every key has one slot, and the last one to come has it: no order to keep, and nothing is allocated for an entry.
 */
export class HeaderCache {
  readonly #keys: (string | undefined)[];
  readonly #slab: Uint8Array;
  readonly #mask: number;

  /** `capacity` is a power of two. */
  constructor(capacity: number) {
    this.#keys = Array.from({ length: capacity });
    this.#slab = new Uint8Array(capacity * HEADER_BYTES);
    this.#mask = capacity - 1;
  }

  /** A view that a later `set` may overwrite: copy what is kept. */
  get(key: string, keyHash: number): Uint8Array | undefined {
    const slot = keyHash & this.#mask;
    if (this.#keys[slot] !== key) return undefined;
    return this.#slab.subarray(slot * HEADER_BYTES, (slot + 1) * HEADER_BYTES);
  }

  /** Remembers the first 25 bytes of `record`. */
  set(key: string, keyHash: number, record: Uint8Array): void {
    if (key.length > MAX_KEY_CHARACTERS) return;
    const slot = keyHash & this.#mask;
    this.#keys[slot] = key;
    const at = slot * HEADER_BYTES;
    for (let i = 0; i < HEADER_BYTES; i++) this.#slab[at + i] = record[i] as number;
  }

  clear(): void {
    this.#keys.fill(undefined);
  }
}
