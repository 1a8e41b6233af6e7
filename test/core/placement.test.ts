import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import {
  createPlacement,
  partitionOf,
  PARTITIONS,
  type Member,
  type Placement,
} from '../../src/core/placement.js';
import { LAW } from './arbitraries.js';
import { expectGolden } from './golden.js';

const RUNS = { ...LAW, numRuns: 40 };

function member(id: string, zone = 'z'): Member {
  return { id, address: `${id}.example:7100`, zone };
}

/** n1, n2, ... as a local cluster names them. */
function numbered(count: number): Member[] {
  return Array.from({ length: count }, (_, index) => member(`n${index + 1}`));
}

function idsOf(placement: Placement, partition: number): string[] {
  const list = placement.preference[partition] as readonly number[];
  return list.map((index) => (placement.members[index] as Member).id);
}

const memberLists = fc
  .uniqueArray(fc.stringMatching(/^[a-z0-9._-]{1,12}$/), { minLength: 1, maxLength: 9 })
  .chain((ids) =>
    fc
      .array(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: ids.length, maxLength: ids.length })
      .map((zones) => ids.map((id, index) => member(id, zones[index] as string))),
  );
const replicationFactors = fc.integer({ min: 1, max: 5 });

describe('a partition', () => {
  test('is the top eight bits of the hash of a key', () => {
    expect(partitionOf(0)).toBe(0);
    expect(partitionOf(0x00ffffff)).toBe(0);
    expect(partitionOf(0x01000000)).toBe(1);
    expect(partitionOf(0xffffffff)).toBe(PARTITIONS - 1);
  });

  test('holds about as many keys as every other', () => {
    const counts = Array.from({ length: PARTITIONS }, () => 0);
    for (let i = 0; i < 100 * PARTITIONS; i++) {
      const partition = partitionOf(hash32(Buffer.from(`user${i}`)));
      counts[partition] = (counts[partition] as number) + 1;
    }
    // 100 each on average; 5 standard deviations either way.
    expect(Math.min(...counts)).toBeGreaterThan(50);
    expect(Math.max(...counts)).toBeLessThan(150);
  });

  test.each([1, 2, 3, 5, 9])(
    'is placed on distinct members of %i, as many as asked for',
    (count) => {
      for (let factor = 1; factor <= 5; factor++) {
        const placement = createPlacement(numbered(count), factor);
        expect(placement.replicas).toBe(Math.min(factor, count));
        expect(placement.preference).toHaveLength(PARTITIONS);
        for (const list of placement.preference) {
          expect(list).toHaveLength(placement.replicas);
          expect(new Set(list).size).toBe(placement.replicas);
          expect(list.every((index) => placement.members[index] !== undefined)).toBe(true);
        }
      }
    },
  );

  test('is spread over zones as evenly as their members allow, the first replicas over most zones', () => {
    fc.assert(
      fc.property(memberLists, replicationFactors, (members, factor) => {
        const placement = createPlacement(members, factor);
        const zones = new Set(members.map(({ zone }) => zone));
        for (const list of placement.preference) {
          const chosen = list.map((index) => (placement.members[index] as Member).zone);
          const count = (zone: string): number => chosen.filter((each) => each === zone).length;
          const most = Math.max(...chosen.map(count));
          for (const zone of zones) {
            const size = members.filter((each) => each.zone === zone).length;
            if (count(zone) < most - 1) expect(count(zone)).toBe(size);
          }
          const spread = Math.min(zones.size, list.length);
          expect(new Set(chosen.slice(0, spread)).size).toBe(spread);
        }
      }),
      RUNS,
    );
  });
});

describe('placement', () => {
  test('is the same whatever the order of the list and the addresses in it', () => {
    fc.assert(
      fc.property(memberLists, replicationFactors, (members, factor) => {
        const moved = members
          .map((each) => ({ ...each, address: 'elsewhere:1' }))
          .toSorted((a, b) => (a.id < b.id ? 1 : -1));
        const [one, other] = [createPlacement(members, factor), createPlacement(moved, factor)];
        expect(other.preference).toEqual(one.preference);
        expect(other.members.map(({ id }) => id)).toEqual(one.members.map(({ id }) => id));
      }),
      RUNS,
    );
  });

  test('changes, when a member joins or leaves, only the lists that it is in, and those by one', () => {
    fc.assert(
      fc.property(memberLists, replicationFactors, fc.nat(), (members, factor, pick) => {
        fc.pre(members.length > 1);
        const { id } = members[pick % members.length] as Member;
        const whole = createPlacement(members, factor);
        const without = createPlacement(
          members.filter((each) => each.id !== id),
          factor,
        );
        for (let partition = 0; partition < PARTITIONS; partition++) {
          const [larger, smaller] = [idsOf(whole, partition), idsOf(without, partition)];
          if (larger.includes(id)) {
            expect(smaller.filter((each) => !larger.includes(each)).length).toBeLessThanOrEqual(1);
            expect(larger.filter((each) => !smaller.includes(each))).toEqual([id]);
          } else {
            expect(smaller).toEqual(larger);
          }
        }
      }),
      RUNS,
    );
  });

  test.each([
    { count: 2, factor: 1 },
    { count: 3, factor: 1 },
    { count: 3, factor: 2 },
    { count: 5, factor: 2 },
    { count: 5, factor: 3 },
    { count: 9, factor: 2 },
    { count: 9, factor: 3 },
    { count: 9, factor: 5 },
  ])('gives each of $count members its share of $factor replicas, give or take 40 %', (shape) => {
    const placement = createPlacement(numbered(shape.count), shape.factor);
    const held = placement.members.map(
      (_, index) => placement.preference.filter((list) => list.includes(index)).length,
    );
    const share = (PARTITIONS * shape.factor) / shape.count;
    expect(Math.max(...held)).toBeLessThan(1.4 * share);
    expect(Math.min(...held)).toBeGreaterThan(0.6 * share);
  });

  test('is as even as chance, whatever scheme the ids follow', () => {
    const schemes = [
      (i: number) => `n${i}`,
      (i: number) => `quorate-${i}.quorate.default.svc.cluster.local`,
      (i: number) => `10.0.${i >> 3}.${i}`,
    ];
    const [count, factor] = [9, 3];
    const share = (PARTITIONS * factor) / count;
    const deviation = Math.sqrt(share * (1 - factor / count));
    let squares = 0;
    let samples = 0;
    for (const scheme of schemes) {
      for (let first = 0; first < 5; first++) {
        const members = Array.from({ length: count }, (_, i) => member(scheme(first * count + i)));
        const placement = createPlacement(members, factor);
        for (const index of placement.members.keys()) {
          const held = placement.preference.filter((list) => list.includes(index)).length;
          squares += ((held - share) / deviation) ** 2;
          samples++;
        }
      }
    }
    // The mean square of a standard normal deviate is 1.
    expect(squares / samples).toBeLessThan(1.5);
  });
});

test('the partitions of known keys are what they have always been', () => {
  const texts = ['', 'a', 'b', 'user1', 'user2', 'city/NL/Utrecht', 'x'.repeat(4_096)];
  expectGolden(
    'partitions.txt',
    texts.map((text) => {
      const hash = hash32(Buffer.from(text));
      const name = text.length > 32 ? `${text.slice(0, 4)}... (${text.length})` : text;
      return `"${name}" ${hash.toString(16).padStart(8, '0')} ${partitionOf(hash)}`;
    }),
  );
});

test('the placement of a known member list is what it has always been', () => {
  const members = ['n1', 'n2', 'n3', 'n4', 'n5'].map((id, i) => member(id, `zone-${(i % 3) + 1}`));
  const placement = createPlacement(members, 3);
  expectGolden(
    'placement.txt',
    placement.preference.map(
      (_, partition) => `${partition}: ${idsOf(placement, partition).join(' ')}`,
    ),
  );
});
