import { HEADER_BYTES } from '../core/record.js';
import { compareBytesAt } from '../core/version.js';

/** Longer keys are not remembered. */
const MAX_KEY_BYTES = 70;

/** A slot: the length of the key (0: the slot is empty), the key, the header. */
const KEY_AT = 1;
const HEADER_AT = KEY_AT + MAX_KEY_BYTES;
const SLOT_BYTES = HEADER_AT + HEADER_BYTES;

/**
 * The headers of the records last written or looked up: exactly those on disk, so a hot key is written without being read.
 * Every key has one slot, and the last one to come has it. All lies in one slab of 96 bytes a slot: nothing is kept in order,
 * and nothing is allocated or kept alive for an entry.
 */
export class HeaderCache {
  readonly #slab: Uint8Array;
  readonly #mask: number;

  /** `slots` is a power of two. */
  constructor(slots: number) {
    this.#slab = new Uint8Array(slots * SLOT_BYTES);
    this.#mask = slots - 1;
  }

  /** A view that a later `set` may overwrite: copy what is kept. */
  get(key: Uint8Array, keyHash: number): Uint8Array | undefined {
    const at = (keyHash & this.#mask) * SLOT_BYTES;
    if (this.#slab[at] !== key.length) return undefined;
    if (compareBytesAt(this.#slab, at + KEY_AT, key, 0, key.length) !== 0) return undefined;
    return this.#slab.subarray(at + HEADER_AT, at + SLOT_BYTES);
  }

  /** Remembers the first 25 bytes of `record`. */
  set(key: Uint8Array, keyHash: number, record: Uint8Array): void {
    if (key.length > MAX_KEY_BYTES) return;
    const at = (keyHash & this.#mask) * SLOT_BYTES;
    const slab = this.#slab;
    slab[at] = key.length;
    for (let i = 0; i < key.length; i++) slab[at + KEY_AT + i] = key[i] as number;
    for (let i = 0; i < HEADER_BYTES; i++) slab[at + HEADER_AT + i] = record[i] as number;
  }

  forget(key: Uint8Array, keyHash: number): void {
    if (this.get(key, keyHash) !== undefined) {
      this.#slab[(keyHash & this.#mask) * SLOT_BYTES] = 0;
    }
  }

  clear(): void {
    this.#slab.fill(0);
  }
}
