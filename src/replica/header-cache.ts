import { HEADER_BYTES } from '../core/record.js';
import { compareBytesAt } from '../core/version.js';

/** Longer keys are not remembered. */
const MAX_KEY_BYTES = 70;

/** A slot: the length of the key (0: the slot is empty), the key, the header. */
const KEY_AT = 1;
const HEADER_AT = KEY_AT + MAX_KEY_BYTES;
const SLOT_BYTES = HEADER_AT + HEADER_BYTES;

/** In how many slots a key may be. */
const WAYS = 8;

/**
 * The headers of the records last written or looked up: exactly those on disk, so a hot key is written without being read.
 * Every key has a set of eight slots; where nine keys share one, one that was not used lately has gone (the clock of Corbató,
 * 1968). With fewer to a set, some of ten thousand hot keys would displace each other for ever, and nearly every group commit wait
 * for a read. Hashes are kept apart, so that one line of the processor's cache says which slot it is, if any. The rest lies in one
 * slab of 96 bytes a slot: nothing is kept in order, and nothing is allocated or kept alive for an entry.
 */
export class HeaderCache {
  readonly #slab: Uint8Array;
  /** For each slot the hash of its key, where it has one. */
  readonly #hashes: Uint32Array;
  /** For each slot whether it was used since the hand came past it. */
  readonly #used: Uint8Array;
  /** For each set the way at which a slot is looked for next. */
  readonly #hands: Uint8Array;
  readonly #mask: number;

  /** `slots` is a power of two, 8 at least. */
  constructor(slots: number) {
    const sets = slots / WAYS;
    this.#slab = new Uint8Array(slots * SLOT_BYTES);
    this.#hashes = new Uint32Array(slots);
    this.#used = new Uint8Array(slots);
    this.#hands = new Uint8Array(sets);
    this.#mask = sets - 1;
  }

  /** A view that a later `set` may overwrite: copy what is kept. */
  get(key: Uint8Array, keyHash: number): Uint8Array | undefined {
    const slot = this.#find(key, keyHash);
    if (slot === -1) return undefined;
    const at = slot * SLOT_BYTES;
    return this.#slab.subarray(at + HEADER_AT, at + SLOT_BYTES);
  }

  /** Remembers the first 25 bytes of `record`. */
  set(key: Uint8Array, keyHash: number, record: Uint8Array): void {
    if (key.length > MAX_KEY_BYTES) return;
    const slab = this.#slab;
    let slot = this.#find(key, keyHash);
    if (slot === -1) {
      slot = this.#spare(keyHash);
      const at = slot * SLOT_BYTES;
      slab[at] = key.length;
      for (let i = 0; i < key.length; i++) slab[at + KEY_AT + i] = key[i] as number;
    }
    const headerAt = slot * SLOT_BYTES + HEADER_AT;
    for (let i = 0; i < HEADER_BYTES; i++) slab[headerAt + i] = record[i] as number;
  }

  forget(key: Uint8Array, keyHash: number): void {
    const slot = this.#find(key, keyHash);
    if (slot !== -1) this.#slab[slot * SLOT_BYTES] = 0;
  }

  clear(): void {
    this.#slab.fill(0);
  }

  /** The slot of the key; -1 when it has none. */
  #find(key: Uint8Array, keyHash: number): number {
    const first = (keyHash & this.#mask) * WAYS;
    for (let slot = first; slot < first + WAYS; slot++) {
      if (this.#hashes[slot] !== keyHash) continue;
      const at = slot * SLOT_BYTES;
      if (this.#slab[at] !== key.length) continue;
      if (compareBytesAt(this.#slab, at + KEY_AT, key, 0, key.length) !== 0) continue;
      this.#used[slot] = 1;
      return slot;
    }
    return -1;
  }

  /** The slot that a new key takes: an empty one, else the next that was not used since the hand came past it. */
  #spare(keyHash: number): number {
    const set = keyHash & this.#mask;
    const first = set * WAYS;
    let slot = first;
    while (slot < first + WAYS && this.#slab[slot * SLOT_BYTES] !== 0) slot++;
    if (slot === first + WAYS) {
      let way = this.#hands[set] as number;
      for (; this.#used[first + way] === 1; way = (way + 1) % WAYS) this.#used[first + way] = 0;
      slot = first + way;
      this.#hands[set] = (way + 1) % WAYS;
    }
    this.#hashes[slot] = keyHash;
    this.#used[slot] = 1;
    return slot;
  }
}
