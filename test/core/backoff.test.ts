import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { backoffMs } from '../../src/core/backoff.js';

const SEED = 20_260_101;
const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('backoff', () => {
  test('doubles what it draws from, and never waits longer than its bound', () => {
    const backoff = { baseMs: 10, maxMs: 1_000 };
    const longest = [0, 1, 2, 6, 7, 5_000].map((retry) => backoffMs(backoff, retry, 1));
    expect(longest).toEqual([10, 20, 40, 640, 1_000, 1_000]);
  });

  test('is what chance draws between nothing and that', () => {
    fc.assert(
      fc.property(
        fc.nat(2_000),
        fraction,
        fc.integer({ min: 1, max: 1_000 }),
        (retry, drawn, baseMs) => {
          const backoff = { baseMs, maxMs: 5_000 };
          const waitMs = backoffMs(backoff, retry, drawn);
          expect(waitMs).toBeCloseTo(drawn * backoffMs(backoff, retry, 1), 6);
          expect(waitMs).toBeGreaterThanOrEqual(0);
          expect(waitMs).toBeLessThanOrEqual(5_000);
        },
      ),
      { seed: SEED },
    );
  });
});
