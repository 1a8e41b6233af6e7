import { scatter32, type Dice } from './dice.js';

export const DISTRIBUTIONS = ['zipfian', 'uniform', 'latest'] as const;
/** `zipfian`: few records get most requests, scattered over all; `latest`: those that came last do. */
export type Distribution = (typeof DISTRIBUTIONS)[number];

/** Picks the record that a request is about, of records 0 to `count` - 1. */
export type KeyChooser = (count: number) => number;

export function createKeyChooser(distribution: Distribution, dice: Dice): KeyChooser {
  switch (distribution) {
    case 'uniform':
      return (count) => dice.below(count);
    case 'latest': {
      const zipf = new Zipf(dice);
      return (count) => count - 1 - zipf.rank(count);
    }
    case 'zipfian': {
      // As YCSB does it: ranks of a constant, huge range, scattered, so that hot records stay hot while the data grows.
      const zipf = new Zipf(dice, SCRAMBLED_RANGE, SCRAMBLED_ZETA);
      return (count) => {
        const rank = zipf.rank(SCRAMBLED_RANGE);
        return scatter32(rank ^ Math.floor(rank / 0x1_0000_0000)) % count;
      };
    }
  }
}

/** YCSB's constants: ten thousand million ranks, and the sum of 1/i^0.99 over them. */
const SCRAMBLED_RANGE = 10_000_000_000;
const SCRAMBLED_ZETA = 26.469_028_201_783_02;
const THETA = 0.99;

/** Ranks from 0, the first the most likely (Gray et al. 1994, "Quickly generating billion-record synthetic databases"). */
export class Zipf {
  readonly #dice: Dice;
  #count: number;
  /** The sum of 1/i^theta up to `count`; adding to it is how the range grows. */
  #zeta: number;
  #eta = 0;

  constructor(dice: Dice, count = 0, zeta = 0) {
    this.#dice = dice;
    this.#count = count;
    this.#zeta = zeta;
    if (count > 0) this.#setEta();
  }

  /** A rank below `count`, which may grow from call to call and never shrinks. */
  rank(count: number): number {
    if (count > this.#count) this.#grow(count);
    const drawn = this.#dice.fraction();
    const scaled = drawn * this.#zeta;
    if (scaled < 1) return 0;
    if (scaled < 1 + 0.5 ** THETA) return Math.min(1, count - 1);
    const rank = Math.floor(this.#count * (this.#eta * drawn - this.#eta + 1) ** (1 / (1 - THETA)));
    return Math.min(rank, count - 1);
  }

  #grow(count: number): void {
    for (let i = this.#count + 1; i <= count; i++) this.#zeta += 1 / i ** THETA;
    this.#count = count;
    this.#setEta();
  }

  #setEta(): void {
    const zetaOfTwo = 1 + 0.5 ** THETA;
    this.#eta = (1 - (2 / this.#count) ** (1 - THETA)) / (1 - zetaOfTwo / this.#zeta);
  }
}
