import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  ANSWERED,
  encodeLedger,
  floorOf,
  mayBeLedger,
  MAX_REMEMBERED,
  recall,
  remember,
  type AnsweredRequest,
} from '../../src/core/ledger.js';
import { MAX_RETRY_AGE_MS } from '../../src/core/limits.js';
import { compareVersions, MAX_LOGICAL, MAX_WALL_MS, type Version } from '../../src/core/version.js';
import { answeredIn } from './answered-in.js';
import { LAW } from './arbitraries.js';

const at = (wallMs: number): Version => ({ wallMs, logical: 1, writerHi: 2 ** 31, writerLo: 7 });
const FLOOR = at(0);

const NOW_MS = Date.UTC(2026, 0, 1);

/** What one ledger comes to hold of these requests; each id is answered as soon as it comes. */
function ledgerOf(answered: readonly AnsweredRequest[]): Uint8Array {
  let ledger = encodeLedger(FLOOR);
  for (const request of answered) ledger = remember(ledger, FLOOR, request, NOW_MS);
  return ledger;
}

const anyVersion = fc.record({
  wallMs: fc.oneof(fc.integer({ min: NOW_MS - 9, max: NOW_MS }), fc.nat(MAX_WALL_MS)),
  logical: fc.nat(MAX_LOGICAL),
  writerHi: fc.constantFrom(0, 1, 2 ** 32 - 1),
  writerLo: fc.constantFrom(0, 2 ** 31),
});

test('whatever versions a ledger is given it gives back', () => {
  const answered = fc.record({ id: anyVersion, result: fc.nat(255), version: anyVersion });
  fc.assert(
    fc.property(fc.array(answered, { maxLength: MAX_REMEMBERED }), (given) => {
      const young = given
        .filter(({ id }) => id.wallMs >= NOW_MS - MAX_RETRY_AGE_MS)
        .toSorted((a, b) => compareVersions(a.id, b.id))
        .filter((one, i, all) => i === 0 || compareVersions(one.id, (all[i - 1] as typeof one).id));
      expect(answeredIn(ledgerOf(young))).toEqual(young);
    }),
    LAW,
  );
});

test('a request takes nine bytes where one client and three coordinators write a key twice a second', () => {
  const coordinators = [3, 5, 8];
  const answered = Array.from({ length: MAX_REMEMBERED }, (_, i) => {
    const wallMs = NOW_MS - (MAX_REMEMBERED - i) * 450;
    const version = {
      wallMs: wallMs + 4,
      logical: i,
      writerHi: coordinators[i % 3] ?? 0,
      writerLo: 1,
    };
    return { id: at(wallMs), result: ANSWERED.applied, version };
  });
  const named = 4;
  const firstWall = 6;
  expect(ledgerOf(answered).length).toBe(18 + MAX_REMEMBERED * 8 + firstWall - 2 + named * 8);
});

const far = (wallMs: number, writerLo: number): Version => ({
  wallMs,
  logical: MAX_LOGICAL,
  writerHi: 2 ** 32 - 1,
  writerLo,
});

test('a full ledger has room for the widest versions, each of a writer of its own, and then forgets', () => {
  const answered = Array.from({ length: MAX_REMEMBERED }, (_, i) => {
    const id = far(MAX_WALL_MS - 2 * MAX_REMEMBERED + i, 2 * i);
    return { id, result: 255, version: far(0, 2 * i + 1) };
  });
  const ledger = ledgerOf(answered);
  expect(answeredIn(ledger)).toEqual(answered);
  expect(mayBeLedger(ledger)).toBe(true);
  for (const { id, result, version } of answered) {
    expect(recall(ledger, FLOOR, id)).toEqual({ kind: 'answered', result, version });
  }
  const more = { id: far(MAX_WALL_MS, 1), result: 0, version: far(MAX_WALL_MS, 1) };
  const fuller = remember(ledger, FLOOR, more, NOW_MS);
  expect(answeredIn(fuller)).toEqual([...answered.slice(1), more]);
  expect(floorOf(fuller)).toEqual(answered[0]?.id);
  const later = remember(ledger, FLOOR, more, MAX_WALL_MS + MAX_RETRY_AGE_MS);
  expect(answeredIn(later)).toEqual([more]);
  expect(floorOf(later)).toEqual(answered.at(-1)?.id);
});

/** Of the size that a ledger may have. */
const someBytes = fc
  .tuple(
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    fc.nat(MAX_REMEMBERED),
    fc.nat(4),
    fc.uint8Array({ maxLength: 300 }),
  )
  .map(([floor, answered, writers, rest]) => Buffer.from([...floor, answered, writers, ...rest]));

test('bytes that are no ledger are read to an end, and nothing is found in them that is not there', () => {
  fc.assert(
    fc.property(someBytes, anyVersion, (bytes, id) => {
      fc.pre(mayBeLedger(bytes));
      const found = recall(bytes, FLOOR, id);
      const next = remember(bytes, FLOOR, { id, result: ANSWERED.lost, version: id }, NOW_MS);
      expect(mayBeLedger(next)).toBe(true);
      if (found.kind === 'new') expect(recall(next, FLOOR, id).kind).toBe('answered');
    }),
    LAW,
  );
});

/** Requests as they come: some long before others, and in any order; `laterMs` is when, after the one before. */
const requests = fc.array(
  fc.record({
    ageMs: fc.oneof(fc.nat(40), fc.nat(2 * MAX_RETRY_AGE_MS)),
    laterMs: fc.oneof(fc.nat(40), fc.nat(MAX_RETRY_AGE_MS)),
    result: fc.constantFrom(...Object.values(ANSWERED)),
  }),
  { maxLength: 2 * MAX_REMEMBERED, size: 'max' },
);

test('a ledger lists requests by their ids, forgets the oldest, and takes nothing that it forgot for new', () => {
  fc.assert(
    fc.property(requests, (steps) => {
      let nowMs = 10 * MAX_RETRY_AGE_MS;
      let ledger: Uint8Array | undefined;
      const all: AnsweredRequest[] = [];
      for (const { ageMs, laterMs, result } of steps) {
        nowMs += laterMs;
        const id = at(nowMs - ageMs);
        const before = recall(ledger, FLOOR, id);
        const same = all.find((one) => compareVersions(one.id, id) === 0);
        if (same === undefined) expect(before.kind).not.toBe('answered');
        else expect(before.kind).not.toBe('new');
        if (before.kind !== 'new') continue;
        const request = { id, result, version: at(nowMs) };
        ledger = remember(ledger, FLOOR, request, nowMs);
        all.push(request);
        expect(recall(ledger, FLOOR, id)).toEqual({
          kind: 'answered',
          result,
          version: request.version,
        });
      }
      if (ledger === undefined) return;
      const listed = answeredIn(ledger);
      expect(listed.length).toBeLessThanOrEqual(MAX_REMEMBERED);
      expect(listed).toEqual(listed.toSorted((a, b) => compareVersions(a.id, b.id)));
      const floor = floorOf(ledger);
      for (const one of all) {
        const { kind } = recall(ledger, FLOOR, one.id);
        const isListed = listed.some((known) => compareVersions(known.id, one.id) === 0);
        expect(kind).toBe(isListed ? 'answered' : 'forgotten');
        if (!isListed) expect(compareVersions(one.id, floor)).toBeLessThanOrEqual(0);
      }
      const young = all.filter((one) => one.id.wallMs >= nowMs - MAX_RETRY_AGE_MS);
      if (young.length < MAX_REMEMBERED) expect(listed).toEqual(expect.arrayContaining(young));
    }),
    { ...LAW, numRuns: 60 },
  );
});
