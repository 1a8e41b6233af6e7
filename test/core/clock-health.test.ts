import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { judgeClock, medianOffset } from '../../src/core/clock-health.js';
import { LAW } from './arbitraries.js';

const MAX_DRIFT_MS = 500;
const offsets = fc.array(fc.integer({ min: -100_000, max: 100_000 }), { maxLength: 9 });
const small = fc.integer({ min: -MAX_DRIFT_MS / 2, max: MAX_DRIFT_MS / 2 });

/** What node `index` of a cluster with these clock errors measures of the others. */
function seenBy(errorsMs: readonly number[], index: number): number[] {
  const own = errorsMs[index] as number;
  return errorsMs.filter((_, other) => other !== index).map((error) => error - own);
}

describe('a clock', () => {
  test('alone is healthy', () => {
    expect(judgeClock([], MAX_DRIFT_MS)).toEqual({ offsetMs: 0, quarantined: false });
  });

  test('of two that disagree is not blamed, since nobody knows which is wrong', () => {
    fc.assert(
      fc.property(fc.integer(), (offset) => {
        expect(judgeClock([offset], MAX_DRIFT_MS)).toEqual({ offsetMs: 0, quarantined: false });
      }),
      LAW,
    );
  });

  test('a minute behind two others is quarantined, and they are not', () => {
    const errorsMs = [0, 3, -60_000];
    expect(judgeClock(seenBy(errorsMs, 0), MAX_DRIFT_MS).quarantined).toBe(false);
    expect(judgeClock(seenBy(errorsMs, 1), MAX_DRIFT_MS).quarantined).toBe(false);
    expect(judgeClock(seenBy(errorsMs, 2), MAX_DRIFT_MS)).toEqual({
      offsetMs: 60_000,
      quarantined: true,
    });
  });

  test('that is exactly at the bound is healthy, and one beyond is not', () => {
    expect(judgeClock([500, 500], MAX_DRIFT_MS)).toEqual({ offsetMs: 500, quarantined: false });
    expect(judgeClock([-501, -501], MAX_DRIFT_MS)).toEqual({ offsetMs: -501, quarantined: true });
  });

  test('is judged alike whatever the order in which its peers are heard', () => {
    fc.assert(
      fc.property(offsets, (heard) => {
        expect(judgeClock([...heard].reverse(), MAX_DRIFT_MS)).toEqual(
          judgeClock(heard, MAX_DRIFT_MS),
        );
      }),
      LAW,
    );
  });

  test('has mirrored offsets in a mirrored cluster', () => {
    fc.assert(
      fc.property(offsets, (heard) => {
        const mirrored = judgeClock(
          heard.map((offset) => -offset),
          MAX_DRIFT_MS,
        );
        expect(mirrored.offsetMs + judgeClock(heard, MAX_DRIFT_MS).offsetMs).toBe(0);
      }),
      LAW,
    );
  });

  test('is healthy once it has been set forward by its offset', () => {
    fc.assert(
      fc.property(offsets, (heard) => {
        const { offsetMs } = judgeClock(heard, MAX_DRIFT_MS);
        const afterwards = judgeClock(
          heard.map((offset) => offset - offsetMs),
          MAX_DRIFT_MS,
        );
        expect(afterwards).toEqual({ offsetMs: 0, quarantined: false });
      }),
      LAW,
    );
  });

  test('that agrees with a majority is healthy, whatever the others show', () => {
    const clusters = fc.integer({ min: 1, max: 5 }).chain((good) =>
      fc.record({
        good: fc.array(small, { minLength: good, maxLength: good }),
        bad: fc.array(fc.integer(), { maxLength: good - 1 }),
      }),
    );
    fc.assert(
      fc.property(clusters, ({ good, bad }) => {
        const errorsMs = [...good, ...bad];
        for (const index of good.keys()) {
          expect(judgeClock(seenBy(errorsMs, index), MAX_DRIFT_MS).quarantined).toBe(false);
        }
      }),
      LAW,
    );
  });

  test('far from a majority that agrees is quarantined', () => {
    const clusters = fc.record({
      good: fc.array(small, { minLength: 2, maxLength: 5 }),
      bad: fc.constantFrom(-60_000, -1_001, 1_001, 60_000),
    });
    fc.assert(
      fc.property(clusters, ({ good, bad }) => {
        expect(judgeClock(seenBy([...good, bad], good.length), MAX_DRIFT_MS).quarantined).toBe(
          true,
        );
      }),
      LAW,
    );
  });
});

describe('the offset of an SDK', () => {
  test('is 0 while it knows no node, the node where it knows one, the middle of two', () => {
    expect(medianOffset([])).toBe(0);
    expect(medianOffset([7])).toBe(7);
    expect(medianOffset([10, -4])).toBe(3);
  });

  test('is not moved by a minority of wrong clocks', () => {
    expect(medianOffset([2, 1_000_000, 1])).toBe(2);
    fc.assert(
      fc.property(fc.array(small, { minLength: 3, maxLength: 5 }), fc.integer(), (good, bad) => {
        expect(Math.abs(medianOffset([...good, bad]))).toBeLessThanOrEqual(MAX_DRIFT_MS / 2);
      }),
      LAW,
    );
  });
});
