import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FenceWorld, type Wrong } from './fence-world.js';

const RUNS = 250;
const STEPS = 260;

async function complaintsOf(
  seed: number,
  replicas: number,
  wrong: Wrong,
): Promise<readonly string[]> {
  const world = new FenceWorld(seed, replicas, wrong);
  await world.run(STEPS);
  if (world.complaints.length === 0) await world.heal();
  return world.complaints;
}

describe.each([3, 5])('of %i replicas', (replicas) => {
  test('none ever brings back what was deleted, or loses what was not, and all become equal', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), async (seed) => {
        expect(await complaintsOf(seed, replicas, {})).toEqual([]);
      }),
      { seed: 9, numRuns: RUNS },
    );
  });
});

test('probe', async () => {
  const sums = { commits: 0, reads: 0, fencedAnswers: 0 };
  for (let seed = 0; seed < 200; seed++) {
    const world = new FenceWorld(seed, 3);
    await world.run(STEPS);
    sums.commits += world.done.commits;
    sums.reads += world.done.reads;
    sums.fencedAnswers += world.done.fencedAnswers;
  }
  console.log(sums);
});

describe('the law sees', () => {
  const defects: readonly (readonly [string, Wrong])[] = [
    ['tombstones dropped with the promise', { dropsPromised: true }],
    ['a fence committed without a comparison', { comparesNot: true }],
    ['copies taken during the comparison', { ignoresMarks: true }],
    ['a fence committed though not all have sealed it', { sealsAlone: true }],
    ['fences that a crash forgets', { forgetsFences: true }],
    ['copies taken whatever their holder has committed', { takesAnyCopy: true }],
    ['late writes taken', { takesLateWrites: true }],
    ['absence without a version', { readsTombstonesBack: true }],
  ];
  test.each(defects)('%s', async (_, wrong) => {
    let found = 0;
    let seed = 0;
    for (; seed < 3_000 && found === 0; seed++) {
      for (const n of [3, 5]) found += (await complaintsOf(seed, n, wrong)).length;
    }
    console.log(_, seed, found);
    expect(found).toBeGreaterThan(0);
  });
});
