import type { Random } from '../../src/io/random.js';

/** Chance drawn from a seed: one stream for each subsystem, so that a change in one does not shift the others. */
export interface Stream extends Random {
  /** An unsigned 32-bit number. */
  next(): number;
  /** 0 to `bound` - 1. */
  below(bound: number): number;
  /** Uniform in [`low`, `high`). */
  between(low: number, high: number): number;
  /** True with probability `probability`. */
  chance(probability: number): boolean;
  /** Exponentially distributed with mean `mean`: the gap between events that do not know of each other. */
  exponential(mean: number): number;
  pick<T>(list: readonly T[]): T;
  /** The list in another order; the one given is untouched. */
  shuffled<T>(list: readonly T[]): T[];
}

/** The stream named `name` of a seed. The same two give the same numbers for ever, whatever else is drawn. */
export function createStream(seed: number, name: string): Stream {
  let [a, b, c, d] = spread(seed, name);

  // sfc32 (Chris Doty-Humphrey, PractRand): 128 bits of state, plain 32-bit arithmetic.
  const next = (): number => {
    const sum = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + sum) | 0;
    return sum >>> 0;
  };
  for (let i = 0; i < 12; i++) next();

  const fraction = (): number => next() / 0x1_0000_0000;
  const below = (bound: number): number => Math.floor(fraction() * bound);
  return {
    next,
    fraction,
    below,
    bytes: (length) => Uint8Array.from({ length }, () => next() & 0xff),
    between: (low, high) => low + fraction() * (high - low),
    chance: (probability) => fraction() < probability,
    exponential: (mean) => -mean * Math.log(1 - fraction()),
    pick(list) {
      if (list.length === 0) throw new Error('nothing to pick from');
      return list[below(list.length)] as (typeof list)[number];
    },
    shuffled(list) {
      const mixed = [...list];
      for (let i = mixed.length - 1; i > 0; i--) {
        const j = below(i + 1);
        const held = mixed[i] as (typeof list)[number];
        mixed[i] = mixed[j] as (typeof list)[number];
        mixed[j] = held;
      }
      return mixed;
    },
  };
}

/** Four words of state from seed and name, by splitmix32 over an FNV-1a hash of the name. */
function spread(seed: number, name: string): [number, number, number, number] {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  }
  let state = (hash ^ Math.imul(seed | 0, 0x9e3779b1)) >>> 0;
  let high = Math.floor(seed / 0x1_0000_0000) | 0;
  const word = (): number => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16) ^ high;
    high = Math.imul(high, 0x85ebca6b);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  };
  return [word(), word(), word(), word()];
}
