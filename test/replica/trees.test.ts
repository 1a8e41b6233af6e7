import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { encodeRecord, isIntact } from '../../src/core/record.js';
import type { Store } from '../../src/io/store.js';
import { ALL_RECORDS, userKeyOf } from '../../src/replica/layout.js';
import { Trees } from '../../src/replica/trees.js';
import { createFaultyDisk, type FaultyDisk } from './faulty-disk.js';
import { applyCall, bytes, openTestReplica, START_WALL_MS, type TestReplica } from './fixtures.js';

const ALL = new Uint8Array(32).fill(0xff);

/** The trees as they should be: computed from what lies on the disk. */
async function treesOnDisk(store: Store): Promise<Trees> {
  const trees = new Trees();
  const cursor = store.cursor(ALL_RECORDS);
  for (const [storeKey, record] of await cursor.next(100_000)) {
    const keyHash = hash32(userKeyOf(storeKey));
    if (isIntact(keyHash, record)) trees.replace(keyHash, undefined, record);
  }
  await cursor.close();
  trees.complete();
  return trees;
}

/** All that trees say. */
function said(trees: Trees): unknown {
  return Array.from({ length: 256 }, (_, partition) => {
    const { records, tombstones, expiring } = trees.counts(partition);
    const groups = Buffer.from(trees.groupDigests(partition)).toString('hex');
    return records === 0 ? groups : [groups, records, tombstones, expiring];
  });
}

const keys = Array.from({ length: 12 }, (_, i) => bytes(`key/${i}`));

/** Writes, deletes and records that expire, of few keys and versions. */
const write = fc.record({
  key: fc.constantFrom(...keys),
  atMs: fc.nat(9),
  kind: fc.constantFrom('put', 'delete', 'expire'),
});

function recordFor({ key, atMs, kind }: { key: Uint8Array; atMs: number; kind: string }) {
  const version = { wallMs: START_WALL_MS + atMs, logical: 0, writerHi: 1, writerLo: 1 };
  return encodeRecord(key, {
    version,
    tombstone: kind === 'delete',
    value: bytes('value'),
    ...(kind === 'expire' ? { expiresAtMs: START_WALL_MS + 10 * atMs } : {}),
  });
}

/** The process dies: what is on disk stays, and nobody writes any more. */
async function crash(disk: FaultyDisk): Promise<void> {
  await disk.store.close();
}

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
        const differs = Buffer.compare(one.trees.combined(ALL), other.trees.combined(ALL)) !== 0;
        expect(differs).toBe(JSON.stringify(one.records) !== JSON.stringify(other.records));
        expect(both.trees.combined(ALL)).toEqual(same.trees.combined(ALL));
      }),
      { seed: 12, numRuns: 40 },
    );
  });
});
