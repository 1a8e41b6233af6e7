/** A sorted map of text to bytes. Values are never changed in place, so copies are cheap. */
export class SortedEntries {
  readonly #values = new Map<string, Uint8Array>();
  #keys: string[] = [];

  get(key: string): Uint8Array | undefined {
    return this.#values.get(key);
  }

  set(key: string, value: Uint8Array): void {
    if (!this.#values.has(key)) this.#keys.splice(this.#firstFrom(key), 0, key);
    this.#values.set(key, value);
  }

  delete(key: string): void {
    if (this.#values.delete(key)) this.#keys.splice(this.#firstFrom(key), 1);
  }

  /** What lies from `gte` (inclusive) up to `lt` (exclusive), in order. */
  between(gte: string, lt: string): [key: string, value: Uint8Array][] {
    return this.#keys
      .slice(this.#firstFrom(gte), this.#firstFrom(lt))
      .map((key) => [key, this.#values.get(key) as Uint8Array]);
  }

  copy(): SortedEntries {
    const copied = new SortedEntries();
    copied.#keys = [...this.#keys];
    for (const [key, value] of this.#values) copied.#values.set(key, value);
    return copied;
  }

  sizeBytes(): number {
    let size = 0;
    for (const [key, value] of this.#values) size += key.length + value.length;
    return size;
  }

  /** The index of the first key that is not below `key`. */
  #firstFrom(key: string): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#keys[middle] as string) < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Bytes as text of the same order: one character a byte. */
export function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

export function bytesOf(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}
