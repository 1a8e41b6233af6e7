import { describe, expect, test } from 'vitest';
import { cloneWriters, DEFECTS } from './defects.js';
import { replayCommand, Totals } from './report.js';
import { run } from './run.js';
import { SCENARIOS } from './scenarios.js';
import { runMany, seedsFrom, type Job } from './simulate.js';

const SEEDS = 100;
/** A defect that this many seeds do not show is one that the checker does not see. */
const MOST_SEEDS = 200;
const TIMEOUT_MS = 480_000;

describe('a simulated cluster', () => {
  test(
    'keeps every law under every fault',
    async () => {
      const totals = new Totals();
      const broken: string[] = [];
      await runMany(seedsFrom(1, SEEDS), (summary) => {
        totals.add(summary);
        if (summary.violations > 0)
          broken.push(`${replayCommand({ seed: summary.seed })}\n${summary.story}`);
      });
      expect(broken).toEqual([]);
      expect(totals.runs).toBe(SEEDS);
      expect(totals.isVoid).toBeLessThan(SEEDS / 20);
      expect(totals.succeeded).toBeGreaterThan(SEEDS * 300);
    },
    TIMEOUT_MS,
  );

  test('does the same again from the same seed, and something else from another', async () => {
    const first = await run({ seed: 3, faultsMs: 4_000 });
    const again = await run({ seed: 3, faultsMs: 4_000 });
    const told = await run({ seed: 3, faultsMs: 4_000, traceLines: 100 });
    const other = await run({ seed: 4, faultsMs: 4_000 });
    expect(again.traceHash).toBe(first.traceHash);
    expect(again.history).toEqual(first.history);
    expect(told.traceHash).toBe(first.traceHash);
    expect(told.trace).toHaveLength(100);
    expect(other.traceHash).not.toBe(first.traceHash);
  });

  test('finds reads stale where reads and writes at ONE are judged as QUORUM', async () => {
    const laws = new Set<string>();
    const job = { oneAsQuorum: true, nodes: 3, faultsMs: 5_000 };
    await runMany(seedsFrom(1, 4, job), (summary) => {
      for (const letter of summary.laws.split('')) laws.add(letter);
    });
    expect(laws).toContain('b');
  });
});

describe('the checker', () => {
  test(
    'sees every deliberate defect',
    async () => {
      const caughtAt = new Map<string, number>();
      const letters = new Map(DEFECTS.map(({ name, laws }) => [name, laws]));
      await runMany(untilCaught(caughtAt), ({ laws }, { defect = '', seed }) => {
        const seen = laws.split('').some((letter) => letters.get(defect)?.includes(letter));
        if (seen && !caughtAt.has(defect)) caughtAt.set(defect, seed);
      });
      expect([...caughtAt.keys()].sort()).toEqual(DEFECTS.map(({ name }) => name).sort());
    },
    TIMEOUT_MS,
  );

  test('does not take equal stamps of two writers for unequal replicas', async () => {
    const clones = { name: 'clones', linker: cloneWriters };
    const result = await run({ seed: 1, faultsMs: 5_000, defect: clones });
    const laws = new Set(result.violations.map(({ law }) => law.slice(0, 3)));
    expect(laws).toContain('(e)');
    expect(laws).not.toContain('(d)');
  });
});

describe('failures of the past', () => {
  for (const { name, wish, seeds } of SCENARIOS) {
    test(name, async () => {
      for (const seed of seeds) {
        const { violations } = await run({ ...wish, seed });
        expect(violations.map(({ law, problem }) => `${law}: ${problem}`)).toEqual([]);
      }
    });
  }
});

/** Every defect on one seed after another, until it has been caught. */
function* untilCaught(caughtAt: ReadonlyMap<string, number>): Generator<Job> {
  for (let tries = 0; tries < MOST_SEEDS; tries++) {
    for (const { name, shownBy = 1 } of DEFECTS) {
      if (!caughtAt.has(name)) yield { seed: shownBy + tries, defect: name, faultsMs: 6_000 };
    }
  }
}
