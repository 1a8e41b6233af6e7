/**
 * How far an import has come: the longest run of records from the first one that are all done, while later ones may be done
 * too. What is to be repeated after an interruption starts there.
 */
export class AcknowledgedPrefix {
  /** Records before the prefix end, and the byte of the input that follows the last of them. */
  #records: number;
  #byte: number;
  /** Done records beyond the prefix: from how many records come before them to where they end. */
  readonly #doneEnds = new Map<number, number>();

  constructor(records = 0, byte = 0) {
    this.#records = records;
    this.#byte = byte;
  }

  get records(): number {
    return this.#records;
  }

  get byte(): number {
    return this.#byte;
  }

  /** Record number `index` (from 0), which ends at `endByte`, is done. Each once, in any order. */
  done(index: number, endByte: number): void {
    if (index !== this.#records) {
      this.#doneEnds.set(index, endByte);
      return;
    }
    this.#records = index + 1;
    this.#byte = endByte;
    for (;;) {
      const next = this.#doneEnds.get(this.#records);
      if (next === undefined) return;
      this.#doneEnds.delete(this.#records);
      this.#records++;
      this.#byte = next;
    }
  }
}
