import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RoundsModel, type Lapse } from './rounds-model.js';

const SEED = 20_240_519;

type Step =
  | { readonly kind: 'begin'; readonly coordinator: number; readonly aheadMs: number }
  | {
      readonly kind: 'deliver';
      readonly which: number;
      readonly times: number;
      readonly lost: boolean;
    }
  | { readonly kind: 'lose'; readonly which: number }
  | { readonly kind: 'copy'; readonly from: number; readonly to: number }
  | { readonly kind: 'crash'; readonly which: number };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('begin' as const),
        coordinator: fc.integer({ min: 1, max: 3 }),
        aheadMs: fc.constantFrom(0, 1, 5, 200),
      }),
    },
    {
      weight: 14,
      arbitrary: fc.record({
        kind: fc.constant('deliver' as const),
        which: fc.nat({ max: 20 }),
        times: fc.constantFrom(1, 1, 1, 2),
        lost: fc.constantFrom(false, false, false, true),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('lose' as const), which: fc.nat({ max: 20 }) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('copy' as const),
        from: fc.nat({ max: 4 }),
        to: fc.nat({ max: 4 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('crash' as const), which: fc.nat({ max: 4 }) }),
    },
  ),
  { minLength: 40, maxLength: 120 },
);

function play(model: RoundsModel, story: readonly Step[]): string | undefined {
  for (const step of story) {
    switch (step.kind) {
      case 'begin':
        model.begin(step.coordinator, step.aheadMs);
        break;
      case 'deliver':
        model.deliver(step.which, step.times, step.lost);
        break;
      case 'lose':
        model.lose(step.which);
        break;
      case 'copy':
        model.copy(step.from, step.to);
        break;
      case 'crash':
        model.crash(step.which);
        break;
    }
  }
  model.finish();
  return model.complaint();
}

describe('rounds of one key', () => {
  test.each([3, 5])('of %i replicas choose one list, and lose nothing of it', (acceptors) => {
    let chosen = 0;
    fc.assert(
      fc.property(steps, (story) => {
        const model = new RoundsModel(acceptors);
        expect(play(model, story)).toBeUndefined();
        chosen += model.appends.filter(({ endedAt }) => endedAt !== undefined).length;
      }),
      { seed: SEED, numRuns: 200 },
    );
    // Not because nothing happens.
    expect(chosen).toBeGreaterThan(500);
  });

  test.each<Lapse>(['forgets promises', 'takes what is below a promise', 'counts twice'])(
    'that %s are found out',
    (lapse) => {
      const found = fc.check(
        fc.property(steps, (story) => {
          expect(play(new RoundsModel(3, lapse), story)).toBeUndefined();
        }),
        { seed: SEED, numRuns: 3_000, endOnFailure: true },
      );
      expect(found.failed).toBe(true);
    },
  );
});
