import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CONSISTENCY_LEVELS,
  DEFAULT_CONSISTENCY,
  isConsistency,
  isLocal,
  majority,
  neededReplicas,
  type Consistency,
} from '../../src/core/consistency.js';
import { LAW } from './arbitraries.js';

const replicaCounts = fc.integer({ min: 1, max: 100 });

/** Any `a` and any `b` of `replicas` have one in common. */
function overlap(a: number, b: number, replicas: number): boolean {
  return a + b > replicas;
}

describe('levels', () => {
  test('need this many of 1 to 5 replicas', () => {
    const table = CONSISTENCY_LEVELS.map((level) => [
      level,
      [1, 2, 3, 4, 5].map((replicas) => neededReplicas(level, replicas)),
    ]);
    expect(Object.fromEntries(table)).toEqual({
      ONE: [1, 1, 1, 1, 1],
      TWO: [2, 2, 2, 2, 2],
      THREE: [3, 3, 3, 3, 3],
      QUORUM: [1, 2, 2, 3, 3],
      ALL: [1, 2, 3, 4, 5],
      LOCAL_ONE: [1, 1, 1, 1, 1],
      LOCAL_QUORUM: [1, 2, 2, 3, 3],
      LINEARIZABLE: [1, 2, 2, 3, 3],
    });
  });

  test('never need nothing: where there is no replica, none can be met', () => {
    for (const level of CONSISTENCY_LEVELS) expect(neededReplicas(level, 0)).toBeGreaterThan(0);
  });

  test('are read from their names and from nothing else', () => {
    for (const level of CONSISTENCY_LEVELS) expect(isConsistency(level)).toBe(true);
    for (const text of ['', 'quorum', 'QUORUM ', 'toString']) {
      expect(isConsistency(text)).toBe(false);
    }
    expect(DEFAULT_CONSISTENCY).toBe('QUORUM');
    expect(CONSISTENCY_LEVELS.filter(isLocal)).toEqual(['LOCAL_ONE', 'LOCAL_QUORUM']);
  });
});

describe('a majority', () => {
  test('shares a replica with every other, and can be had', () => {
    fc.assert(
      fc.property(replicaCounts, (replicas) => {
        const needed = majority(replicas);
        expect(overlap(needed, needed, replicas)).toBe(true);
        expect(needed).toBeLessThanOrEqual(replicas);
        // The smallest such count.
        expect(overlap(needed - 1, needed - 1, replicas)).toBe(false);
      }),
      LAW,
    );
  });
});

test('a read meets a replica of the write before it wherever the guarantees say so', () => {
  const promises: readonly (readonly [write: Consistency, read: Consistency])[] = [
    ['QUORUM', 'QUORUM'],
    ['LOCAL_QUORUM', 'LOCAL_QUORUM'],
    ['LINEARIZABLE', 'LINEARIZABLE'],
    ['LINEARIZABLE', 'QUORUM'],
    ['ALL', 'ONE'],
    ['ALL', 'LOCAL_ONE'],
    ['ALL', 'QUORUM'],
    ['ONE', 'ALL'],
  ];
  fc.assert(
    fc.property(fc.constantFrom(...promises), replicaCounts, ([write, read], replicas) => {
      expect(
        overlap(neededReplicas(write, replicas), neededReplicas(read, replicas), replicas),
      ).toBe(true);
    }),
    LAW,
  );
});
