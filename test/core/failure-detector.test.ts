import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LinkRhythm } from '../../src/core/failure-detector.js';

const BOUNDS = { untriedMs: 300, leastDeviationMs: 25, mostMs: 5_000 };

function rhythmOf(roundTripsMs: readonly number[]): LinkRhythm {
  const rhythm = new LinkRhythm(BOUNDS);
  for (const ms of roundTripsMs) rhythm.observe(ms);
  return rhythm;
}

const roundTrips = fc.array(fc.double({ min: 0.1, max: 800, noNaN: true }), { maxLength: 100 });

test('phi is 8 at the timeout, less before and more after', () => {
  fc.assert(
    fc.property(roundTrips, (measured) => {
      const rhythm = rhythmOf(measured);
      fc.pre(rhythm.timeoutMs < BOUNDS.mostMs);
      expect(rhythm.phi(rhythm.timeoutMs)).toBeCloseTo(8, 1);
      let last = -1;
      for (let waitedMs = 0; waitedMs <= 2 * rhythm.timeoutMs; waitedMs += rhythm.timeoutMs / 20) {
        const phi = rhythm.phi(waitedMs);
        expect(phi).toBeGreaterThanOrEqual(last);
        last = phi;
      }
    }),
    { seed: 1 },
  );
});

test('a link is given the time that it was seen to need, and more when it is unsteady', () => {
  const steady = rhythmOf(Array.from({ length: 40 }, () => 2));
  const slow = rhythmOf(Array.from({ length: 40 }, () => 300));
  const unsteady = rhythmOf(Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? 2 : 300)));
  expect(new LinkRhythm(BOUNDS).timeoutMs).toBeCloseTo(BOUNDS.untriedMs, 6);
  expect(steady.timeoutMs).toBeLessThan(150);
  expect(slow.timeoutMs).toBeGreaterThan(400);
  expect(unsteady.timeoutMs).toBeGreaterThan(slow.timeoutMs);
});

test('what was long ago is forgotten', () => {
  const rhythm = rhythmOf([
    ...Array.from({ length: 40 }, () => 700),
    ...Array.from({ length: 32 }, () => 1),
  ]);
  expect(rhythm.timeoutMs).toBeLessThan(150);
});

test('phi and the timeout are bounded, however long it waits and however slow the link was', () => {
  expect(rhythmOf([1]).phi(1e9)).toBe(99);
  expect(rhythmOf([60_000, 10]).timeoutMs).toBe(BOUNDS.mostMs);
});
