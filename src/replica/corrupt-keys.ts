const MAX_KEYS = 10_000;

/** A key whose record on disk cannot be read. */
export interface CorruptKey {
  readonly key: Uint8Array;
  readonly keyHash: number;
}

/**
 * The keys on which this replica abstains until they have been mended. Bounded: of more damage than that, the rest is found
 * again when these are mended.
 */
export class CorruptKeys {
  readonly #keys = new Map<string, CorruptKey>();
  #mended = 0;

  get size(): number {
    return this.#keys.size;
  }

  /** There may be more of them than are remembered. */
  get isFull(): boolean {
    return this.#keys.size >= MAX_KEYS;
  }

  /** How many could be read again so far. */
  get mended(): number {
    return this.#mended;
  }

  add(key: Uint8Array, keyHash: number): void {
    if (this.#keys.size < MAX_KEYS)
      this.#keys.set(nameOf(key), { key: Uint8Array.from(key), keyHash });
  }

  /** It can be read again. */
  delete(key: Uint8Array): void {
    if (this.#keys.delete(nameOf(key))) this.#mended += 1;
  }

  list(): readonly CorruptKey[] {
    return [...this.#keys.values()];
  }

  clear(): void {
    this.#keys.clear();
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}
