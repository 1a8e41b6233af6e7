import { describe, expect, test } from 'vitest';
import { runClosedLoop, runOpenLoop } from '../../cli/bench/load.js';
import { createMix, WORKLOADS } from '../../cli/bench/workloads.js';
import { Dice } from '../../cli/bench/dice.js';

const FOR_EVER = Number.POSITIVE_INFINITY;

describe('a closed loop', () => {
  test('keeps so many operations under way, and begins no more than asked for', async () => {
    let underWay = 0;
    let most = 0;
    let begun = 0;
    await runClosedLoop(
      async () => {
        begun++;
        most = Math.max(most, ++underWay);
        await Promise.resolve();
        underWay--;
      },
      4,
      { operations: 50, durationMs: FOR_EVER },
    );
    expect([begun, most, underWay]).toEqual([50, 4, 0]);
  });

  test('ends when its time is over', async () => {
    let begun = 0;
    const run = () => {
      begun++;
      return Promise.resolve();
    };
    await runClosedLoop(run, 1, { operations: FOR_EVER, durationMs: 0 });
    expect(begun).toBe(0);
  });
});

describe('an open loop', () => {
  test('counts from when operations were due: one that waits behind a stall has had the stall', async () => {
    const due: number[] = [];
    let release: (() => void) | undefined;
    const stalled = new Promise<void>((resolve) => {
      release = resolve;
    });
    const run = (dueMs: number) => {
      due.push(dueMs);
      return due.length === 1 ? stalled : Promise.resolve();
    };
    // One at a time: nothing else begins while the first stalls, though 20 are due.
    const running = runOpenLoop(run, 1_000, 1, { operations: 20, durationMs: 20 });
    const stallEndsMs = performance.now() + 30;
    await expect.poll(() => performance.now() >= stallEndsMs).toBe(true);
    expect(due).toHaveLength(1);
    release?.();
    await running;
    expect(due).toHaveLength(20);
    // Due a millisecond apart, whenever they began.
    for (const [at, dueMs] of due.entries()) expect(dueMs - (due[0] as number)).toBeCloseTo(at, 6);
  });

  test('of no operations ends at once', async () => {
    const extent = { operations: 0, durationMs: 1_000 };
    expect(await runOpenLoop(() => expect.fail('nothing was due'), 1, 1, extent)).toBe(0);
  });
});

describe('a mix', () => {
  test.each(Object.keys(WORKLOADS) as (keyof typeof WORKLOADS)[])(
    'of workload %s draws operations in its shares, which make a hundred',
    (name) => {
      const { shares } = WORKLOADS[name];
      expect(Object.values(shares).reduce((sum: number, share) => sum + share, 0)).toBe(100);
      const mix = createMix(shares, new Dice(1));
      const drawn: Record<string, number> = {};
      for (let i = 0; i < 10_000; i++) {
        const operation = mix();
        drawn[operation] = (drawn[operation] ?? 0) + 1;
      }
      expect(Object.keys(drawn).sort()).toEqual(Object.keys(shares).sort());
      for (const [operation, share] of Object.entries(shares)) {
        expect(Math.abs((drawn[operation] ?? 0) - share * 100)).toBeLessThan(150);
      }
    },
  );
});
