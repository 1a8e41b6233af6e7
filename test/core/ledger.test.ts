import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  ANSWERED,
  floorOf,
  MAX_REMEMBERED,
  recall,
  remember,
  type AnsweredRequest,
} from '../../src/core/ledger.js';
import { MAX_RETRY_AGE_MS } from '../../src/core/limits.js';
import { compareVersions, type Version } from '../../src/core/version.js';
import { answeredIn } from './answered-in.js';
import { LAW } from './arbitraries.js';

const at = (wallMs: number): Version => ({ wallMs, logical: 1, writerHi: 2 ** 31, writerLo: 7 });
const FLOOR = at(0);

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
