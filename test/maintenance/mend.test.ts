import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { compareRecords, headerOf } from '../../src/core/record.js';
import { encodeVersion } from '../../src/core/version.js';
import type { ReadAnswer, ReplicaFailure } from '../../src/io/peer.js';
import { silentLog } from '../../src/io/log.js';
import { createPlacement, partitionOf } from '../../src/core/placement.js';
import { StoreError } from '../../src/io/store.js';
import { choose, startMending } from '../../src/maintenance/mend.js';
import { startScrub } from '../../src/maintenance/scrub.js';
import { recordKey } from '../../src/replica/layout.js';
import { createFaultyDisk } from '../replica/faulty-disk.js';
import {
  applyOne,
  bytes,
  IDENTITY,
  openTestReplica,
  readOne,
  recordOf,
  START_WALL_MS,
  type TestReplica,
} from '../replica/fixtures.js';
import { said, treesOnDisk } from '../replica/tree-fixtures.js';
import { seededRandom } from '../seeded-random.js';
import { createVirtualTime } from '../virtual-time.js';
import { FarPeer } from './far-peer.js';

const KEY = bytes('key');
const KEY_HASH = hash32(KEY);
const DOWN: ReplicaFailure = { kind: 'unreachable', code: 'UNAVAILABLE', message: 'down' };

const fenceAt = (atMs: number) =>
  encodeVersion({ wallMs: START_WALL_MS + atMs, logical: 0xffff, writerHi: 0, writerLo: 0 });

function found(atMs: number, fenceMs?: number): ReadAnswer {
  const record = recordOf(KEY, atMs);
  const fence = fenceMs === undefined ? {} : { fence: fenceAt(fenceMs) };
  return { kind: 'found', header: headerOf(record), record, ...fence };
}

function absent(fenceMs?: number): ReadAnswer {
  return { kind: 'absent', ...(fenceMs === undefined ? {} : { fence: fenceAt(fenceMs) }) };
}

const chosen = (answers: readonly ReadAnswer[], needed: number) =>
  choose(answers, needed, KEY_HASH);

describe('what stands in the place of a record that cannot be read', () => {
  test('is the newest of enough others, whatever the order in which they answer', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 2, maxLength: 5 }), (stamps) => {
        const newest = recordOf(KEY, Math.max(...stamps));
        const record = chosen(
          stamps.map((atMs) => found(atMs)),
          2,
        )?.record;
        expect(record !== undefined && compareRecords(record, newest)).toBe(0);
      }),
      { seed: 4, numRuns: 50 },
    );
  });

  test('waits for as many as it takes: a failure is no answer, nor is a record that fails its checksum', () => {
    const damaged = Buffer.from(recordOf(KEY, 9));
    damaged.writeUInt8(damaged.readUInt8(30) ^ 1, 30);
    const lie: ReadAnswer = { kind: 'found', header: headerOf(damaged), record: damaged };
    for (const other of [DOWN, lie]) expect(chosen([found(1), other], 2)).toBeUndefined();
    expect(chosen([found(1), DOWN], 1)?.record).toEqual(recordOf(KEY, 1));
    expect(chosen([], 1)).toBeUndefined();
  });

  test('is nothing when all others have nothing', () => {
    expect(chosen([absent(), absent(5)], 2)).toEqual({ record: undefined });
  });

  test('is nothing that a fence has passed where there is nothing, unless its holder has committed the fence', () => {
    expect(chosen([found(4), absent(5)], 2)).toEqual({ record: undefined });
    expect(chosen([found(4, 3), absent(5)], 2)).toEqual({ record: undefined });
    expect(chosen([found(4, 5), absent(5)], 2)?.record).toEqual(recordOf(KEY, 4));
    expect(chosen([found(6), absent(5)], 2)?.record).toEqual(recordOf(KEY, 6));
    expect(chosen([found(4), found(3, 5)], 2)?.record).toEqual(recordOf(KEY, 4));
  });
});

describe('a record that went bad', () => {
  const placement = createPlacement(
    ['n1', 'n2', 'n3'].map((id) => ({ id, address: `${id}:1`, zone: 'z' })),
    3,
  );

  /** Three replicas, the first of which mends and scrubs; the others hold a newer record of the key. */
  async function open() {
    const time = createVirtualTime(START_WALL_MS);
    const disk = createFaultyDisk();
    const nodes: TestReplica[] = [];
    for (const member of placement.members) {
      const identity = { ...IDENTITY, nodeId: member.id };
      nodes.push(
        await openTestReplica(nodes.length === 0 ? disk : createFaultyDisk(), { identity }, time),
      );
    }
    const [node, ...others] = nodes as [TestReplica, TestReplica, TestReplica];
    await applyOne(node, KEY, recordOf(KEY, 1));
    for (const other of others) await applyOne(other, KEY, recordOf(KEY, 2));
    const peers = new Map(
      others.map(({ replica }) => [replica.nodeId, new FarPeer(replica, time)]),
    );
    const damaged = Buffer.from(recordOf(KEY, 1));
    damaged.writeUInt8(damaged.readUInt8(30) ^ 1, 30);
    await disk.store.batch().put(recordKey(KEY), damaged).commit({ sync: true });
    const { replica } = node;
    const { clock, timers } = time;
    const warned: string[] = [];
    const log = { ...silentLog, warn: (_: object, message: string) => void warned.push(message) };
    startMending({
      replica,
      placement: () => placement,
      peerOf: (id) => peers.get(id),
      clock,
      timers,
      log,
      everyMs: 100,
    });
    startScrub({ replica, timers, random: seededRandom(3), log, everyMs: 10 });
    return { time, disk, node, peers, warned };
  }

  test('is found by the scrub, brought back from the others, and the trees are those of the disk again', async () => {
    const { time, disk, node } = await open();
    await time.advance(10 * 256 + 1_000);
    const record = await disk.store.get(recordKey(KEY));
    expect(Buffer.from(record ?? [])).toEqual(recordOf(KEY, 2));
    expect(await readOne(node, KEY)).toMatchObject({ kind: 'found' });
    expect(said(node.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
    expect(await node.replica.status()).toMatchObject({
      mended: 1,
      corruptKeys: 0,
      treesDiffered: 0,
    });
    expect(await applyOne(node, KEY, recordOf(KEY, 3))).toEqual({ kind: 'applied' });
  });

  test('stays as it is while too few of the others can be asked', async () => {
    const { time, disk, node, peers, warned } = await open();
    const away = peers.get('n3') as FarPeer;
    away.connected = false;
    await time.advance(10_000);
    expect(await readOne(node, KEY)).toMatchObject({ code: 'RECORD_CORRUPT' });
    expect(warned).toEqual([expect.stringContaining('records that fail their checksums: 1;')]);
    away.connected = true;
    await time.advance(200);
    expect(await readOne(node, KEY)).toMatchObject({ kind: 'found' });
    expect(said(node.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
  });
});

test('records that cannot be mended yet hold up no others', async () => {
  const time = createVirtualTime(START_WALL_MS);
  const members = ['n1', 'n2', 'n3', 'n4'].map((id) => ({ id, address: `${id}:1`, zone: 'z' }));
  const placement = createPlacement(members, 2);
  const isShared = (key: Buffer, other: number): boolean => {
    const replicas = placement.preference[partitionOf(hash32(key))] as readonly number[];
    return replicas.includes(0) && replicas.includes(other);
  };
  const all = Array.from({ length: 20_000 }, (_, i) => bytes(`key/${i}`));
  const ofSecond = all.filter((key) => isShared(key, 1)).slice(0, 300);
  const [ofThird] = all.filter((key) => isShared(key, 2)) as [Buffer];
  const disk = createFaultyDisk();
  const identity = { ...IDENTITY, nodeId: 'n1' };
  const { replica } = await openTestReplica(disk, { identity }, time);
  const third = await openTestReplica(
    createFaultyDisk(),
    { identity: { ...IDENTITY, nodeId: 'n3' } },
    time,
  );
  const batch = disk.store.batch();
  for (const key of [...ofSecond, ofThird]) batch.put(recordKey(key), Buffer.alloc(40));
  await batch.commit({ sync: true });
  const node = { replica, time };
  for (const key of [...ofSecond, ofThird]) {
    expect(await readOne(node, key)).toMatchObject({ code: 'RECORD_CORRUPT' });
  }
  await applyOne(third, ofThird, recordOf(ofThird, 1));
  const way = new FarPeer(third.replica, time);
  const { clock, timers } = time;
  startMending({
    replica,
    placement: () => placement,
    peerOf: (id) => (id === 'n3' ? way : undefined),
    clock,
    timers,
    log: silentLog,
    everyMs: 100,
  });
  await time.advance(500);
  expect(await readOne(node, ofThird)).toMatchObject({ kind: 'found' });
  expect(replica.corruptKeys).toHaveLength(300);
});

test('the scrub passes over a partition that cannot be read, and comes back to it', async () => {
  const disk = createFaultyDisk();
  const node = await openTestReplica(disk);
  await applyOne(node, KEY, recordOf(KEY, 1));
  disk.damagedKey = recordKey(KEY);
  const { timers } = node.time;
  const random = seededRandom(3);
  startScrub({ replica: node.replica, timers, random, log: silentLog, everyMs: 10 });
  await node.time.advance(10 * 257);
  expect((await node.replica.status()).scrubPasses).toBeGreaterThan(254 / 256);
  disk.damagedKey = undefined;
  await node.time.advance(10 * 257);
  expect((await node.replica.status()).scrubPasses).toBeGreaterThan(510 / 256);
});

test('the scrub has records walked over again when that could not be done', async () => {
  const disk = createFaultyDisk();
  const first = await openTestReplica(disk);
  await applyOne(first, KEY, recordOf(KEY, 1));
  const closed = first.replica.close();
  await first.time.settle();
  await closed;
  disk.walkGate = Promise.reject(new StoreError('failed', 'Input/output error'));
  const node = await openTestReplica(disk);
  await node.time.settle();
  expect(await node.replica.status()).toMatchObject({ treesReady: true, filterComplete: false });
  disk.walkGate = undefined;
  const { timers } = node.time;
  const random = seededRandom(3);
  startScrub({ replica: node.replica, timers, random, log: silentLog, everyMs: 10 });
  await node.time.advance(20);
  expect(await node.replica.status()).toMatchObject({ treesReady: true, filterComplete: true });
});

test('the scrub has trees that have gone wrong rebuilt', async () => {
  const disk = createFaultyDisk();
  const node = await openTestReplica(disk);
  await applyOne(node, KEY, recordOf(KEY, 1));
  node.replica.trees.replace(KEY_HASH, undefined, recordOf(KEY, 5));
  const { timers } = node.time;
  startScrub({
    replica: node.replica,
    timers,
    random: seededRandom(3),
    log: silentLog,
    everyMs: 10,
  });
  await node.time.advance(10 * 256 + 100);
  expect(said(node.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
  expect((await node.replica.status()).treesDiffered).toBe(1);
});
