import type { Random } from '../src/io/random.js';

/** The same chance on every run: mulberry32, 32 bits of state. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return {
    fraction: () => next() / 0x1_0000_0000,
    bytes: (length) => Uint8Array.from({ length }, () => next() & 0xff),
  };
}
