import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  combineDigests,
  GROUPS,
  HashTree,
  SEGMENTS,
  SEGMENTS_PER_GROUP,
  segmentOf,
  TREE_DIGEST_BYTES,
} from '../../src/core/hash-tree.js';
import { addPartition, emptyPartitionSet } from '../../src/core/partition-set.js';
import { partitionOf } from '../../src/core/placement.js';
import { HEADER_BYTES } from '../../src/core/record.js';

const header = fc.uint8Array({ minLength: HEADER_BYTES, maxLength: HEADER_BYTES });
const segment = fc.nat(SEGMENTS - 1);

interface Levels {
  readonly whole: Uint8Array;
  readonly groups: Uint8Array;
  readonly segments: Uint8Array;
}

function levelsOf(tree: HashTree): Levels {
  const whole = new Uint8Array(TREE_DIGEST_BYTES);
  const groups = new Uint8Array(GROUPS * TREE_DIGEST_BYTES);
  const segments = new Uint8Array(SEGMENTS * TREE_DIGEST_BYTES);
  tree.writeWhole(whole, 0);
  for (let i = 0; i < GROUPS; i++) tree.writeGroup(i, groups, i * TREE_DIGEST_BYTES);
  for (let i = 0; i < SEGMENTS; i++) tree.writeSegment(i, segments, i * TREE_DIGEST_BYTES);
  return { whole, groups, segments };
}

/** XOR of `count` digests from the one at `from` on. */
function xor(digests: Uint8Array, from: number, count: number): Uint8Array {
  const sum = new Uint8Array(TREE_DIGEST_BYTES);
  const at = from * TREE_DIGEST_BYTES;
  for (let i = at; i < at + count * TREE_DIGEST_BYTES; i++) {
    sum[i % TREE_DIGEST_BYTES] = (sum[i % TREE_DIGEST_BYTES] as number) ^ (digests[i] as number);
  }
  return sum;
}

describe('a hash tree', () => {
  test('every level is the XOR of the one below, and every order of changes gives the same tree', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(segment, header), { maxLength: 40 }), (changes) => {
        const one = new HashTree();
        const other = new HashTree();
        for (const [place, record] of changes) one.toggle(place, record);
        for (const [place, record] of changes.toReversed()) other.toggle(place, record);
        const { whole, groups, segments } = levelsOf(one);
        expect(levelsOf(other)).toEqual({ whole, groups, segments });
        expect(xor(groups, 0, GROUPS)).toEqual(whole);
        for (let group = 0; group < GROUPS; group++) {
          expect(xor(segments, group * SEGMENTS_PER_GROUP, SEGMENTS_PER_GROUP)).toEqual(
            groups.subarray(group * TREE_DIGEST_BYTES, (group + 1) * TREE_DIGEST_BYTES),
          );
        }
      }),
      { seed: 1, numRuns: 30 },
    );
  });

  test('what goes in and out again leaves nothing, and what stays is its digest', () => {
    fc.assert(
      fc.property(segment, header, header, (place, before, after) => {
        const tree = new HashTree();
        tree.toggle(place, before);
        tree.toggle(place, before);
        tree.toggle(place, after);
        const { whole, segments } = levelsOf(tree);
        expect(whole).toEqual(after.subarray(0, TREE_DIGEST_BYTES));
        expect(xor(segments, place, 1)).toEqual(whole);
      }),
      { seed: 2, numRuns: 30 },
    );
  });

  test('a segment that is set anew changes the levels above it alike', () => {
    fc.assert(
      fc.property(segment, header, header, segment, header, (place, before, after, far, other) => {
        const [set, toggled] = [new HashTree(), new HashTree()];
        for (const tree of [set, toggled]) tree.toggle(far, other);
        set.toggle(place, before);
        const kept = new HashTree();
        if (far === place) kept.toggle(place, other);
        kept.toggle(place, after);
        const read = new HashTree();
        const digest = new Uint8Array(TREE_DIGEST_BYTES);
        kept.writeSegment(place, digest, 0);
        read.readSegment(place, digest, 0);
        expect(read.equalsSegment(place, kept)).toBe(true);
        set.copySegment(place, read);
        toggled.toggle(place, after);
        expect(levelsOf(set)).toEqual(levelsOf(toggled));
      }),
      { seed: 3, numRuns: 30 },
    );
  });

  test('has room for keys in every segment of every partition, under 8 MB in all', () => {
    expect(256 * new HashTree().sizeBytes).toBeLessThan(8_000_000);
    expect([0, 0xffffff, 0xff001fff].map(segmentOf)).toEqual([0, SEGMENTS - 1, 0]);
    expect(partitionOf(0xff002000) === 255 && segmentOf(0xff002000) === 1).toBe(true);
  });
});

describe('the digest of several partitions', () => {
  test('tells which partition has which digest', () => {
    const [some, others] = [emptyPartitionSet(), emptyPartitionSet()];
    for (const partition of [3, 200]) addPartition(some, partition);
    for (const partition of [3, 201]) addPartition(others, partition);
    const digests = Uint8Array.from({ length: 16 }, (_, i) => i);
    const swapped = Uint8Array.from([...digests.subarray(8), ...digests.subarray(0, 8)]);
    const told = [
      combineDigests(some, digests),
      combineDigests(some, swapped),
      combineDigests(others, digests),
    ].map((digest) => Buffer.from(digest).toString('hex'));
    expect(new Set(told).size).toBe(3);
    // It travels: every release of a cluster computes it alike.
    expect(told[0]).toBe('d7ef9c89745a0b72');
  });
});
