import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { compareRecords, headerOf, VERSION_AT } from '../../src/core/record.js';
import { encodeVersion, VERSION_BYTES } from '../../src/core/version.js';
import type { ReadAnswer, ReplicaFailure } from '../../src/io/peer.js';
import { silentLog } from '../../src/io/log.js';
import { createPlacement, partitionOf } from '../../src/core/placement.js';
import { choose, isWhole, startMending } from '../../src/maintenance/mend.js';
import { startScrub } from '../../src/maintenance/scrub.js';
import { recordKey } from '../../src/replica/layout.js';
import { createFaultyDisk } from '../replica/faulty-disk.js';
import {
  applyOne,
  bytes,
  prepareOne,
  IDENTITY,
  openTestReplica,
  proposalOf,
  readOne,
  recordOf,
  scanOf,
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

function damagedCopy(record: Uint8Array): Buffer {
  const damaged = Buffer.from(record);
  damaged.writeUInt8(damaged.readUInt8(30) ^ 1, 30);
  return damaged;
}

describe('what stands in the place of a record that cannot be read', () => {
  test('is the newest of enough others, whatever the order in which they answer', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 2, maxLength: 5 }), (stamps) => {
        const newest = recordOf(KEY, Math.max(...stamps));
        const record = choose(stamps.map((atMs) => found(atMs)));
        expect(record !== undefined && compareRecords(record, newest)).toBe(0);
      }),
      { seed: 4, numRuns: 50 },
    );
  });

  test('is no failure, and no record that fails its checksum', () => {
    const damaged = damagedCopy(recordOf(KEY, 9));
    const lie: ReadAnswer = { kind: 'found', header: headerOf(damaged), record: damaged };
    const headerAlone: ReadAnswer = { kind: 'found', header: headerOf(recordOf(KEY, 1)) };
    for (const other of [DOWN, lie, headerAlone]) expect(isWhole(other, KEY_HASH)).toBe(false);
    for (const answer of [found(1), absent()]) expect(isWhole(answer, KEY_HASH)).toBe(true);
  });

  test('is nothing when all others have nothing', () => {
    expect(choose([absent(), absent(5)])).toBeUndefined();
  });

  test('is nothing that a fence has passed where there is nothing, unless its holder has committed the fence', () => {
    expect(choose([found(4), absent(5)])).toBeUndefined();
    expect(choose([found(4, 3), absent(5)])).toBeUndefined();
    expect(choose([found(4, 5), absent(5)])).toEqual(recordOf(KEY, 4));
    expect(choose([found(6), absent(5)])).toEqual(recordOf(KEY, 6));
    expect(choose([found(4), found(3, 5)])).toEqual(recordOf(KEY, 4));
  });
});

/** Each letter is a replica, and its zone. */
function membersIn(zones: string) {
  return zones.split('').map((zone, i) => ({ id: `n${i + 1}`, address: `n${i + 1}:1`, zone }));
}

describe('a record that went bad', () => {
  interface Choices {
    /** As {@link membersIn} takes them. */
    readonly zones?: string;
    readonly longestRequestMs?: number;
  }

  /** Replicas of one key, the first of which mends and scrubs; the others hold a record that is newer than 1. */
  async function open({ zones = 'zzz', longestRequestMs = 0 }: Choices = {}) {
    const time = createVirtualTime(START_WALL_MS);
    const disk = createFaultyDisk();
    const nodes: TestReplica[] = [];
    for (const member of membersIn(zones)) {
      const choices = { identity: { ...IDENTITY, nodeId: member.id }, longestRequestMs };
      const opener = nodes.length === 0 ? disk : createFaultyDisk();
      nodes.push(await openTestReplica(opener, choices, time));
    }
    const [node, ...others] = nodes as [TestReplica, TestReplica, TestReplica];
    for (const other of others) await applyOne(other, KEY, recordOf(KEY, 2));
    const peers = new Map(
      others.map(({ replica }) => [replica.nodeId, new FarPeer(replica, time)]),
    );
    const { replica } = node;
    const { clock, timers } = time;
    const warned: string[] = [];
    const log = { ...silentLog, warn: (_: object, message: string) => void warned.push(message) };
    const placement = createPlacement(membersIn(zones), zones.length);
    startMending({
      replica,
      placement: () => placement,
      peerOf: (id) => peers.get(id),
      clock,
      timers,
      log,
      everyMs: 100,
    });
    /** The first replica's record goes bad. */
    const spoil = async (record: Uint8Array): Promise<void> => {
      await disk.store.batch().put(recordKey(KEY), damagedCopy(record)).commit({ sync: true });
    };
    const scrub = (): void => {
      startScrub({ replica, timers, random: seededRandom(3), log, everyMs: 10 });
    };
    const onDisk = async (): Promise<Buffer> =>
      Buffer.from((await disk.store.get(recordKey(KEY))) ?? []);
    const isAbstaining = async (): Promise<boolean> =>
      ((await readOne(node, KEY)) as { code?: string }).code === 'RECORD_CORRUPT';
    return { time, disk, node, others, peers, warned, spoil, scrub, onDisk, isAbstaining };
  }

  test('is found by the scrub, brought back from the others, and the trees are those of the disk again', async () => {
    const { time, disk, node, spoil, scrub, onDisk } = await open();
    await applyOne(node, KEY, recordOf(KEY, 1));
    await spoil(recordOf(KEY, 1));
    scrub();
    await time.advance(10 * 256 + 2_000);
    expect(await onDisk()).toEqual(recordOf(KEY, 2));
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
    const { time, disk, node, peers, warned, spoil, isAbstaining } = await open();
    await applyOne(node, KEY, recordOf(KEY, 1));
    await spoil(recordOf(KEY, 1));
    const away = peers.get('n3') as FarPeer;
    away.connected = false;
    expect(await isAbstaining()).toBe(true);
    await time.advance(10_000);
    expect(await isAbstaining()).toBe(true);
    expect(warned).toEqual([expect.stringContaining('records that fail their checksums: 1;')]);
    away.connected = true;
    await time.advance(200);
    expect(await readOne(node, KEY)).toMatchObject({ kind: 'found' });
    expect(said(node.replica.trees)).toEqual(said(await treesOnDisk(disk.store)));
  });

  test('may have been counted in its zone alone: then so many must answer there, too', async () => {
    const { time, node, peers, spoil, isAbstaining } = await open({ zones: 'aaabb' });
    await applyOne(node, KEY, recordOf(KEY, 1));
    await spoil(recordOf(KEY, 1));
    const away = peers.get('n2') as FarPeer;
    away.connected = false;
    expect(await isAbstaining()).toBe(true);
    await time.advance(10_000);
    expect(await isAbstaining()).toBe(true);
    away.connected = true;
    (peers.get('n5') as FarPeer).connected = false;
    await time.advance(200);
    expect(await isAbstaining()).toBe(false);
  });

  test.each(['write', 'read', 'scan'] as const)(
    'comes back only when no %s can count any more what the replica said of it',
    async (kind) => {
      const { time, node, others, spoil, onDisk, isAbstaining } = await open({
        longestRequestMs: 20_000,
      });
      await time.advance(30_000);
      // What came before has been counted long since.
      const soonMs = time.clock.monotonicMs() + 1;
      await applyOne(node, KEY, recordOf(KEY, 3), { deadlineMs: soonMs });
      const deadlineMs = soonMs + 5_000;
      if (kind === 'write') await applyOne(node, KEY, recordOf(KEY, 3), { deadlineMs });
      else if (kind === 'read') await readOne(node, KEY, 'header', { deadlineMs });
      else void node.replica.scan(scanOf(), deadlineMs);
      await time.settle();
      await spoil(recordOf(KEY, 3));
      await readOne(node, KEY, 'record', { deadlineMs: soonMs });
      await time.advance(4_900);
      // With this replica, which had it, the other one is a majority: whoever waited for it counts both.
      await applyOne(others[0], KEY, recordOf(KEY, 3));
      expect(await isAbstaining()).toBe(true);
      await time.advance(1_300);
      expect(await onDisk()).toEqual(recordOf(KEY, 3));
      expect(await isAbstaining()).toBe(false);
    },
  );

  test('waits out what a process before may have said, whose deadlines nobody knows', async () => {
    const { time, spoil, isAbstaining } = await open({ longestRequestMs: 60_000 });
    await spoil(recordOf(KEY, 3));
    expect(await isAbstaining()).toBe(true);
    await time.advance(60_000);
    expect(await isAbstaining()).toBe(true);
    await time.advance(1_300);
    expect(await isAbstaining()).toBe(false);
  });

  test('is told no more until it is mended, even where the disk gives it again', async () => {
    const { time, disk, node, spoil, onDisk, isAbstaining } = await open({
      longestRequestMs: 60_000,
    });
    await applyOne(node, KEY, recordOf(KEY, 3));
    await spoil(recordOf(KEY, 3));
    expect(await isAbstaining()).toBe(true);
    await disk.store.batch().put(recordKey(KEY), recordOf(KEY, 3)).commit({ sync: true });
    expect(await isAbstaining()).toBe(true);
    const corrupt = { code: 'RECORD_CORRUPT' };
    expect(await applyOne(node, KEY, recordOf(KEY, 3))).toMatchObject(corrupt);
    const scan = node.replica.scan(scanOf(), Infinity);
    await time.settle();
    expect(await scan).toMatchObject({ entries: [], corrupt: [Uint8Array.from(KEY)] });
    await time.advance(61_300);
    expect(await readOne(node, KEY)).toMatchObject({ kind: 'found' });
    expect(await onDisk()).toEqual(recordOf(KEY, 3));
  });

  test('of two replicas comes back below a promise, for without both of them no round goes on', async () => {
    const { time, node, others, spoil, onDisk, isAbstaining } = await open({ zones: 'zz' });
    const ballot = recordOf(KEY, 5).subarray(VERSION_AT, VERSION_AT + VERSION_BYTES);
    await applyOne(node, KEY, recordOf(KEY, 1));
    for (const one of [node, others[0]]) await prepareOne(one, KEY, ballot);
    await spoil(recordOf(KEY, 1));
    expect(await isAbstaining()).toBe(true);
    await time.advance(1_300);
    expect(await onDisk()).toEqual(recordOf(KEY, 2));
  });

  test.each(['by itself', 'by another'])(
    'is followed by nothing below what has been promised %s',
    async (whose) => {
      const { time, node, others, spoil, onDisk, isAbstaining } = await open();
      const promising = whose === 'by itself' ? node : others[1];
      const ballot = recordOf(KEY, 5).subarray(VERSION_AT, VERSION_AT + VERSION_BYTES);
      await applyOne(node, KEY, recordOf(KEY, 1));
      expect(await prepareOne(promising, KEY, ballot)).toMatchObject({ kind: 'promised' });
      await spoil(recordOf(KEY, 1));
      expect(await isAbstaining()).toBe(true);
      await time.advance(5_000);
      expect(await isAbstaining()).toBe(true);
      // The round that it was promised to, or the one that settles it.
      for (const other of others) await applyOne(other, KEY, recordOf(KEY, 6));
      await time.advance(200);
      expect(await onDisk()).toEqual(recordOf(KEY, 6));
    },
  );

  test('is followed by nothing that a lease of another keeps out there', async () => {
    const { time, node, others, spoil, onDisk, isAbstaining } = await open();
    const leased = proposalOf(KEY, 5, true);
    for (const one of [node, others[1]]) await applyOne(one, KEY, leased, { source: 'accept' });
    await applyOne(others[0], KEY, recordOf(KEY, 6));
    await spoil(leased);
    expect(await isAbstaining()).toBe(true);
    await time.advance(5_000);
    expect(await isAbstaining()).toBe(true);
    // The next ballot of the lease, or the round that goes beyond it.
    const next = proposalOf(KEY, 7);
    for (const other of others) await applyOne(other, KEY, next, { source: 'accept' });
    await time.advance(200);
    expect(await onDisk()).toEqual(next);
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
  const { replica } = await openTestReplica(disk, { identity, longestRequestMs: 0 }, time);
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
  await time.advance(1_500);
  expect(await readOne(node, ofThird)).toMatchObject({ kind: 'found' });
  expect(replica.corruptKeys).toHaveLength(300);
});
