import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RetryBudget, type RetryBudgetOptions } from '../../src/core/retry-budget.js';

const SEED = 20_260_102;
const OPTIONS: RetryBudgetOptions = {
  windowMs: 10_000,
  attemptsPerRetry: 5,
  retriesPerSecond: 1,
};
const RESERVE = 10;

function withdrawAll(budget: RetryBudget, nowMs: number): number {
  let taken = 0;
  while (budget.withdraw(nowMs)) taken++;
  return taken;
}

describe('a retry budget', () => {
  test('allows its reserve before anything was attempted', () => {
    expect(withdrawAll(new RetryBudget(OPTIONS), 123_456)).toBe(RESERVE);
  });

  test('allows one more retry for every five attempts', () => {
    const budget = new RetryBudget(OPTIONS);
    for (let i = 0; i < 50; i++) budget.deposit(1_000);
    expect(withdrawAll(budget, 1_000)).toBe(RESERVE + 10);
  });

  test('forgets attempts after its window, and retries as well', () => {
    const budget = new RetryBudget(OPTIONS);
    for (let i = 0; i < 50; i++) budget.deposit(1_000);
    expect(withdrawAll(budget, 11_500)).toBe(RESERVE);
    expect(withdrawAll(budget, 12_000)).toBe(0);
    expect(withdrawAll(budget, 22_000)).toBe(RESERVE);
  });

  test('never allows more within a window than the reserve and the share of what was attempted', () => {
    const step = fc.record({ afterMs: fc.nat(2_000), attempts: fc.nat(20), retries: fc.nat(20) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const budget = new RetryBudget(OPTIONS);
        const events: { atMs: number; attempts: number; allowed: number }[] = [];
        let atMs = 0;
        for (const { afterMs, attempts, retries } of steps) {
          atMs += afterMs;
          for (let i = 0; i < attempts; i++) budget.deposit(atMs);
          let allowed = 0;
          for (let i = 0; i < retries; i++) if (budget.withdraw(atMs)) allowed++;
          events.push({ atMs, attempts, allowed });
        }
        // Over any stretch of a tenth less than the window, what came before it may have been saved up for one window.
        for (const { atMs: endMs } of events) {
          const within = (event: { atMs: number }, ms: number) =>
            event.atMs <= endMs && event.atMs > endMs - ms;
          const allowed = events
            .filter((event) => within(event, 0.9 * OPTIONS.windowMs))
            .reduce((sum, event) => sum + event.allowed, 0);
          const attempts = events
            .filter((event) => within(event, 2 * OPTIONS.windowMs))
            .reduce((sum, event) => sum + event.attempts, 0);
          expect(allowed).toBeLessThanOrEqual(RESERVE + attempts / 5);
        }
      }),
      { seed: SEED },
    );
  });
});
