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
 * Every key has a pair of slots, and of three keys that share a pair the one that was used longest ago has gone. With one
 * slot a key, a tenth of ten thousand hot keys would displace each other for ever. All lies in one slab of 96 bytes a slot:
 * nothing is kept in order, and nothing is allocated or kept alive for an entry.
 */
export class HeaderCache {
  readonly #slab: Uint8Array;
  readonly #mask: number;
  /** For each pair which of the two was used last. */
  readonly #latest: Uint8Array;

  /** `slots` is a power of two, 2 at least. */
  constructor(slots: number) {
    this.#slab = new Uint8Array(slots * SLOT_BYTES);
    this.#mask = slots / 2 - 1;
    this.#latest = new Uint8Array(slots / 2);
  }

  /** A view that a later `set` may overwrite: copy what is kept. */
  get(key: Uint8Array, keyHash: number): Uint8Array | undefined {
    const at = this.#find(key, keyHash);
    return at === -1 ? undefined : this.#slab.subarray(at + HEADER_AT, at + SLOT_BYTES);
  }

  /** Remembers the first 25 bytes of `record`. */
  set(key: Uint8Array, keyHash: number, record: Uint8Array): void {
    if (key.length > MAX_KEY_BYTES) return;
    const slab = this.#slab;
    let at = this.#find(key, keyHash);
    if (at === -1) {
      at = this.#spare(keyHash);
      slab[at] = key.length;
      for (let i = 0; i < key.length; i++) slab[at + KEY_AT + i] = key[i] as number;
    }
    for (let i = 0; i < HEADER_BYTES; i++) slab[at + HEADER_AT + i] = record[i] as number;
  }

  forget(key: Uint8Array, keyHash: number): void {
    const at = this.#find(key, keyHash);
    if (at !== -1) this.#slab[at] = 0;
  }

  clear(): void {
    this.#slab.fill(0);
  }

  /** Where the slot of the key starts; -1 when it has none. */
  #find(key: Uint8Array, keyHash: number): number {
    const pair = keyHash & this.#mask;
    for (let way = 0; way < 2; way++) {
      const at = (2 * pair + way) * SLOT_BYTES;
      if (this.#slab[at] !== key.length) continue;
      if (compareBytesAt(this.#slab, at + KEY_AT, key, 0, key.length) !== 0) continue;
      this.#latest[pair] = way;
      return at;
    }
    return -1;
  }

  /** Where the slot starts that a new key takes: an empty one, else the one used longest ago. */
  #spare(keyHash: number): number {
    const pair = keyHash & this.#mask;
    const latest = this.#latest[pair] as number;
    const way = this.#slab[(2 * pair + latest) * SLOT_BYTES] === 0 ? latest : 1 - latest;
    this.#latest[pair] = way;
    return (2 * pair + way) * SLOT_BYTES;
  }
}
