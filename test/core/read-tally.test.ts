import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ReadTally, type ReadStep } from '../../src/core/read-tally.js';
import { compareRecords, encodeRecord, headerOf } from '../../src/core/record.js';
import { encodeVersion, ZERO_VERSION } from '../../src/core/version.js';

const KEY = Buffer.from('k');
const NONE = new Uint8Array(0);

function recordOf(version: number): Uint8Array {
  return encodeRecord(KEY, {
    version: { ...ZERO_VERSION, wallMs: version },
    tombstone: version % 3 === 0,
    value: Buffer.from(`v${version}`),
  });
}

interface Case {
  /** What each replica holds: a version, or 0 for nothing. */
  readonly held: readonly number[];
  readonly needed: number;
  readonly minVersion: number;
  /** Read from the front: does the next call fail, and which of the waiting ones is answered next. */
  readonly failures: readonly boolean[];
  readonly turns: readonly number[];
  readonly hedgeAt: number;
}

const cases: fc.Arbitrary<Case> = fc.integer({ min: 1, max: 5 }).chain((replicas) =>
  fc.record({
    held: fc.array(fc.integer({ min: 0, max: 5 }), { minLength: replicas, maxLength: replicas }),
    needed: fc.integer({ min: 1, max: replicas }),
    minVersion: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 6 })),
    failures: fc.array(fc.boolean(), { maxLength: 8 }),
    turns: fc.array(fc.nat(9), { maxLength: 20 }),
    hedgeAt: fc.integer({ min: -1, max: 4 }),
  }),
);

interface Ran {
  readonly end: 'answer' | 'missed' | 'stale';
  readonly record: Uint8Array | undefined;
  /** What is on the replicas' disks at the end. */
  readonly held: readonly number[];
  readonly failed: boolean;
}

/** Plays the replicas and the network around a tally until it has decided. */
function run({ held, needed, minVersion, failures, turns, hedgeAt }: Case): Ran {
  const disks = [...held];
  const order = [...disks.keys()];
  const min = minVersion === 0 ? NONE : encodeVersion({ ...ZERO_VERSION, wallMs: minVersion });
  const tally = new ReadTally(needed, order, min);
  const waiting: { slot: number; what: 'record' | 'header' | 'repair' }[] = [];
  let failed = false;
  let answers = 0;

  const take = (step: ReadStep): boolean => {
    if (step.kind === 'ask' || step.kind === 'repair') {
      const isRead = step.kind === 'ask';
      const busy = waiting.some(
        ({ slot, what }) => slot === step.slot && (what === 'repair') !== isRead,
      );
      expect(busy, 'no replica is asked for the same thing twice at once').toBe(false);
      waiting.push({ slot: step.slot, what: isRead ? step.part : 'repair' });
      return true;
    }
    return false;
  };

  tally.start();
  for (const [i, slot] of order.slice(0, needed).entries()) {
    waiting.push({ slot, what: i === 0 ? 'record' : 'header' });
  }
  for (;;) {
    if (answers === hedgeAt) take(tally.hedge());
    expect(waiting.length, 'a read that is not decided waits for somebody').toBeGreaterThan(0);
    const turn = (turns[answers] ?? 0) % waiting.length;
    const { slot, what } = waiting.splice(turn, 1)[0] as (typeof waiting)[number];
    const fails = failures[answers] === true;
    answers++;
    failed ||= fails;
    const onDisk = disks[slot] as number;
    if (what === 'repair') {
      if (fails) tally.refused(slot);
      else {
        const given = tally.record as Uint8Array;
        if (onDisk === 0 || compareRecords(given, recordOf(onDisk)) > 0) {
          disks[slot] = [1, 2, 3, 4, 5].find((v) => compareRecords(recordOf(v), given) === 0) ?? 0;
        }
        tally.took(slot);
      }
    } else if (fails) tally.lost(slot);
    else if (onDisk === 0) tally.absent(slot, undefined);
    else {
      const record = recordOf(onDisk);
      tally.found(slot, headerOf(record), what === 'record' ? record : undefined, undefined);
    }
    for (;;) {
      const step = tally.next();
      if (take(step)) continue;
      if (step.kind === 'answer' || step.kind === 'missed' || step.kind === 'stale') {
        return { end: step.kind, record: tally.record, held: disks, failed };
      }
      break;
    }
  }
}

function versionIn(record: Uint8Array | undefined): number {
  return record === undefined
    ? 0
    : ([1, 2, 3, 4, 5].find((v) => compareRecords(recordOf(v), record) === 0) as number);
}

test('an answer is no older than what any overlapping set of replicas had acknowledged', () => {
  fc.assert(
    fc.property(cases, (given) => {
      const { end, record } = run(given);
      if (end !== 'answer') return;
      const answered = versionIn(record);
      // A version that all but `needed - 1` replicas hold is one that every `needed` of them must meet.
      for (const version of given.held) {
        const holders = given.held.filter((one) => one >= version).length;
        if (holders > given.held.length - given.needed) {
          expect(answered).toBeGreaterThanOrEqual(version);
        }
      }
      expect(answered).toBeGreaterThanOrEqual(given.minVersion);
    }),
    { seed: 3, numRuns: 1_000 },
  );
});

test('an answer is on as many disks as the level needs before it is given', () => {
  fc.assert(
    fc.property(cases, (given) => {
      const { end, record, held } = run(given);
      if (end !== 'answer') return;
      const answered = versionIn(record);
      const onDisk = held.filter((version) => version >= answered).length;
      expect(onDisk).toBeGreaterThanOrEqual(given.needed);
    }),
    { seed: 4, numRuns: 1_000 },
  );
});

test('no replica is ever given anything that none held, or made older', () => {
  fc.assert(
    fc.property(cases, (given) => {
      const { held } = run(given);
      for (const [slot, version] of held.entries()) {
        expect(version).toBeGreaterThanOrEqual(given.held[slot] as number);
        expect(given.held).toContain(version);
      }
    }),
    { seed: 5, numRuns: 1_000 },
  );
});

test('a read fails only where a replica failed, and is stale only where all are', () => {
  fc.assert(
    fc.property(cases, (given) => {
      const { end, failed } = run(given);
      if (!failed) {
        const newest = Math.max(...given.held);
        expect(end).toBe(newest < given.minVersion ? 'stale' : 'answer');
      }
    }),
    { seed: 6, numRuns: 1_000 },
  );
});

test('a minVersion of zero is reached by absence', () => {
  const tally = new ReadTally(1, [0], encodeVersion(ZERO_VERSION));
  tally.start();
  tally.absent(0, undefined);
  expect(tally.next().kind).toBe('answer');
});

test('the whole record is asked of one replica only while that one may still give it', () => {
  const tally = new ReadTally(2, [0, 1, 2], NONE);
  tally.start();
  tally.lost(1);
  expect(tally.next()).toEqual({ kind: 'ask', slot: 2, part: 'header' });
  const other = new ReadTally(2, [0, 1, 2], NONE);
  other.start();
  other.lost(0);
  expect(other.next()).toEqual({ kind: 'ask', slot: 2, part: 'record' });
});

describe('a read that may not bring anything to any replica', () => {
  const fence = encodeVersion({ ...ZERO_VERSION, wallMs: 10 });

  test('takes a tombstone that a fence has passed for absence, and what expired before it not', () => {
    const deleted = agreeing();
    deleted.absent(0, fence);
    deleted.found(1, headerOf(recordOf(3)), undefined, undefined);
    expect(deleted.next().kind).toBe('answer');
    const expired = encodeRecord(KEY, {
      version: { ...ZERO_VERSION, wallMs: 4 },
      tombstone: false,
      value: Buffer.from('v'),
      expiresAtMs: 8,
    });
    const tally = agreeing();
    tally.absent(0, fence);
    tally.found(1, headerOf(expired), undefined, undefined);
    expect(tally.next()).toMatchObject({ kind: 'ask', slot: 2 });
    tally.found(2, headerOf(expired), undefined, undefined);
    expect(tally.next().kind).toBe('differ');
  });

  test('does not answer what only a replica held that has forgotten since', () => {
    const tally = agreeing();
    tally.found(0, headerOf(recordOf(2)), recordOf(2), undefined);
    tally.discard(0);
    tally.found(1, headerOf(recordOf(1)), undefined, undefined);
    expect(tally.next()).toMatchObject({ kind: 'ask', slot: 2 });
    tally.found(2, headerOf(recordOf(1)), undefined, undefined);
    expect(tally.next().kind).toBe('differ');
  });
});

function agreeing(): ReadTally {
  const tally = new ReadTally(2, [0, 1, 2], NONE, true);
  tally.start();
  return tally;
}
