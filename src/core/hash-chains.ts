const FIRST_CHAINS = 64;

/** An entry of {@link HashChains}, which links those of one chain. */
export interface Chained<Entry> {
  readonly keyHash: number;
  next: Entry | undefined;
}

/**
 * Entries by the hash of their key, for what comes and goes with every request. A Map would do, but for what V8 makes of one: it
 * leaves a table behind every few hundred entries, and once the Map is old each of those keeps what was in it from being
 * collected young (wire/calls-by-id.ts).
 */
export class HashChains<Entry extends Chained<Entry>> {
  #chains: (Entry | undefined)[] = emptyChains<Entry>(FIRST_CHAINS);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The first entry of the chain in which those with this hash are, and others. */
  chain(keyHash: number): Entry | undefined {
    return this.#chains[keyHash & (this.#chains.length - 1)];
  }

  /** It is in no table. */
  add(entry: Entry): void {
    if (this.#size >= this.#chains.length) this.#grow();
    this.#size += 1;
    this.#link(entry);
  }

  /** Harmless when it is not there. */
  delete(entry: Entry): void {
    const chain = entry.keyHash & (this.#chains.length - 1);
    let before: Entry | undefined;
    let at = this.#chains[chain];
    while (at !== undefined && at !== entry) {
      before = at;
      at = at.next;
    }
    if (at === undefined) return;
    if (before === undefined) this.#chains[chain] = entry.next;
    else before.next = entry.next;
    entry.next = undefined;
    this.#size -= 1;
  }

  /** All of them, in no order. None may be added or deleted meanwhile. */
  *[Symbol.iterator](): Iterator<Entry> {
    for (const first of this.#chains) {
      for (let entry = first; entry !== undefined; entry = entry.next) yield entry;
    }
  }

  #link(entry: Entry): void {
    const chain = entry.keyHash & (this.#chains.length - 1);
    entry.next = this.#chains[chain];
    this.#chains[chain] = entry;
  }

  #grow(): void {
    const entries = [...this];
    this.#chains = emptyChains(2 * this.#chains.length);
    for (const entry of entries) this.#link(entry);
  }
}

function emptyChains<Entry>(length: number): (Entry | undefined)[] {
  return Array.from({ length }, () => undefined);
}
