import { beforeAll, describe, expect, test } from 'vitest';
import { chaos, type ChaosResult } from '../chaos/chaos.js';
import { evidenceOf } from '../chaos/evidence.js';
import { isUndecided } from '../sim/check/linearizable.js';
import type { HistoryEntry } from '../sim/history.js';
import { judge } from '../sim/run.js';

// `npm run chaos` in small: load and every kind of fault on real nodes, and every law that real clients can judge.

const MEMBERS = ['1', '2', '3'].map((n) => ({ id: `n${n}`, zone: `z${n}` }));

let result: ChaosResult;

beforeAll(async () => {
  const wish = {
    seed: 1,
    operations: 2_000,
    rounds: 1,
    clients: 16,
    thinkMs: 5,
    faultMs: 300,
    gapMs: 300,
    // What a node has promised by a clock that was ahead may keep one of its keys apart for as long.
    maxSkewMs: 2_000,
    keys: { epochOperations: 500, hotKeys: 2, coolKeys: 6 },
    withinMs: 150_000,
  };
  result = await chaos(wish, new AbortController().signal, () => {});
}, 300_000);

describe('three real nodes that are killed, paused, cut off, slowed down and given wrong clocks', () => {
  test('keep every law', () => {
    const { violations, problems } = result;
    expect({ violations, problems }).toEqual({ violations: [], problems: [] });
  });

  test('are under load all the while', () => {
    const { history, faults } = result;
    expect([...faults].filter(([, count]) => count === 0)).toEqual([]);
    for (const level of ['QUORUM', 'LINEARIZABLE']) {
      for (const status of ['ok', 'unknown']) {
        const some = history.filter((entry) => entry.level === level && entry.status === status);
        expect(some.length, `${level} ${status}`).toBeGreaterThan(0);
      }
    }
  });
});

describe('the same history with one lie in it is found out:', () => {
  test('a LINEARIZABLE write that was read is gone', () => {
    const { write } = quietestPair('lin/');
    expect(lawsBroken(result.history.filter((entry) => entry !== write))).toContain('h');
  });

  test('a LINEARIZABLE read finds what was overwritten before it began', () => {
    const { write, last, read } = quietestPair('lin/');
    expect(lawsBroken(replaced(last, { ...last, value: write.value as string }))).toContain('h');
    expect(lawsBroken(replaced(read, { ...read, value: last.value as string }))).toContain('h');
  });

  test('a compare-and-set that took place says that it did not', () => {
    const read = new Set(result.history.filter(({ op }) => op === 'get').map(({ value }) => value));
    const cas = result.history.find(({ swapped, value }) => swapped === true && read.has(value));
    const lie = { ...(cas as HistoryEntry), swapped: false };
    expect(lawsBroken(replaced(cas as HistoryEntry, lie))).toContain('h');
  });

  test('a QUORUM read finds an older version', () => {
    const { write, last } = quietestPair('key/');
    const { value, version } = write;
    const stale = { ...last, value: value as string, version: version as string };
    expect(lawsBroken(replaced(last, stale))).toContain('b');
  });

  test('a write that was read had failed for certain', () => {
    const { write } = quietestPair('key/');
    expect(lawsBroken(replaced(write, { ...write, status: 'fail' }))).toContain('g');
  });
});

function lawsBroken(history: readonly HistoryEntry[]): string {
  const broken = judge(history, evidenceOf(history, MEMBERS)).filter((one) => !isUndecided(one));
  return broken.map(({ law }) => law[1]).join('');
}

function replaced(entry: HistoryEntry, other: HistoryEntry): HistoryEntry[] {
  return result.history.map((one) => (one === entry ? other : one));
}

interface Pair {
  /** What somebody read, though it was not the last that was written. */
  readonly write: HistoryEntry;
  readonly read: HistoryEntry;
  /** The last read of the key, of something that was written when that read had ended. */
  readonly last: HistoryEntry;
}

/** Of the keys that begin so, the one with the fewest operations that has such a pair. */
function quietestPair(prefix: string): Pair {
  const byKey = new Map<string, HistoryEntry[]>();
  for (const entry of result.history) {
    if (!entry.key.startsWith(prefix) || entry.status !== 'ok') continue;
    byKey.set(entry.key, [...(byKey.get(entry.key) ?? []), entry]);
  }
  for (const entries of [...byKey.values()].sort((a, b) => a.length - b.length)) {
    const pair = pairIn(entries);
    if (pair !== undefined) return pair;
  }
  throw new Error(`no key of ${prefix} was written and read twice`);
}

function pairIn(entries: readonly HistoryEntry[]): Pair | undefined {
  const last = entries.at(-1) as HistoryEntry;
  const writes = entries.filter(({ op, swapped }) => op === 'put' || swapped === true);
  const newest = writes.find(({ value }) => value === last.value);
  if (newest === undefined || last.value === undefined) return undefined;
  for (const write of writes) {
    const read = entries.find(
      ({ op, value }) => op === 'get' && value !== undefined && value === write.value,
    );
    if (read !== undefined && read.return < newest.call && write.return < newest.call) {
      return { write, read, last };
    }
  }
  return undefined;
}
