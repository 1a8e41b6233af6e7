import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareVersions, formatVersion, type Version } from '../../src/core/version.js';
import { Stamps } from '../../src/client/stamps.js';
import { seededRandom } from '../seeded-random.js';

const MAX_DRIFT_MS = 1_500;

type Step =
  { readonly wallMs: number } | { readonly readAheadMs: number } | { readonly stamp: true };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ wallMs: fc.integer({ min: 100_000, max: 500_000 }) }),
    fc.record({ readAheadMs: fc.integer({ min: -100, max: 3 * MAX_DRIFT_MS }) }),
    fc.record({ stamp: fc.constant(true as const) }),
  ),
  { maxLength: 40 },
);

describe('stamps', () => {
  test('are never given twice, end near a wall that is corrected, and stay above what was read near it', () => {
    fc.assert(
      fc.property(steps, fc.integer(), (taken, seed) => {
        let wallMs = 100_000;
        const random = seededRandom(seed);
        const stamps = new Stamps({ wallMs: () => wallMs, random, maxDriftMs: MAX_DRIFT_MS });
        const given = new Set<string>();
        let read: Version[] = [];
        for (const step of taken) {
          if ('readAheadMs' in step) {
            const version = {
              wallMs: wallMs + step.readAheadMs,
              logical: 7,
              writerHi: 1,
              writerLo: 1,
            };
            stamps.observe(version);
            if (step.readAheadMs <= MAX_DRIFT_MS) read.push(version);
          } else {
            if ('wallMs' in step) {
              ({ wallMs } = step);
              stamps.correct();
              if (read.some((seen) => seen.wallMs > wallMs + MAX_DRIFT_MS)) read = [];
            }
            const version = stamps.next() as Version;
            expect(given).not.toContain(formatVersion(version));
            given.add(formatVersion(version));
            expect(version.wallMs).toBeLessThanOrEqual(wallMs + MAX_DRIFT_MS + 1);
            for (const seen of read) expect(compareVersions(version, seen)).toBeGreaterThan(0);
          }
        }
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  test('go on growing where the wall is corrected by little', () => {
    let wallMs = 100_000;
    const random = seededRandom(1);
    const stamps = new Stamps({ wallMs: () => wallMs, random, maxDriftMs: MAX_DRIFT_MS });
    const before = stamps.next() as Version;
    wallMs -= MAX_DRIFT_MS;
    stamps.correct();
    expect(compareVersions(stamps.next() as Version, before)).toBeGreaterThan(0);
  });
});
