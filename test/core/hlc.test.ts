import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  admitsClientStamp,
  admitsCoordinatorStamp,
  HybridClock,
  lastVersionOf,
  nextVersion,
} from '../../src/core/hlc.js';
import { MAX_RETRY_AGE_MS, MAX_TIMEOUT_MS } from '../../src/core/limits.js';
import {
  compareVersions,
  MAX_LOGICAL,
  MAX_WALL_MS,
  ZERO_VERSION,
  type Version,
} from '../../src/core/version.js';
import { LAW, versions } from './arbitraries.js';

const WRITER = { hi: 0xaaaaaaaa, lo: 1 };
const MAX_DRIFT_MS = 500;
const NOON_MS = 1_700_000_000_000;

function at(wallMs: number, logical = 0): Version {
  return { wallMs, logical, writerHi: WRITER.hi, writerLo: WRITER.lo };
}

/** What happens to a clock: the wall moves by so much (either way), a stamp is asked for, a version is seen. */
const happenings = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('wall' as const),
      byMs: fc.oneof(
        fc.integer({ min: -5, max: 5 }),
        fc.integer({ min: -3_600_000, max: 3_600_000 }),
      ),
    }),
    fc.record({ kind: fc.constant('stamp' as const) }),
    fc.record({
      kind: fc.constant('observe' as const),
      aheadMs: fc.oneof(
        fc.integer({ min: -2, max: 2 }),
        fc.integer({ min: -2 * MAX_DRIFT_MS, max: 2 * MAX_DRIFT_MS }),
      ),
      logical: fc.constantFrom(0, 1, MAX_LOGICAL - 1, MAX_LOGICAL),
      writerHi: fc.constantFrom(0, 0xffffffff),
    }),
  ),
  { maxLength: 60 },
);

describe('a hybrid clock', () => {
  test('stamps above all it has issued and observed, whatever the wall does', () => {
    fc.assert(
      fc.property(happenings, (steps) => {
        let wallMs = NOON_MS;
        let highest: Version = ZERO_VERSION;
        const clock = new HybridClock({
          wallMs: () => wallMs,
          writer: WRITER,
          maxDriftMs: MAX_DRIFT_MS,
        });
        for (const step of steps) {
          if (step.kind === 'wall') {
            wallMs += step.byMs;
          } else if (step.kind === 'stamp') {
            const stamp = clock.stamp() as Version;
            expect(compareVersions(stamp, highest)).toBeGreaterThan(0);
            expect(stamp).toMatchObject({ writerHi: WRITER.hi, writerLo: WRITER.lo });
            expect(stamp.wallMs).toBeGreaterThanOrEqual(wallMs);
            expect(stamp.logical).toBeLessThanOrEqual(MAX_LOGICAL);
            // The wall where it can be: the clock runs ahead only of what it was given.
            expect(stamp.wallMs).toBeLessThanOrEqual(Math.max(wallMs, highest.wallMs + 1));
            highest = stamp;
          } else {
            const seen = {
              wallMs: wallMs + step.aheadMs,
              logical: step.logical,
              writerHi: step.writerHi,
              writerLo: 0,
            };
            const covered = compareVersions(seen, highest) <= 0;
            expect(clock.observe(seen)).toBe(covered || step.aheadMs <= MAX_DRIFT_MS);
            if (!covered && step.aheadMs <= MAX_DRIFT_MS) highest = seen;
          }
          expect(clock.latest).toEqual(highest);
        }
      }),
      LAW,
    );
  });

  test('counts within a millisecond and carries into the next when the count is full', () => {
    const clock = new HybridClock({
      wallMs: () => NOON_MS,
      writer: WRITER,
      maxDriftMs: MAX_DRIFT_MS,
      after: at(NOON_MS, MAX_LOGICAL - 1),
    });
    expect(clock.stamp()).toEqual(at(NOON_MS, MAX_LOGICAL));
    expect(clock.stamp()).toEqual(at(NOON_MS + 1, 0));
    expect(clock.stamp()).toEqual(at(NOON_MS + 1, 1));
  });

  test('drops fractions of a wall that was corrected by a measured offset', () => {
    expect(nextVersion(ZERO_VERSION, NOON_MS + 0.9, WRITER)).toEqual(at(NOON_MS));
  });

  test('never stamps above its limit, and consumes nothing when asked to', () => {
    let wallMs = NOON_MS;
    const clock = new HybridClock({
      wallMs: () => wallMs,
      writer: WRITER,
      maxDriftMs: MAX_DRIFT_MS,
      limitMs: NOON_MS,
    });
    expect(clock.stamp()).toEqual(at(NOON_MS, 0));
    wallMs++;
    expect(clock.stamp()).toBeUndefined();
    expect(clock.latest).toEqual(at(NOON_MS, 0));
    clock.raiseLimit(NOON_MS - 1);
    expect(clock.limitMs).toBe(NOON_MS);
    clock.raiseLimit(NOON_MS + 1);
    expect(clock.stamp()).toEqual(at(NOON_MS + 1, 0));
  });

  test('keeps to its limit when a full count carries', () => {
    const clock = new HybridClock({
      wallMs: () => NOON_MS,
      writer: WRITER,
      maxDriftMs: MAX_DRIFT_MS,
      limitMs: NOON_MS,
      after: at(NOON_MS, MAX_LOGICAL),
    });
    expect(clock.stamp()).toBeUndefined();
    expect(clock.nextMs()).toBe(NOON_MS + 1);
  });

  test('has no stamp beyond what 48 bits hold', () => {
    const clock = new HybridClock({
      wallMs: () => 0,
      writer: WRITER,
      maxDriftMs: MAX_DRIFT_MS,
      limitMs: Infinity,
      after: at(MAX_WALL_MS, MAX_LOGICAL - 1),
    });
    expect(clock.stamp()).toEqual(at(MAX_WALL_MS, MAX_LOGICAL));
    expect(clock.stamp()).toBeUndefined();
  });

  test('asks for a higher limit while there is still room', () => {
    let wallMs = NOON_MS;
    const clock = new HybridClock({
      wallMs: () => wallMs,
      writer: WRITER,
      maxDriftMs: MAX_DRIFT_MS,
      limitMs: NOON_MS + 300,
    });
    expect(clock.needsRaise(300)).toBe(false);
    expect(clock.needsRaise(301)).toBe(true);
    wallMs += 100;
    expect(clock.needsRaise(300)).toBe(true);
    clock.raiseLimit(wallMs + 300);
    expect(clock.needsRaise(300)).toBe(false);
    // Versions from others use up the room as well.
    expect(clock.observe(at(wallMs + 200))).toBe(true);
    expect(clock.needsRaise(200)).toBe(true);
    expect(clock.stamp()).toEqual(at(wallMs + 200, 1));
  });

  test('issues nothing twice over a restart, even if the wall went back meanwhile', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1_000 }),
        fc.integer({ min: -3_600_000, max: 3_600_000 }),
        (usedMs, wentMs) => {
          let wallMs = NOON_MS;
          const limitMs = NOON_MS + 500;
          const options = { wallMs: () => wallMs, writer: WRITER, maxDriftMs: MAX_DRIFT_MS };
          const before = new HybridClock({ ...options, limitMs });
          wallMs += usedMs;
          before.stamp();
          wallMs += wentMs;
          const after = new HybridClock({ ...options, limitMs, after: lastVersionOf(limitMs) });
          expect(after.stamp()).toBeUndefined();
          after.raiseLimit(after.nextLimitMs(500));
          expect(compareVersions(after.stamp() as Version, before.latest)).toBeGreaterThan(0);
        },
      ),
      LAW,
    );
  });
});

test('a clock that crashes again and again does not run away from the wall', () => {
  let limitMs = NOON_MS;
  for (let crash = 0; crash < 100; crash++) {
    const clock = new HybridClock({
      wallMs: () => NOON_MS,
      writer: WRITER,
      maxDriftMs: MAX_DRIFT_MS,
      after: lastVersionOf(limitMs),
      limitMs,
    });
    limitMs = clock.nextLimitMs(MAX_DRIFT_MS);
    clock.raiseLimit(limitMs);
    expect(clock.stamp()).toBeDefined();
  }
  // Half a second of room once, then a millisecond for each life.
  expect(limitMs).toBeLessThanOrEqual(NOON_MS + MAX_DRIFT_MS + 100);
});

describe('a version that was seen', () => {
  test('never moves a clock further than the drift beyond the wall', () => {
    fc.assert(
      fc.property(versions, (version) => {
        const clock = new HybridClock({
          wallMs: () => NOON_MS,
          writer: WRITER,
          maxDriftMs: MAX_DRIFT_MS,
        });
        const taken = clock.observe(version);
        expect(taken).toBe(version.wallMs <= NOON_MS + MAX_DRIFT_MS);
        expect(clock.latest).toEqual(taken ? version : ZERO_VERSION);
      }),
      LAW,
    );
  });

  test('is covered without a look at the wall when the clock is above it already', () => {
    const clock = new HybridClock({
      wallMs: () => expect.fail('looked'),
      writer: WRITER,
      maxDriftMs: MAX_DRIFT_MS,
      after: at(NOON_MS, 3),
    });
    expect(clock.observe(at(NOON_MS, 3))).toBe(true);
    expect(clock.observe(at(NOON_MS, 2))).toBe(true);
  });
});

describe('the drift of a stamp', () => {
  test('ahead of the coordinator is admitted up to the bound', () => {
    expect(admitsClientStamp(at(NOON_MS + MAX_DRIFT_MS), NOON_MS, MAX_DRIFT_MS)).toBe(true);
    expect(admitsClientStamp(at(NOON_MS + MAX_DRIFT_MS + 1), NOON_MS, MAX_DRIFT_MS)).toBe(false);
  });

  test('behind the coordinator is admitted for as long as a retry may take', () => {
    const oldestMs = NOON_MS - MAX_DRIFT_MS - MAX_RETRY_AGE_MS;
    expect(admitsClientStamp(at(oldestMs), NOON_MS, MAX_DRIFT_MS)).toBe(true);
    expect(admitsClientStamp(at(oldestMs - 1), NOON_MS, MAX_DRIFT_MS)).toBe(false);
    expect(admitsClientStamp(at(0), NOON_MS, MAX_DRIFT_MS)).toBe(false);
    expect(MAX_TIMEOUT_MS).toBeLessThanOrEqual(MAX_RETRY_AGE_MS);
  });

  test('that one healthy coordinator admits, every healthy replica takes', () => {
    // Healthy: no further than the bound from the median of the cluster.
    const skew = fc.integer({ min: -MAX_DRIFT_MS, max: MAX_DRIFT_MS });
    const drift = fc.integer({ min: -70_000, max: 2 * MAX_DRIFT_MS });
    fc.assert(
      fc.property(skew, skew, drift, (coordinator, replica, clientDrift) => {
        const stamp = at(NOON_MS + coordinator + clientDrift);
        fc.pre(admitsClientStamp(stamp, NOON_MS + coordinator, MAX_DRIFT_MS));
        expect(admitsCoordinatorStamp(stamp, NOON_MS + replica, MAX_DRIFT_MS)).toBe(true);
      }),
      LAW,
    );
  });

  test('is bounded at a replica only ahead', () => {
    expect(admitsCoordinatorStamp(at(0), NOON_MS, MAX_DRIFT_MS)).toBe(true);
    expect(admitsCoordinatorStamp(at(NOON_MS + 1_500), NOON_MS, MAX_DRIFT_MS)).toBe(true);
    expect(admitsCoordinatorStamp(at(NOON_MS + 1_501), NOON_MS, MAX_DRIFT_MS)).toBe(false);
  });
});
