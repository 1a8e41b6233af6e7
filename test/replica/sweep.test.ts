import { EventEmitter, once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { partitionOf } from '../../src/core/placement.js';
import { isTombstone } from '../../src/core/record.js';
import type { StoreEntry } from '../../src/io/store.js';
import { recordKey, segmentEntryKey } from '../../src/replica/layout.js';
import type { SweepResult } from '../../src/replica/partition-sweep.js';
import type { SweepOptions } from '../../src/replica/sweep.js';
import { createFaultyDisk, type FaultyDisk } from './faulty-disk.js';
import {
  applyCall,
  applyOne,
  bytes,
  openTestReplica,
  readOne,
  type TestReplica,
} from './fixtures.js';
import { crash, recordFor, said, treesOnDisk } from './tree-fixtures.js';

const PARTITION = 7;

/** Keys of one partition, in no order of segments. */
const KEYS = Array.from({ length: 200_000 }, (_, i) => bytes(`key/${i}`))
  .filter((key) => partitionOf(hash32(key)) === PARTITION)
  .slice(0, 700);
const [KEY, OTHER, THIRD] = KEYS as [Buffer, Buffer, Buffer];

const kindOf = (i: number) => ['put', 'put', 'delete', 'expire'][i % 4] as string;

async function filled(
  keys: readonly Buffer[] = KEYS.slice(0, 20),
): Promise<{ disk: FaultyDisk; node: TestReplica }> {
  const disk = createFaultyDisk();
  const node = await openTestReplica(disk);
  keys.forEach((key, i) => {
    node.replica.apply(applyCall(key, recordFor({ key, atMs: i + 1, kind: kindOf(i) })), 0);
  });
  await node.time.settle();
  return { disk, node };
}

async function sweep(node: TestReplica, options?: SweepOptions): Promise<SweepResult | undefined> {
  const swept = node.replica.sweeper.sweep(PARTITION, options);
  await node.time.settle();
  return swept;
}

/** Changes the disk behind the back of the replica. */
function edit(disk: FaultyDisk, key: Uint8Array, value: Uint8Array | undefined): Promise<void> {
  const batch = disk.store.batch();
  return (value === undefined ? batch.del(key) : batch.put(key, value)).commit({ sync: true });
}

async function damage(disk: FaultyDisk, key: Buffer): Promise<void> {
  const record = Buffer.from((await disk.store.get(recordKey(key))) ?? []);
  record.writeUInt8(record.readUInt8(12) ^ 1, 12);
  await edit(disk, recordKey(key), record);
}

const nameOf = (key: Uint8Array) => Buffer.from(key).toString('hex');

/** The index, and what it should be. */
async function index(disk: FaultyDisk): Promise<{ found: string[]; expected: string[] }> {
  const family = async (first: number): Promise<readonly StoreEntry[]> => {
    const cursor = disk.store.cursor({ gte: Uint8Array.of(first), lt: Uint8Array.of(first + 1) });
    const entries = await cursor.next(10_000);
    await cursor.close();
    return entries;
  };
  const records = await family(2);
  return {
    found: (await family(5)).map(([key]) => nameOf(key)),
    expected: records
      .map(([key]) => nameOf(segmentEntryKey(hash32(key.subarray(1)), key.subarray(1))))
      .sort(),
  };
}

async function expectAllAgree(disk: FaultyDisk, node: TestReplica): Promise<void> {
  expect(said(node.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
  const { found, expected } = await index(disk);
  expect(found).toEqual(expected);
}

async function mend(node: TestReplica, record: Uint8Array | undefined): Promise<boolean> {
  const mended = node.replica.sweeper.mend(KEY, hash32(KEY), record);
  await node.time.settle();
  return mended;
}

describe('a sweep', () => {
  test('finds what is there, counts it, and changes nothing', async () => {
    const { disk, node } = await filled(KEYS);
    const before = said(node.replica.trees);
    const { commits } = disk;
    expect(await sweep(node)).toEqual({ records: 700, dropped: 0, corrupt: 0, differing: 0 });
    expect(said(node.replica.trees)).toEqual(before);
    expect(disk.commits).toBe(commits);
  });

  test('takes out what is to go, with everything that belongs to it, and knows what is left', async () => {
    const { disk, node } = await filled(KEYS);
    const counts = () => node.replica.trees.counts(PARTITION);
    expect(counts().droppableFromMs % 1_000).toBe(3);
    expect(await sweep(node, { drop: isTombstone })).toMatchObject({ records: 525, dropped: 175 });
    expect(counts()).toMatchObject({ records: 525, tombstones: 0, expiring: 175 });
    expect(counts().droppableFromMs % 1_000).toBe(40);
    await expectAllAgree(disk, node);
    expect(await readOne(node, KEYS[2] as Buffer)).toEqual({ kind: 'absent' });
    // Nothing in memory says that it is still there.
    const again = recordFor({ key: KEYS[2] as Buffer, atMs: 1, kind: 'put' });
    expect(await applyOne(node, KEYS[2] as Buffer, again)).toEqual({ kind: 'applied' });
    await expectAllAgree(disk, node);
  });

  test('goes on between commits, and what is written meanwhile is counted once', async () => {
    const { disk, node } = await filled(KEYS.slice(0, 600));
    let written = 0;
    const drop = (record: Uint8Array): boolean => {
      const key = KEYS[(written * 131) % KEYS.length] as Buffer;
      const kind = kindOf(written);
      written += 1;
      const call = applyCall(key, recordFor({ key, atMs: 700 + written, kind }));
      if (written < 700) node.replica.apply(call, 0);
      return isTombstone(record);
    };
    expect(await sweep(node, { drop })).toMatchObject({ differing: 0 });
    await expectAllAgree(disk, node);
  });

  test('that the trees are rebuilt under comes to nothing, and does them no harm', async () => {
    const { disk, node } = await filled(KEYS);
    await damage(disk, KEY);
    let seen = 0;
    const drop = (): boolean => {
      seen += 1;
      if (seen !== 300) return false;
      disk.failNextCommit = 'lost';
      node.replica.apply(applyCall(OTHER, recordFor({ key: OTHER, atMs: 1_000, kind: 'put' })), 0);
      return false;
    };
    const swept = node.replica.sweeper.sweep(PARTITION, { drop }).catch(() => undefined);
    await node.time.advance(5_000);
    expect(await swept).toBeUndefined();
    expect(seen).toBeLessThan(699);
    await expectAllAgree(disk, node);
    expect(await sweep(node)).toMatchObject({ records: 699, corrupt: 1, differing: 0 });
  });

  test('sees what the disk has lost or gained unseen, and a rebuild puts trees and index right', async () => {
    const { disk, node } = await filled();
    await edit(disk, recordKey(KEY), undefined);
    await edit(disk, recordKey(OTHER), recordFor({ key: OTHER, atMs: 0, kind: 'put' }));
    await edit(disk, segmentEntryKey(hash32(THIRD), THIRD), undefined);
    const stranger = KEYS[30] as Buffer;
    await edit(disk, recordKey(stranger), recordFor({ key: stranger, atMs: 1, kind: 'put' }));
    const found = await sweep(node);
    expect(found?.differing).toBe(3);
    const rebuilt = node.replica.sweeper.rebuild();
    await node.time.settle();
    await rebuilt;
    expect(node.replica.trees.ready).toBe(true);
    await expectAllAgree(disk, node);
    expect(await sweep(node)).toMatchObject({ records: 20, differing: 0 });
    expect(await node.replica.status()).toMatchObject({ treesDiffered: 3, scrubPasses: 2 / 256 });
  });

  test('lets in again what the disk has lost unseen, whatever was known of it', async () => {
    const { disk, node } = await filled();
    await edit(disk, recordKey(KEY), undefined);
    const older = recordFor({ key: OTHER, atMs: 0, kind: 'put' });
    await edit(disk, recordKey(OTHER), older);
    await sweep(node);
    const lost = recordFor({ key: KEY, atMs: 1, kind: kindOf(0) });
    expect(await applyOne(node, KEY, lost)).toEqual({ kind: 'applied' });
    expect((await index(disk)).found).toContain(nameOf(segmentEntryKey(hash32(KEY), KEY)));
    const rebuilt = node.replica.sweeper.rebuild();
    await node.time.settle();
    await rebuilt;
    const reverted = recordFor({ key: OTHER, atMs: 2, kind: kindOf(1) });
    expect(await applyOne(node, OTHER, reverted)).toEqual({ kind: 'applied' });
    await expectAllAgree(disk, node);
  });

  test('is not made while the trees are rebuilt', async () => {
    const { disk } = await filled();
    await crash(disk);
    disk.walkGate = new Promise(() => {});
    expect(await sweep(await openTestReplica(disk))).toBeUndefined();
  });

  test('that rests keeps nothing from being mended, and rests but a moment after a disk was slow', async () => {
    const { disk, node } = await filled(KEYS);
    await damage(disk, KEY);
    const slow = new EventEmitter();
    disk.gate = once(slow, 'over').then(() => undefined);
    let isSwept = false;
    const swept = node.replica.sweeper
      .sweep(PARTITION, { drop: isTombstone, rests: true })
      .finally(() => {
        isSwept = true;
      });
    await node.time.advance(60_000);
    disk.gate = undefined;
    slow.emit('over');
    await node.time.settle();
    expect(isSwept).toBe(false);
    expect(await mend(node, recordFor({ key: KEY, atMs: 50, kind: 'put' }))).toBe(true);
    expect(isSwept).toBe(false);
    await node.time.advance(1_000);
    expect(await swept).toMatchObject({ dropped: 175 });
    expect(await sweep(node)).toMatchObject({ records: 525, corrupt: 0, differing: 0 });
    await expectAllAgree(disk, node);
  });

  test('that meets a disk that fails says so, and the next one is whole', async () => {
    const { disk, node } = await filled();
    disk.failNextCommit = 'lost';
    const swept = node.replica.sweeper.sweep(PARTITION, { drop: isTombstone });
    const refused = expect(swept).rejects.toMatchObject({
      code: 'STORE_FAILED',
      outcome: 'unknown',
    });
    await node.time.advance(5_000);
    await refused;
    expect(await sweep(node)).toMatchObject({ records: 20, differing: 0 });
    await expectAllAgree(disk, node);
  });
});

describe('a record that cannot be read', () => {
  test('is found by a sweep, adds nothing to its segment, and is remembered', async () => {
    const { disk, node } = await filled();
    await damage(disk, KEY);
    expect(await sweep(node)).toEqual({ records: 19, dropped: 0, corrupt: 1, differing: 0 });
    await expectAllAgree(disk, node);
    expect(node.replica.corruptKeys.map(({ key }) => Buffer.from(key))).toEqual([KEY]);
    expect(await sweep(node)).toMatchObject({ corrupt: 1, differing: 0 });
  });

  test.each(['another record', 'nothing'])(
    'is replaced by %s, and takes writes again',
    async (what) => {
      const { disk, node } = await filled();
      await damage(disk, KEY);
      const newer = recordFor({ key: KEY, atMs: 90, kind: 'put' });
      expect(await readOne(node, KEY)).toMatchObject({ code: 'RECORD_CORRUPT' });
      expect(await applyOne(node, KEY, newer)).toMatchObject({ code: 'RECORD_CORRUPT' });
      const other = recordFor({ key: KEY, atMs: 50, kind: 'put' });
      expect(await mend(node, what === 'nothing' ? undefined : other)).toBe(true);
      expect(await readOne(node, KEY)).toMatchObject({
        kind: what === 'nothing' ? 'absent' : 'found',
      });
      expect(await sweep(node)).toMatchObject({ corrupt: 0, differing: 0 });
      await expectAllAgree(disk, node);
      expect(await applyOne(node, KEY, newer)).toEqual({ kind: 'applied' });
      await expectAllAgree(disk, node);
      expect(await node.replica.status()).toMatchObject({ corruptKeys: 0, mended: 1 });
    },
  );

  test('is left alone when it can be read after all', async () => {
    const { disk, node } = await filled();
    const record = await disk.store.get(recordKey(KEY));
    await damage(disk, KEY);
    await readOne(node, KEY);
    await edit(disk, recordKey(KEY), record);
    expect(await mend(node, undefined)).toBe(true);
    expect(await readOne(node, KEY)).toMatchObject({ kind: 'found' });
    expect(node.replica.corruptKeys).toEqual([]);
    await expectAllAgree(disk, node);
  });
});
