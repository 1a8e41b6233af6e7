import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { addPartition, emptyPartitionSet } from '../../src/core/partition-set.js';
import { partitionOf } from '../../src/core/placement.js';
import { encodeVersion } from '../../src/core/version.js';
import type { AskKind, AskReply, AskRequest } from '../../src/io/peer-asks.js';
import type { ReplicaFailure } from '../../src/io/peer.js';
import { encodeFenceEntry } from '../../src/replica/fence-table.js';
import { fenceKey, recordKey, segmentEntryKey } from '../../src/replica/layout.js';
import { seededRandom } from '../seeded-random.js';
import { createFaultyDisk, type FaultyDisk } from './faulty-disk.js';
import {
  applyOne,
  bytes,
  openTestReplica,
  readOne,
  recordOf,
  scanOf,
  START_WALL_MS,
  type TestReplica,
} from './fixtures.js';
import { crash, recordFor, said, treesOnDisk } from './tree-fixtures.js';

const KEY = bytes('k');
const PARTITION = partitionOf(hash32(KEY));
/** Other keys of the same partition. */
const [OTHER, DELETED, EXPIRED, EXPIRING, YOUNG, LIVE] = Array.from({ length: 20_000 }, (_, i) =>
  bytes(`key/${i}`),
).filter((key) => partitionOf(hash32(key)) === PARTITION) as [
  Buffer,
  Buffer,
  Buffer,
  Buffer,
  Buffer,
  Buffer,
];

function isHere(key: Uint8Array): boolean {
  return partitionOf(hash32(key)) === PARTITION;
}

/** A fence `atMs` after the start of the virtual wall clock, when it is 10 s later already. */
function fenceAt(atMs: number): Uint8Array {
  return encodeVersion({ wallMs: START_WALL_MS + atMs, logical: 0, writerHi: 9, writerLo: 9 });
}

async function open(disk: FaultyDisk = createFaultyDisk()): Promise<TestReplica> {
  const node = await openTestReplica(disk, { fenceLagMs: 0 });
  await node.time.advance(10_000);
  return node;
}

async function ask<K extends AskKind>(
  { replica, time }: TestReplica,
  kind: K,
  request: AskRequest<K>,
): Promise<AskReply<K> | ReplicaFailure> {
  const answer = replica.ask(kind, request, Infinity);
  await time.settle();
  return answer;
}

async function promise(node: TestReplica, fence: Uint8Array): Promise<number> {
  const answer = await ask(node, 'promise-fence', { partition: PARTITION, fence });
  if (answer.kind !== 'reply') throw new Error(answer.message);
  return answer.mark;
}

const seal = (node: TestReplica, fence: Uint8Array, mark: number) =>
  ask(node, 'seal-fence', { partition: PARTITION, fence, mark });

const commit = (node: TestReplica, fence: Uint8Array, promised = fence) =>
  ask(node, 'commit-fence', { partition: PARTITION, fence, promised });

const release = (node: TestReplica, fence: Uint8Array, promised = fence) =>
  ask(node, 'release-fence', { partition: PARTITION, fence, promised });

async function commitAt(node: TestReplica, fence: Uint8Array): Promise<void> {
  await seal(node, fence, await promise(node, fence));
  expect(await commit(node, fence)).toEqual({ kind: 'reply' });
}

/** What is promised, sealed and committed, in ms after the start; undefined: nothing. */
async function fencesOf(node: TestReplica): Promise<readonly (number | undefined)[]> {
  const partitions = emptyPartitionSet();
  addPartition(partitions, PARTITION);
  const answer = await ask(node, 'fences', { partitions });
  if (answer.kind !== 'reply') throw new Error(answer.message);
  return [0, 16, 32].map((at) => {
    const wallMs = Buffer.from(answer.fences).readUIntBE(at, 6);
    return wallMs === 0 ? undefined : wallMs - START_WALL_MS;
  });
}

const REFUSED = { kind: 'refused', code: 'REFUSED' };

describe('a promised fence', () => {
  test('keeps writes at or below it out, and lets copies and what is newer in', async () => {
    const node = await open();
    await applyOne(node, KEY, recordOf(KEY, 3));
    await promise(node, fenceAt(5));
    const write = await applyOne(node, OTHER, recordOf(OTHER, 5));
    expect(write).toMatchObject(REFUSED);
    // No round may bring on what came too late; a round itself may go on above the fence.
    expect(write).not.toHaveProperty('promised');
    const accept = await applyOne(node, OTHER, recordOf(OTHER, 5), { source: 'accept' });
    expect(accept).toMatchObject({ ...REFUSED, promised: fenceAt(5) });
    expect(await applyOne(node, OTHER, recordOf(OTHER, 5), { source: 'copy' })).toEqual({
      kind: 'applied',
    });
    expect(await applyOne(node, OTHER, recordOf(OTHER, 6))).toEqual({ kind: 'applied' });
    // A retry of what it has is answered as it was.
    expect(await applyOne(node, KEY, recordOf(KEY, 3))).toMatchObject({ kind: 'kept' });
    expect(await applyOne(node, KEY, recordOf(KEY, 2))).toMatchObject({ kind: 'kept' });
  });

  test('is above all that are promised later, which is said', async () => {
    const node = await open();
    await promise(node, fenceAt(5));
    const request = { partition: PARTITION, fence: fenceAt(4) };
    expect(await ask(node, 'promise-fence', request)).toMatchObject({ promised: fenceAt(5) });
  });

  test('is enforced from the moment on at which it is asked for, before it is on disk', async () => {
    const disk = createFaultyDisk();
    const node = await open(disk);
    disk.failNextCommit = 'lost';
    const request = { partition: PARTITION, fence: fenceAt(5) };
    expect(await ask(node, 'promise-fence', request)).toMatchObject({ code: 'STORE_FAILED' });
    await node.time.advance(2_000);
    expect(await applyOne(node, KEY, recordOf(KEY, 5))).toMatchObject(REFUSED);
    // Asked again, it is written, though memory has it already.
    await promise(node, fenceAt(5));
    await crash(disk);
    expect(await fencesOf(await open(disk))).toEqual([5, undefined, undefined]);
  });

  test('is refused near the clock, and ahead of it', async () => {
    const node = await openTestReplica(createFaultyDisk(), { fenceLagMs: 10_000 });
    for (const [atMs, code] of [
      [1, 'CLOCK_DRIFT'],
      [-4_999, 'CLOCK_DRIFT'],
      [-5_000, undefined],
    ] as const) {
      const request = { partition: PARTITION, fence: fenceAt(atMs) };
      const answer = await ask(node, 'promise-fence', request);
      expect(answer.kind === 'reply' ? undefined : answer.code).toBe(code);
    }
  });
});

describe('a sealed fence', () => {
  test('keeps copies out unless their holder has committed it', async () => {
    const node = await open();
    await seal(node, fenceAt(5), await promise(node, fenceAt(5)));
    const copy = (fence?: Uint8Array) =>
      applyOne(node, KEY, recordOf(KEY, 5), {
        source: 'copy',
        ...(fence === undefined ? {} : { fence }),
      });
    expect(await copy()).toMatchObject(REFUSED);
    expect(await copy(fenceAt(4))).toMatchObject(REFUSED);
    expect(await copy(fenceAt(5))).toEqual({ kind: 'applied' });
  });

  test('is refused after a copy below it, however it was taken, and after a restart', async () => {
    const disk = createFaultyDisk();
    const node = await open(disk);
    const mark = await promise(node, fenceAt(5));
    await applyOne(node, KEY, recordOf(KEY, 4), { source: 'copy' });
    expect(await seal(node, fenceAt(5), mark)).toMatchObject(REFUSED);
    const again = await promise(node, fenceAt(5));
    // What is newer, or loses, changes nothing below it.
    await applyOne(node, KEY, recordOf(KEY, 3), { source: 'copy' });
    await applyOne(node, KEY, recordOf(KEY, 9));
    await crash(disk);
    const restarted = await openTestReplica(disk, { fenceLagMs: 0, random: seededRandom(2) });
    await restarted.time.advance(10_000);
    expect(await seal(restarted, fenceAt(5), again)).toMatchObject(REFUSED);
    const last = await promise(restarted, fenceAt(5));
    expect(await seal(restarted, fenceAt(5), last)).toEqual({ kind: 'reply' });
  });

  test('is refused over a record that cannot be read', async () => {
    const disk = createFaultyDisk();
    const node = await open(disk);
    await applyOne(node, KEY, recordOf(KEY, 1));
    const mark = await promise(node, fenceAt(5));
    await disk.store.batch().put(recordKey(KEY), bytes('garbage')).commit({ sync: true });
    await readOne(node, KEY);
    expect(await seal(node, fenceAt(5), mark)).toMatchObject({ code: 'RECORD_CORRUPT' });
  });

  test('is refused while more records cannot be read than are remembered', async () => {
    const disk = createFaultyDisk();
    await open(disk);
    const batch = disk.store.batch();
    const others = Array.from({ length: 11_000 }, (_, i) => bytes(`a/${i}`)).filter(
      (key) => !isHere(key),
    );
    for (const key of [...others, KEY]) batch.put(recordKey(key), bytes('garbage'));
    await batch.commit({ sync: true });
    await crash(disk);
    const node = await open(disk);
    expect(node.replica.corruptKeys.some(({ key }) => isHere(key))).toBe(false);
    const mark = await promise(node, fenceAt(5));
    expect(await seal(node, fenceAt(5), mark)).toMatchObject({ code: 'RECORD_CORRUPT' });
  });

  test('is settled only by who goes by the newest promise', async () => {
    const node = await open();
    await seal(node, fenceAt(5), await promise(node, fenceAt(5)));
    await promise(node, fenceAt(7));
    expect(await commit(node, fenceAt(5))).toMatchObject(REFUSED);
    expect(await release(node, fenceAt(5))).toMatchObject(REFUSED);
    // Nothing is sealed over what is not settled.
    expect(await seal(node, fenceAt(7), await promise(node, fenceAt(7)))).toMatchObject(REFUSED);
    expect(await release(node, fenceAt(5), fenceAt(7))).toEqual({ kind: 'reply' });
    expect(await fencesOf(node)).toEqual([7, undefined, undefined]);
    expect(await commit(node, fenceAt(5), fenceAt(7))).toMatchObject(REFUSED);
    expect(await seal(node, fenceAt(7), await promise(node, fenceAt(7)))).toEqual({
      kind: 'reply',
    });
    expect(await commit(node, fenceAt(7))).toEqual({ kind: 'reply' });
    // What is told twice is done once.
    expect(await commit(node, fenceAt(7))).toEqual({ kind: 'reply' });
    expect(await release(node, fenceAt(7))).toEqual({ kind: 'reply' });
    expect(await fencesOf(node)).toEqual([7, 7, 7]);
  });

  test('may be committed by a later vote that has heard of it', async () => {
    const node = await open();
    await seal(node, fenceAt(5), await promise(node, fenceAt(5)));
    await promise(node, fenceAt(7));
    expect(await commit(node, fenceAt(5), fenceAt(7))).toEqual({ kind: 'reply' });
    expect(await fencesOf(node)).toEqual([7, 5, 5]);
  });
});

/** Whether there is a record on disk; its entry of the index must be there with it. */
async function isStored(disk: FaultyDisk, key: Uint8Array): Promise<boolean> {
  const [record, entry] = await disk.store.getMany([
    recordKey(key),
    segmentEntryKey(hash32(key), key),
  ]);
  expect(record === undefined).toBe(entry === undefined);
  return record !== undefined;
}

/** Five records of the partition: the fence at 30 hides the first two. */
async function filled(disk: FaultyDisk): Promise<TestReplica> {
  const node = await open(disk);
  const fill: readonly (readonly [Uint8Array, number, string])[] = [
    [DELETED, 1, 'delete'],
    [EXPIRED, 3, 'expire'],
    [EXPIRING, 4, 'expire'],
    [YOUNG, 31, 'delete'],
    [LIVE, 2, 'put'],
  ];
  for (const [key, atMs, kind] of fill) await applyOne(node, key, recordFor({ key, atMs, kind }));
  return node;
}

describe('a committed fence', () => {
  test('hides tombstones and what has expired at once, and takes them off the disk', async () => {
    const disk = createFaultyDisk();
    const node = await filled(disk);
    const fence = fenceAt(30);
    await commitAt(node, fence);
    for (const key of [DELETED, EXPIRED]) {
      expect(await readOne(node, key)).toEqual({ kind: 'absent', fence });
    }
    for (const key of [EXPIRING, YOUNG, LIVE]) {
      expect(await readOne(node, key)).toMatchObject({ kind: 'found', fence });
    }
    const page = await node.replica.scan(scanOf(), Infinity);
    expect(page.kind === 'page' && page.entries).toHaveLength(3);
    await node.time.settle();
    for (const key of [DELETED, EXPIRED]) expect(await isStored(disk, key)).toBe(false);
    for (const key of [EXPIRING, YOUNG, LIVE]) expect(await isStored(disk, key)).toBe(true);
    expect(node.replica.fences.dropped).toBe(2);
    expect(said(node.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
    expect(node.replica.trees.counts(PARTITION)).toMatchObject({
      records: 3,
      tombstones: 1,
      expiring: 1,
      droppableFromMs: START_WALL_MS + 31,
    });
  });

  test('takes what it hides for held, so that it does not come back from others', async () => {
    const disk = createFaultyDisk();
    const node = await filled(disk);
    await commitAt(node, fenceAt(30));
    await node.time.settle();
    const tombstone = recordFor({ key: DELETED, atMs: 1, kind: 'delete' });
    for (const fence of [undefined, fenceAt(30)]) {
      const choices = { source: 'copy', ...(fence === undefined ? {} : { fence }) } as const;
      expect(await applyOne(node, DELETED, tombstone, choices)).toMatchObject({ kind: 'kept' });
    }
    const before = recordFor({ key: DELETED, atMs: 1, kind: 'put' });
    expect(await applyOne(node, DELETED, before, { source: 'copy' })).toMatchObject(REFUSED);
    expect(await applyOne(node, DELETED, before)).toMatchObject(REFUSED);
    expect(await isStored(disk, DELETED)).toBe(false);
  });

  test('is gone on with after a crash before anything was taken off the disk', async () => {
    const disk = createFaultyDisk();
    await filled(disk);
    const fence = fenceAt(30);
    const entry = encodeFenceEntry(PARTITION, { promised: fence, sealed: fence, committed: fence });
    await disk.store.batch().put(fenceKey(PARTITION), entry).commit({ sync: true });
    await crash(disk);

    const again = await open(disk);
    expect(await readOne(again, DELETED)).toEqual({ kind: 'absent', fence });
    const dropped = again.replica.fences.dropHidden();
    await again.time.settle();
    await dropped;
    for (const key of [DELETED, EXPIRED]) expect(await isStored(disk, key)).toBe(false);
    expect(said(again.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
  });

  test('goes by what can be read, when a disk is damaged elsewhere', async () => {
    const disk = createFaultyDisk();
    const keys = Array.from({ length: 40 }, (_, i) => bytes(`gone/${i}`));
    const byPartition = new Map(keys.map((key) => [partitionOf(hash32(key)), key]));
    const before = await open(disk);
    for (const key of byPartition.values()) {
      await applyOne(before, key, recordFor({ key, atMs: 2, kind: 'delete' }));
    }
    const fence = fenceAt(30);
    const batch = disk.store.batch();
    for (const partition of byPartition.keys()) {
      const state = { promised: fence, sealed: fence, committed: fence };
      batch.put(fenceKey(partition), encodeFenceEntry(partition, state));
    }
    await batch.commit({ sync: true });
    await crash(disk);

    const node = await open(disk);
    const damaged = byPartition.get(Math.min(...byPartition.keys())) as Buffer;
    disk.damagedKey = recordKey(damaged);
    const dropped = node.replica.fences.dropHidden();
    await node.time.settle();
    await dropped;
    disk.damagedKey = undefined;
    for (const key of byPartition.values()) {
      expect(await isStored(disk, key)).toBe(key === damaged);
    }
  });
});

test.each(['promised', 'sealed', 'committed'] as const)(
  'what is %s is there after a crash',
  async (step) => {
    const disk = createFaultyDisk();
    const node = await open(disk);
    const mark = await promise(node, fenceAt(5));
    if (step !== 'promised') await seal(node, fenceAt(5), mark);
    if (step === 'committed') await commit(node, fenceAt(5));
    await crash(disk);
    const again = await open(disk);
    expect(await fencesOf(again)).toEqual([
      5,
      step === 'promised' ? undefined : 5,
      step === 'committed' ? 5 : undefined,
    ]);
    expect(await applyOne(again, KEY, recordOf(KEY, 5))).toMatchObject(REFUSED);
    const copied = await applyOne(again, KEY, recordOf(KEY, 5), { source: 'copy' });
    expect(copied?.kind).toBe(step === 'promised' ? 'applied' : 'refused');
  },
);

test('fences that are not what was written keep the folder from being opened', async () => {
  const disk = createFaultyDisk();
  await promise(await open(disk), fenceAt(5));
  const entry = Buffer.from((await disk.store.get(fenceKey(PARTITION))) as Uint8Array);
  entry.writeUInt8(entry.readUInt8(9) ^ 1, 9);
  await disk.store.batch().put(fenceKey(PARTITION), entry).commit({ sync: true });
  await crash(disk);
  await expect(open(disk)).rejects.toMatchObject({ code: 'STORE_FAILED' });
});

test('adopted fences are the greatest of each step, and durable', async () => {
  const disk = createFaultyDisk();
  const node = await open(disk);
  await seal(node, fenceAt(5), await promise(node, fenceAt(5)));
  const none = new Uint8Array(0);
  const state = { promised: fenceAt(9), sealed: fenceAt(4), committed: fenceAt(4) };
  const adopted = Promise.all([
    node.replica.fences.adopt(PARTITION, state),
    node.replica.fences.adopt(PARTITION, { promised: none, sealed: none, committed: none }),
  ]);
  await node.time.settle();
  await adopted;
  await crash(disk);
  expect(await fencesOf(await open(disk))).toEqual([9, 5, 4]);
});

test('what names no partition or no fence is refused', async () => {
  const node = await open();
  const bad = { code: 'INVALID_ARGUMENT' };
  for (const request of [
    { partition: 256, fence: fenceAt(1) },
    { partition: 0.5, fence: fenceAt(1) },
    { partition: 1, fence: new Uint8Array(15) },
  ]) {
    expect(await ask(node, 'promise-fence', request)).toMatchObject(bad);
    expect(await ask(node, 'seal-fence', { ...request, mark: 0 })).toMatchObject(bad);
    const settlement = { ...request, promised: request.fence };
    expect(await ask(node, 'commit-fence', settlement)).toMatchObject(bad);
    expect(await ask(node, 'release-fence', settlement)).toMatchObject(bad);
  }
  expect(await ask(node, 'fences', { partitions: new Uint8Array(31) })).toMatchObject(bad);
});
