import { scatter32, type Dice } from './dice.js';

const VALUES = 64;
/** Keys beyond so many are made each time they are asked for, or they would fill the memory. */
const MOST_KEPT = 1_000_000;

/** The records of a benchmark: keys made once each, values of random bytes, which do not compress. */
export class BenchRecords {
  readonly #prefix: string;
  readonly #keys: Uint8Array[] = [];
  readonly #values: readonly Uint8Array[];
  #puts = 0;

  constructor(prefix: string, valueBytes: number, dice: Dice) {
    this.#prefix = prefix;
    this.#values = Array.from({ length: VALUES }, () =>
      Uint8Array.from({ length: valueBytes }, () => dice.below(256)),
    );
  }

  /** Record numbers are scattered, as YCSB does it: records that follow each other are not neighbours in the store. */
  key(number: number): Uint8Array {
    return number < MOST_KEPT ? (this.#keys[number] ??= this.#made(number)) : this.#made(number);
  }

  #made(number: number): Uint8Array {
    return Buffer.from(`${this.#prefix}user${scatter32(number).toString(16).padStart(8, '0')}`);
  }

  nextValue(): Uint8Array {
    return this.#values[this.#puts++ % VALUES] as Uint8Array;
  }
}
