import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FenceWorld, type Wrong } from './fence-world.js';

const STEPS = 300;

async function complaintsOf(
  seed: number,
  replicas: number,
  wrong: Wrong = {},
): Promise<readonly string[]> {
  const world = new FenceWorld(seed, replicas, wrong);
  await world.run(STEPS);
  if (world.complaints.length === 0) await world.heal();
  return world.complaints;
}

test.each([3, 5])(
  'of %i replicas none ever brings back what was deleted or loses what was not, and all become equal',
  async (replicas) => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        expect(await complaintsOf(seed, replicas)).toEqual([]);
      }),
      { seed: 9, numRuns: 60 },
    );
  },
);

describe('the law sees', () => {
  /** The seeds from which on it is seen soon. */
  const defects: readonly (readonly [string, Wrong, replicas: number, from: number])[] = [
    ['tombstones dropped with the promise', { dropsPromised: true }, 3, 126],
    ['a fence committed without a comparison', { comparesNot: true }, 3, 34],
    ['copies taken during the comparison', { ignoresMarks: true }, 5, 8_075],
    ['a fence committed though not all have sealed it', { sealsAlone: true }, 5, 36],
    ['fences that a crash forgets', { forgetsFences: true }, 3, 160],
    ['copies taken whatever their holder has committed', { takesAnyCopy: true }, 3, 95],
    ['late writes taken', { takesLateWrites: true }, 3, 5],
  ];
  test.each(defects)('%s', async (_, wrong, replicas, from) => {
    let seed = from;
    while (seed < from + 60 && (await complaintsOf(seed, replicas, wrong)).length === 0) seed++;
    expect(seed).toBeLessThan(from + 60);
  });
});
