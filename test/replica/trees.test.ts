import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { HashTree, SEGMENTS } from '../../src/core/hash-tree.js';
import { partitionOf } from '../../src/core/placement.js';
import { ALL_RECORDS } from '../../src/replica/layout.js';
import { Trees } from '../../src/replica/trees.js';
import { createFaultyDisk } from './faulty-disk.js';
import { applyCall, bytes, openTestReplica, START_WALL_MS, type TestReplica } from './fixtures.js';
import { ALL_PARTITIONS, crash, recordFor, said, treesOnDisk } from './tree-fixtures.js';

const keys = Array.from({ length: 12 }, (_, i) => bytes(`key/${i}`));

/** Writes, deletes and records that expire, of few keys and versions. */
const write = fc.record({
  key: fc.constantFrom(...keys),
  atMs: fc.nat(9),
  kind: fc.constantFrom('put', 'delete', 'expire'),
});

describe('the trees of a replica', () => {
  test('equal those computed from its disk, whatever was applied, failed, crashed or went on while they were rebuilt', async () => {
    const step = fc.oneof(
      {
        weight: 8,
        arbitrary: fc.record({
          kind: fc.constant('writes' as const),
          writes: fc.array(write, { maxLength: 6 }),
        }),
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constantFrom('crash', 'walk', 'lost', 'written') }),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), async (steps) => {
        const disk = createFaultyDisk();
        let node: TestReplica = await openTestReplica(disk);
        let pass: (() => void) | undefined;
        for (const one of steps) {
          switch (one.kind) {
            case 'writes':
              for (const each of 'writes' in one ? one.writes : []) {
                node.replica.apply(applyCall(each.key, recordFor(each)), 0);
              }
              await node.time.settle();
              break;
            case 'lost':
            case 'written':
              disk.failNextCommit = one.kind;
              break;
            case 'walk':
              pass?.();
              disk.walkGate = undefined;
              await node.time.settle();
              break;
            case 'crash':
              await node.time.advance(5_000);
              await crash(disk);
              // What comes next goes on while the walk has its snapshot and has added nothing of it.
              disk.walkGate = new Promise((resolve) => {
                pass = resolve;
              });
              node = await openTestReplica(disk);
          }
        }
        disk.failNextCommit = undefined;
        pass?.();
        disk.walkGate = undefined;
        await node.time.advance(5_000);
        expect(node.replica.trees.ready).toBe(true);
        expect(said(node.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
      }),
      { seed: 11, numRuns: 60 },
    );
  });

  test('two replicas have equal digests exactly when they hold equal records', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(write), fc.array(write), async (some, others) => {
        const held = async (writes: typeof some) => {
          const disk = createFaultyDisk();
          const node = await openTestReplica(disk);
          for (const each of writes) node.replica.apply(applyCall(each.key, recordFor(each)), 0);
          await node.time.settle();
          const cursor = disk.store.cursor(ALL_RECORDS);
          return { trees: node.replica.trees, records: await cursor.next(1_000) };
        };
        const one = await held(some);
        const other = await held(others);
        const same = await held([...some, ...others].toReversed());
        const both = await held([...some, ...others]);
        const differs =
          Buffer.compare(
            one.trees.combined(ALL_PARTITIONS),
            other.trees.combined(ALL_PARTITIONS),
          ) !== 0;
        expect(differs).toBe(JSON.stringify(one.records) !== JSON.stringify(other.records));
        expect(both.trees.combined(ALL_PARTITIONS)).toEqual(same.trees.combined(ALL_PARTITIONS));
      }),
      { seed: 12, numRuns: 40 },
    );
  });

  test('cost under 8 MB with keys in every segment', () => {
    const trees = new Trees();
    const record = recordFor({ key: bytes('key'), atMs: 1, kind: 'put' });
    for (let partition = 0; partition < 256; partition++) {
      for (let segment = 0; segment < SEGMENTS; segment++) {
        trees.replace(((partition << 24) | (segment << 13)) >>> 0, undefined, record);
      }
    }
    const tree = new HashTree();
    for (let segment = 0; segment < SEGMENTS; segment++) tree.toggle(segment, record);
    expect(trees.hasSegment(255, SEGMENTS - 1, tree)).toBe(true);
    expect(trees.totals().records).toBe(256 * SEGMENTS);
    expect(trees.sizeBytes).toBeGreaterThan(4_000_000);
    expect(trees.sizeBytes).toBeLessThan(8_000_000);
  });

  test('know from when on a fence could drop something, and never say it too late', () => {
    const trees = new Trees();
    trees.complete();
    const key = bytes('key');
    const keyHash = hash32(key);
    const partition = partitionOf(keyHash);
    const from = () => trees.counts(partition).droppableFromMs;
    expect(from()).toBe(Infinity);
    const gone = recordFor({ key, atMs: 5, kind: 'delete' });
    const expiring = recordFor({ key, atMs: 7, kind: 'expire' });
    trees.replace(keyHash, undefined, gone);
    expect(from()).toBe(START_WALL_MS + 5);
    trees.replace(keyHash, gone, expiring);
    expect(from()).toBe(START_WALL_MS + 5);
    trees.replace(keyHash, expiring, recordFor({ key, atMs: 8, kind: 'put' }));
    expect(from()).toBe(Infinity);
    trees.replace(keyHash, undefined, expiring);
    expect(from()).toBe(START_WALL_MS + 70);
  });
});

test('trees that lose more than was ever counted can be saved all the same', () => {
  const trees = new Trees();
  const [key] = keys as [Buffer];
  const gone = (kind: string) => recordFor({ key, atMs: 1, kind });
  for (const kind of ['delete', 'expire']) trees.replace(hash32(key), gone(kind), undefined);
  const saved = Buffer.from(trees.save(partitionOf(hash32(key))) as Uint8Array);
  const loaded = new Trees();
  loaded.load(partitionOf(hash32(key)), saved);
  expect(loaded.counts(partitionOf(hash32(key)))).toMatchObject({
    records: 0,
    tombstones: 0,
    expiring: 0,
  });
});
