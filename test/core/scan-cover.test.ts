import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hasPartition } from '../../src/core/partition-set.js';
import { createPlacement, PARTITIONS } from '../../src/core/placement.js';
import {
  coverPartitions,
  type CoverPart,
  type ScanCover,
  type Uncovered,
} from '../../src/core/scan-cover.js';
import { countSlots } from '../../src/core/slots.js';

interface Setting {
  readonly nodes: number;
  readonly replicas: number;
  readonly needed: number;
  readonly down: readonly number[];
  readonly self: number;
}

const settings: fc.Arbitrary<Setting> = fc.integer({ min: 1, max: 9 }).chain((nodes) =>
  fc.record({
    nodes: fc.constant(nodes),
    replicas: fc.integer({ min: 1, max: Math.min(nodes, 5) }),
    needed: fc.integer({ min: 1, max: 3 }),
    down: fc.uniqueArray(fc.nat(nodes - 1), { maxLength: 3 }),
    self: fc.integer({ min: -1, max: nodes - 1 }),
  }),
);

function coverOf(setting: Setting): {
  readonly cover: ScanCover | Uncovered;
  readonly reachable: readonly (readonly number[])[];
} {
  const members = Array.from({ length: setting.nodes }, (_, i) => ({
    id: `n${i}`,
    address: `n${i}:1`,
    zone: `z${i % 3}`,
  }));
  const { preference } = createPlacement(members, setting.replicas);
  const reachable = preference.map((list) =>
    list.filter((member) => !setting.down.includes(member)),
  );
  const needed = preference.map(() => setting.needed);
  const rank = members.map((_, member) => member);
  const self = setting.down.includes(setting.self) ? -1 : setting.self;
  return { cover: coverPartitions(reachable, needed, rank, self), reachable };
}

test('a cover holds every partition exactly as often as the level asks, on nodes that have it', () => {
  fc.assert(
    fc.property(settings, (setting) => {
      const { cover, reachable } = coverOf(setting);
      if (cover.kind === 'uncovered') {
        expect(reachable[cover.partition]?.length).toBeLessThan(setting.needed);
        return;
      }
      const wrong = reachable.flatMap((list, partition) => {
        const places = [...cover.parts.keys()];
        const holders = places.filter((place) =>
          hasPartition((cover.parts[place] as CoverPart).partitions, partition),
        );
        const providers = places.filter((place) =>
          hasPartition((cover.parts[place] as CoverPart).whole, partition),
        );
        const assigned = cover.assigned[partition] as readonly number[];
        const isRight =
          holders.length === setting.needed &&
          assigned.length === holders.length &&
          holders.every((place) => assigned.includes(place)) &&
          holders.every((place) => list.includes(cover.parts[place]?.member ?? -1)) &&
          providers.length === 1 &&
          providers[0] === assigned[0];
        return isRight ? [] : [partition];
      });
      expect(wrong).toEqual([]);
      const members = cover.parts.map(({ member }) => member);
      expect(new Set(members).size).toBe(members.length);
    }),
    { seed: 9, numRuns: 60 },
  );
});

/** The size of the smallest set of nodes that covers, by trying all of them. */
function fewest(reachable: readonly (readonly number[])[], needed: number, nodes: number): number {
  let best = Infinity;
  for (let chosen = 0; chosen < 2 ** nodes; chosen++) {
    const size = countSlots(chosen);
    const covers = reachable.every(
      (list) => list.filter((member) => (chosen & (1 << member)) !== 0).length >= needed,
    );
    if (covers) best = Math.min(best, size);
  }
  return best;
}

test('a cover is at most one node larger than the smallest there is, on clusters of up to seven', () => {
  fc.assert(
    fc.property(settings, (setting) => {
      if (setting.nodes > 7) return;
      const { cover, reachable } = coverOf({ ...setting, self: -1 });
      if (cover.kind === 'uncovered') return;
      const smallest = fewest(reachable, setting.needed, setting.nodes);
      expect(cover.parts.length).toBeLessThanOrEqual(smallest + 1);
    }),
    { seed: 10, numRuns: 60 },
  );
});

test('where every node holds everything, a majority of them is asked and the node itself gives the records', () => {
  const { cover } = coverOf({ nodes: 3, replicas: 3, needed: 2, down: [], self: 1 });
  if (cover.kind === 'uncovered') throw new Error('uncovered');
  expect(cover.parts.map(({ member }) => member)).toEqual([1, 0]);
  expect(cover.parts[0]?.whole).toEqual(cover.parts[0]?.partitions);
  expect(cover.isMirrored).toBe(true);
});

function isMirrored(setting: Omit<Setting, 'down'>): boolean {
  const { cover } = coverOf({ ...setting, down: [] });
  return cover.kind === 'cover' && cover.isMirrored;
}

test('nodes mirror the one that coordinates where they answer for the same partitions, and it for all records', () => {
  expect(isMirrored({ nodes: 3, replicas: 3, needed: 3, self: 0 })).toBe(true);
  expect(isMirrored({ nodes: 3, replicas: 3, needed: 1, self: 0 })).toBe(true);
  expect(isMirrored({ nodes: 3, replicas: 3, needed: 2, self: -1 })).toBe(false);
  expect(isMirrored({ nodes: 5, replicas: 3, needed: 2, self: 0 })).toBe(false);
});

test('a node that holds nothing is not asked, even if it is the one that coordinates', () => {
  const reachable = Array.from({ length: PARTITIONS }, () => [1, 2]);
  const needed = reachable.map(() => 1);
  const cover = coverPartitions(reachable, needed, [0, 1, 2], 0);
  if (cover.kind === 'uncovered') throw new Error('uncovered');
  expect(cover.parts.map(({ member }) => member)).toEqual([1]);
});
