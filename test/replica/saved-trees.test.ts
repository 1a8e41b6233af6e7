import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { partitionOf } from '../../src/core/placement.js';
import { ALL_RECORDS, recordKey } from '../../src/replica/layout.js';
import { treeKey, TREES_KEY } from '../../src/replica/meta.js';
import { createFaultyDisk, type FaultyDisk } from './faulty-disk.js';
import { applyCall, bytes, closeReplica, openTestReplica, type TestReplica } from './fixtures.js';
import { crash, recordFor, said, treesOnDisk } from './tree-fixtures.js';

const KINDS = ['put', 'delete', 'expire'];
const KEYS = Array.from({ length: 30 }, (_, i) => bytes(`key/${i}`));

function fill({ replica }: TestReplica, atMs: number): void {
  KEYS.forEach((key, i) => {
    const kind = KINDS[(i + atMs) % KINDS.length] as string;
    replica.apply(applyCall(key, recordFor({ key, atMs: atMs + i, kind })), 0);
  });
}

/** A disk whose node has stopped cleanly. */
async function stopped(): Promise<FaultyDisk> {
  const disk = createFaultyDisk();
  const node = await openTestReplica(disk);
  fill(node, 1);
  await node.time.settle();
  await closeReplica(node);
  return disk;
}

async function change(disk: FaultyDisk, key: Uint8Array, how: (value: Buffer) => void) {
  const store = await disk.open();
  const value = Buffer.from((await store.get(key)) ?? []);
  how(value);
  await store.batch().put(key, value).commit({ sync: true });
  await store.close();
}

const flip = (value: Buffer) =>
  value.writeUInt8(value.readUInt8(value.length - 1) ^ 1, value.length - 1);

/** Opens the replica while the walk over its records is held up: what it knows by then, it has loaded. */
async function openUnwalked(disk: FaultyDisk): Promise<TestReplica> {
  disk.walkGate = new Promise(() => {});
  const node = await openTestReplica(disk);
  disk.walkGate = undefined;
  return node;
}

describe('the trees after a restart', () => {
  test('are exactly those of the clean stop, before any record has been read', async () => {
    const disk = await stopped();
    const node = await openUnwalked(disk);
    expect(node.replica.trees.ready).toBe(true);
    expect(said(node.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
    const partition = partitionOf(hash32(KEYS[1] as Buffer));
    expect(node.replica.trees.counts(partition).droppableFromMs).toBeLessThan(Infinity);
  });

  test('go on from there, stop after stop', async () => {
    const disk = await stopped();
    for (let atMs = 2; atMs < 5; atMs++) {
      const node = await openTestReplica(disk);
      fill(node, atMs);
      await node.time.settle();
      expect(said(node.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
      await closeReplica(node);
    }
  });

  test.each([
    ['the list of them is damaged', TREES_KEY],
    ['one of them is damaged', treeKey(partitionOf(hash32(KEYS[0] as Buffer)))],
  ])('are rebuilt when %s', async (_, entry) => {
    const disk = await stopped();
    await change(disk, entry, flip);
    expect((await openUnwalked(disk)).replica.trees.ready).toBe(false);
    await crash(disk);
    const node = await openTestReplica(disk);
    expect(node.replica.trees.ready).toBe(true);
    expect(said(node.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
  });

  test('are rebuilt after a crash, though some were saved before', async () => {
    const disk = await stopped();
    const crashed = await openTestReplica(disk);
    fill(crashed, 9);
    await crashed.time.settle();
    await crash(disk);
    expect((await openUnwalked(disk)).replica.trees.ready).toBe(false);
    await crash(disk);
    const node = await openTestReplica(disk);
    expect(said(node.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
  });

  test('that were not ready at a clean stop leave nothing to load', async () => {
    const disk = await stopped();
    await change(disk, TREES_KEY, flip);
    let pass: (() => void) | undefined;
    disk.walkGate = new Promise((resolve) => {
      pass = resolve;
    });
    const unready = await openTestReplica(disk);
    const closed = unready.replica.close();
    pass?.();
    disk.walkGate = undefined;
    await unready.time.settle();
    await closed;
    const node = await openUnwalked(disk);
    expect((await node.replica.status()).stoppedCleanly).toBe(true);
    expect(node.replica.trees.ready).toBe(false);
  });
});

test('a record that cannot be read adds nothing to trees that are rebuilt, and its key is remembered', async () => {
  const disk = await stopped();
  const key = KEYS[0] as Buffer;
  await change(disk, recordKey(key), flip);
  await change(disk, TREES_KEY, flip);
  const node = await openTestReplica(disk);
  expect(said(node.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
  expect(node.replica.trees.totals().records).toBe(KEYS.length - 1);
  expect(node.replica.corruptKeys.map((one) => Buffer.from(one.key))).toEqual([key]);
  expect(await node.replica.status()).toMatchObject({ treesReady: true, corruptKeys: 1 });
  const cursor = disk.store.cursor(ALL_RECORDS);
  expect(await cursor.next(100)).toHaveLength(KEYS.length);
});
