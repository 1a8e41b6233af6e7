import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  commitFence,
  compareFences,
  decidedFate,
  FENCE_STATE_BYTES,
  isAtOrBelow,
  isHidden,
  isUndecided,
  joinFences,
  NO_FENCE,
  NO_FENCES,
  promiseFence,
  readFences,
  refusesCopy,
  releaseFence,
  sealFence,
  writeFences,
  type FenceState,
} from '../../src/core/fence.js';
import { encodeRecord, headerOf, headOf } from '../../src/core/record.js';
import { encodeVersion, ZERO_VERSION } from '../../src/core/version.js';
import { LAW } from './arbitraries.js';

const KEY = Buffer.from('k');

const fenceAt = (wallMs: number): Uint8Array =>
  wallMs === 0 ? NO_FENCE : encodeVersion({ ...ZERO_VERSION, wallMs });

function recordAt(wallMs: number, fields: { tombstone?: boolean; expiresAtMs?: number } = {}) {
  const version = { ...ZERO_VERSION, wallMs };
  return encodeRecord(KEY, { version, tombstone: false, value: KEY, ...fields });
}

/** A few, so that they meet. */
const someFences = fc.integer({ min: 0, max: 6 }).map(fenceAt);
interface Step {
  readonly step: 'promise' | 'seal' | 'commit' | 'release';
  readonly fence: Uint8Array;
  readonly promised: Uint8Array;
}

const one: fc.Arbitrary<Step> = fc.record({
  step: fc.constantFrom('promise', 'seal', 'commit', 'release'),
  fence: fc.integer({ min: 1, max: 6 }).map(fenceAt),
  promised: fc.integer({ min: 1, max: 6 }).map(fenceAt),
});
const steps = fc.array(one, { maxLength: 30 });

function take(state: FenceState, { step, fence, promised }: Step): FenceState | undefined {
  switch (step) {
    case 'promise':
      return promiseFence(state, fence);
    case 'seal':
      return sealFence(state, fence);
    case 'commit':
      return commitFence(state, fence, promised);
    case 'release':
      return releaseFence(state, fence, promised);
  }
}

/** Every state that steps lead to. */
const states = steps.map((taken) =>
  taken.reduce<FenceState>((state, step) => take(state, step) ?? state, NO_FENCES),
);

test('promised is not below sealed, nor sealed below committed, and only a seal is ever taken back', () => {
  fc.assert(
    fc.property(steps, (taken) => {
      let state: FenceState = NO_FENCES;
      for (const step of taken) {
        const next = take(state, step) ?? state;
        expect(compareFences(next.promised, next.sealed)).toBeGreaterThanOrEqual(0);
        expect(compareFences(next.sealed, next.committed)).toBeGreaterThanOrEqual(0);
        expect(compareFences(next.promised, state.promised)).toBeGreaterThanOrEqual(0);
        expect(compareFences(next.committed, state.committed)).toBeGreaterThanOrEqual(0);
        if (compareFences(next.sealed, state.sealed) < 0) {
          expect([step.step, isUndecided(state)]).toEqual(['release', true]);
        }
        state = next;
      }
    }),
    LAW,
  );
});

test('a fence is committed only after it was sealed, and no other is sealed before it is settled', () => {
  fc.assert(
    fc.property(states, one, (state, step) => {
      const next = take(state, step) ?? state;
      if (next.committed !== state.committed) expect(next.committed).toEqual(state.sealed);
      if (next.sealed !== state.sealed && step.step === 'seal') {
        expect(isUndecided(state)).toBe(false);
        expect(next.sealed).toEqual(state.promised);
      }
    }),
    LAW,
  );
});

test('what may not be done is not done, and what was done before changes nothing', () => {
  const promised = promiseFence(NO_FENCES, fenceAt(5));
  expect(promiseFence(promised, fenceAt(4))).toBe(promised);
  expect(sealFence(promised, fenceAt(4))).toBeUndefined();
  expect(commitFence(promised, fenceAt(5), fenceAt(5))).toBeUndefined();
  const sealed = sealFence(promised, fenceAt(5)) as FenceState;
  expect(sealFence(sealed, fenceAt(5))).toBe(sealed);
  expect(commitFence(sealed, fenceAt(5), fenceAt(4))).toBeUndefined();
  expect(releaseFence(sealed, fenceAt(5), fenceAt(4))).toBeUndefined();
  expect(releaseFence(sealed, fenceAt(5), fenceAt(5))).toEqual(promised);
  const later = promiseFence(sealed, fenceAt(6));
  expect(sealFence(later, fenceAt(6))).toBeUndefined();
  const committed = commitFence(later, fenceAt(5), fenceAt(6)) as FenceState;
  expect(commitFence(committed, fenceAt(5), fenceAt(1))).toBe(committed);
  expect(releaseFence(committed, fenceAt(5), fenceAt(6))).toBe(committed);
});

test('a fence that anybody has committed is committed by all, one that nobody has by none', () => {
  expect(decidedFate(fenceAt(5), [NO_FENCE, fenceAt(5), fenceAt(3)])).toBe('commit');
  expect(decidedFate(fenceAt(5), [NO_FENCE, fenceAt(4), fenceAt(3)])).toBe('release');
});

test('fences lie on disk and travel as they are', () => {
  fc.assert(
    fc.property(states, (state) => {
      const bytes = new Uint8Array(FENCE_STATE_BYTES + 2).fill(7);
      writeFences(state, bytes, 1);
      expect(readFences(bytes, 1)).toEqual(state);
      expect([bytes[0], bytes.at(-1)]).toEqual([7, 7]);
    }),
    LAW,
  );
});

test('joined fences are the greatest of each', () => {
  fc.assert(
    fc.property(states, states, (a, b) => {
      const joined = joinFences(a, b);
      expect(joinFences(b, a)).toEqual(joined);
      expect(joinFences(joined, a)).toEqual(joined);
      expect(compareFences(joined.promised, joined.sealed)).toBeGreaterThanOrEqual(0);
      expect(compareFences(joined.sealed, joined.committed)).toBeGreaterThanOrEqual(0);
    }),
    LAW,
  );
});

test('no fence is below every version, and fences compare as versions do', () => {
  expect(isAtOrBelow(recordAt(0), NO_FENCE)).toBe(false);
  expect(compareFences(NO_FENCE, fenceAt(1))).toBeLessThan(0);
  expect(compareFences(NO_FENCE, NO_FENCE)).toBe(0);
  fc.assert(
    fc.property(someFences, fc.integer({ min: 1, max: 6 }), (fence, wallMs) => {
      expect(isAtOrBelow(recordAt(wallMs), fence)).toBe(compareFences(fenceAt(wallMs), fence) <= 0);
    }),
    LAW,
  );
});

test('a fence hides tombstones, and what expired before it, and nothing that lives', () => {
  const fence = fenceAt(5);
  expect(isHidden(recordAt(5, { tombstone: true }), fence)).toBe(true);
  expect(isHidden(recordAt(6, { tombstone: true }), fence)).toBe(false);
  expect(isHidden(recordAt(1, { tombstone: true }), NO_FENCE)).toBe(false);
  expect(isHidden(recordAt(1), fence)).toBe(false);
  for (const [at, expiresAtMs, hidden] of [
    [1, 5, true],
    [1, 6, false],
    [6, 6, false],
  ] as const) {
    const record = recordAt(at, { expiresAtMs });
    expect(isHidden(record, fence)).toBe(hidden);
    expect(isHidden(headOf(record), fence)).toBe(hidden);
    // Whether it has expired is not told by a header.
    expect(isHidden(headerOf(record), fence)).toBe(false);
  }
});

test('a copy below the seal needs a holder that has committed as much', () => {
  const state = { promised: fenceAt(6), sealed: fenceAt(5), committed: fenceAt(2) };
  for (const [at, holders, refused] of [
    [5, 0, true],
    [5, 4, true],
    [5, 5, false],
    [1, 2, true],
    [1, 6, false],
    [6, 0, false],
  ] as const) {
    expect(refusesCopy(state, recordAt(at), fenceAt(holders))).toBe(refused);
  }
});
