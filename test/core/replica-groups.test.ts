import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hasPartition } from '../../src/core/partition-set.js';
import { createPlacement, PARTITIONS } from '../../src/core/placement.js';
import {
  recordersNeeded,
  refills,
  replicaGroups,
  witnessesNeeded,
  type ReplicaGroup,
} from '../../src/core/replica-groups.js';

const clusters = fc
  .record({
    size: fc.integer({ min: 1, max: 9 }),
    replication: fc.integer({ min: 1, max: 5 }),
    zones: fc.integer({ min: 1, max: 4 }),
  })
  .map(({ size, replication, zones }) => ({
    replication,
    members: Array.from({ length: size }, (_, i) => ({
      id: `n${i}`,
      address: `n${i}:1`,
      zone: `z${i % zones}`,
    })),
  }));

const SEEDED = { seed: 6, numRuns: 60 };

const byName = (a = '', b = ''): number => (a < b ? -1 : 1);

/** All sets of `count` of these. */
function choices(ids: readonly string[], count: number): Set<string>[] {
  if (count === 0) return [new Set()];
  const [first, ...rest] = ids;
  if (first === undefined) return [];
  return [...choices(rest, count - 1).map((chosen) => chosen.add(first)), ...choices(rest, count)];
}

function share(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return [...a].some((id) => b.has(id));
}

describe('the groups of a node', () => {
  test('cover each of its partitions once, with the other replicas of it', () => {
    fc.assert(
      fc.property(clusters, ({ members, replication }) => {
        const placement = createPlacement(members, replication);
        const groups = replicaGroups(placement, 'n0');
        for (let partition = 0; partition < PARTITIONS; partition++) {
          const ids = placement.preference[partition]?.map((at) => placement.members[at]?.id) ?? [];
          const covering = groups.filter(({ partitions }) => hasPartition(partitions, partition));
          expect(covering).toHaveLength(ids.includes('n0') ? 1 : 0);
          if (covering[0] !== undefined) {
            expect(covering[0].others).toEqual(ids.filter((id) => id !== 'n0').toSorted(byName));
          }
        }
      }),
      SEEDED,
    );
  });

  test('ask for so few that any of them share one with whoever must have been asked before', () => {
    fc.assert(
      fc.property(clusters, ({ members, replication }) => {
        const placement = createPlacement(members, replication);
        for (const group of replicaGroups(placement, 'n0')) checkQuorums(group);
      }),
      SEEDED,
    );
  });
});

function checkQuorums(group: ReplicaGroup): void {
  const { others, zoneOthers } = group;
  const majority = ((others.length + 1) >> 1) + 1;
  const recorders = choices(others, recordersNeeded(group));
  // A life that was recorded is heard of, however few are asked.
  if (recordersNeeded(group) > 0) {
    for (const witnesses of choices(others, witnessesNeeded(group))) {
      expect(recorders.every((recorded) => share(recorded, witnesses))).toBe(true);
    }
  }
  // Whatever a quorum acknowledged that the node was part of is at one of the sources, in a zone too.
  const zoneMajority = ((zoneOthers.length + 1) >> 1) + 1;
  for (let count = 0; count <= others.length; count++) {
    for (const sources of choices(others, count)) {
      if (!refills(group, sources)) continue;
      expect(
        choices(others, majority - 1).every((rest) => rest.size === 0 || share(rest, sources)),
      ).toBe(true);
      expect(
        choices(zoneOthers, zoneMajority - 1).every(
          (rest) => rest.size === 0 || share(rest, sources),
        ),
      ).toBe(true);
    }
  }
  expect(refills(group, new Set(others))).toBe(true);
}
