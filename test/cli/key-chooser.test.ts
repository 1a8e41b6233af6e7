import { describe, expect, test } from 'vitest';
import { Dice, scatter32 } from '../../cli/bench/dice.js';
import { createKeyChooser, Zipf } from '../../cli/bench/key-chooser.js';

const DRAWS = 50_000;

function ask(seed: number): number[] {
  const choose = createKeyChooser('zipfian', new Dice(seed));
  return Array.from({ length: 20 }, () => choose(500));
}

function draw(choose: (count: number) => number, count: number): number[] {
  const times = Array.from({ length: count }, () => 0);
  for (let i = 0; i < DRAWS; i++) {
    const at = choose(count);
    times[at] = (times[at] ?? 0) + 1;
  }
  // Anything outside of 0 to count - 1 would have made the array another one.
  expect(Object.keys(times)).toHaveLength(count);
  return times;
}

describe('zipfian ranks', () => {
  test('come as often as the law says: rank r with weight 1/r^0.99', () => {
    const count = 1_000;
    const zipf = new Zipf(new Dice(1));
    const times = draw((n) => zipf.rank(n), count);
    let zeta = 0;
    for (let i = 1; i <= count; i++) zeta += i ** -0.99;
    // The first two ranks are exact in the algorithm; the rest follows a smooth approximation.
    for (const [rank, within] of [
      [0, 0.05],
      [1, 0.05],
      [9, 0.3],
      [99, 0.5],
    ] as const) {
      const expected = (DRAWS * (rank + 1) ** -0.99) / zeta;
      expect(Math.abs((times[rank] ?? 0) - expected) / expected).toBeLessThan(within);
    }
  });

  test('stay below a range of one', () => {
    const zipf = new Zipf(new Dice(1));
    for (let i = 0; i < 100; i++) expect(zipf.rank(1)).toBe(0);
  });
});

describe('the records that are asked for', () => {
  test('zipfian: few get most, and they are not neighbours', () => {
    const times = draw(createKeyChooser('zipfian', new Dice(2)), 1_000);
    const ranked = times.map((count, at) => ({ count, at })).sort((a, b) => b.count - a.count);
    const [first, second] = ranked;
    expect(first?.count).toBeGreaterThan(DRAWS / 100);
    expect(Math.abs((first?.at ?? 0) - (second?.at ?? 0))).toBeGreaterThan(1);
  });

  test('latest: those that came last', () => {
    const times = draw(createKeyChooser('latest', new Dice(3)), 1_000);
    expect(times[999]).toBe(Math.max(...times));
  });

  test('uniform: all about as often', () => {
    const times = draw(createKeyChooser('uniform', new Dice(4)), 10);
    for (const count of times) expect(Math.abs(count - DRAWS / 10)).toBeLessThan(DRAWS / 100);
  });

  test('are the same for the same seed', () => {
    expect(ask(7)).toEqual(ask(7));
    expect(ask(7)).not.toEqual(ask(8));
  });
});

test('scattering gives no two numbers one place', () => {
  const seen = new Set(Array.from({ length: 20_000 }, (_, number) => scatter32(number)));
  expect(seen.size).toBe(20_000);
});
