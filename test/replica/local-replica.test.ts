import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { compareKeys } from '../../src/core/key-range.js';
import { partitionOf } from '../../src/core/placement.js';
import {
  encodeRecord,
  expiryOf,
  HEADER_BYTES,
  headerOf,
  versionOf,
} from '../../src/core/record.js';
import { digestOfRecords } from '../../src/core/scan-digest.js';
import { systemClock } from '../../src/io/clock.js';
import { levelStoreOpener } from '../../src/io/level-store.js';
import { silentLog } from '../../src/io/log.js';
import { memoryStoreOpener } from '../../src/io/memory-store.js';
import type { ApplyAnswer, ReplicaPage, ReplicaScan } from '../../src/io/peer.js';
import { systemRandom } from '../../src/io/random.js';
import { systemTimers } from '../../src/io/timers.js';
import { recordKey } from '../../src/replica/layout.js';
import { openLocalReplica } from '../../src/replica/local-replica.js';
import { closeGate, createFaultyDisk } from './faulty-disk.js';
import {
  applyCall,
  applyOne,
  bytes,
  closeReplica,
  IDENTITY,
  MAX_DRIFT_MS,
  openTestReplica,
  readCall,
  readOne,
  recordOf,
  scanOf,
  stampedAt,
  START_WALL_MS,
  type TestReplica,
} from './fixtures.js';

const PING = { from: 'n9', rumours: [] };

const KEY = bytes('key');

function keysOf(page: ReplicaPage): string[] {
  return page.entries.map((entry) => Buffer.from(entry.key).toString());
}

async function pageOf({ replica }: TestReplica, choices: Partial<ReplicaScan> = {}) {
  const page = await replica.scan(scanOf(choices), Number.POSITIVE_INFINITY);
  if (page.kind !== 'page') throw new Error(page.message);
  return page;
}

async function filled(keys: readonly string[]): Promise<TestReplica> {
  const node = await openTestReplica(memoryStoreOpener());
  for (const key of keys) node.replica.apply(applyCall(bytes(key), recordOf(bytes(key), 1)), 0);
  await node.time.settle();
  return node;
}

function bitmapOf(...partitions: number[]): Uint8Array {
  const bits = new Uint8Array(32);
  for (const partition of partitions) bits[partition >> 3] = 1 << (partition & 7);
  return bits;
}

describe('the door of a replica', () => {
  test('refuses a record that fails its checksum, or belongs to another key', async () => {
    const node = await openTestReplica(memoryStoreOpener());
    const flipped = Buffer.from(recordOf(KEY, 1));
    flipped.writeUInt8(flipped.readUInt8(26) ^ 1, 26);
    const refusal = {
      kind: 'refused',
      code: 'INVALID_ARGUMENT',
      message: 'record: fails its checksum',
    };
    expect(await applyOne(node, KEY, flipped)).toEqual(refusal);
    expect(await applyOne(node, KEY, recordOf(bytes('other'), 1))).toEqual(refusal);
    expect(await applyOne(node, KEY, new Uint8Array(3))).toEqual(refusal);
    expect(await readOne(node, KEY)).toEqual({ kind: 'absent' });
  });

  test('refuses a write too far ahead, takes the same record as a copy, and keeps its clock', async () => {
    const node = await openTestReplica(memoryStoreOpener());
    const farMs = 3 * MAX_DRIFT_MS + 1;
    const record = recordOf(KEY, farMs);
    expect(await applyOne(node, KEY, record)).toMatchObject({
      kind: 'refused',
      code: 'CLOCK_DRIFT',
      message: expect.stringContaining(`${farMs} ms ahead`) as unknown,
    });
    expect((await node.replica.status()).driftRefusals).toBe(1);
    expect(await applyOne(node, KEY, record, { source: 'copy' })).toEqual({ kind: 'applied' });
    expect(node.replica.hlc.latest.wallMs).toBeLessThan(START_WALL_MS);
    const edge = recordOf(bytes('edge'), 3 * MAX_DRIFT_MS);
    expect(await applyOne(node, bytes('edge'), edge)).toEqual({ kind: 'applied' });
  });

  test('observes what it takes: a later stamp is above it', async () => {
    const node = await openTestReplica(memoryStoreOpener());
    await applyOne(node, KEY, recordOf(KEY, MAX_DRIFT_MS));
    const stamping = node.replica.stamp();
    await node.time.settle();
    expect((await stamping).wallMs).toBeGreaterThanOrEqual(START_WALL_MS + MAX_DRIFT_MS);
  });

  test('refuses an older placement than its own, and nothing is called back within a call', async () => {
    const node = await openTestReplica(memoryStoreOpener(), { placementVersion: () => 7 });
    const old = { placementVersion: 6 };
    const apply = applyCall(KEY, recordOf(KEY, 1), old);
    const read = readCall(KEY, old);
    node.replica.apply(apply, 0);
    node.replica.read(read, 0, 'record');
    expect([...apply.answers, ...read.answers]).toEqual([]);
    await node.time.settle();
    const refusal = { kind: 'refused', code: 'PLACEMENT_CHANGED' };
    expect(apply.answers).toMatchObject([refusal]);
    expect(read.answers).toMatchObject([refusal]);
    expect(await node.replica.scan(scanOf(old), Infinity)).toMatchObject(refusal);
    const now = { placementVersion: 7 };
    expect(await applyOne(node, KEY, recordOf(KEY, 1), now)).toEqual({ kind: 'applied' });
  });
});

describe('reads of a replica', () => {
  test('give the record or its header, and absence', async () => {
    const node = await openTestReplica(memoryStoreOpener());
    const record = recordOf(KEY, 1);
    await applyOne(node, KEY, record);
    const header = record.subarray(0, HEADER_BYTES);
    expect(await readOne(node, KEY)).toEqual({
      kind: 'found',
      header: Uint8Array.from(header),
      record: Uint8Array.from(record),
    });
    expect(await readOne(node, KEY, 'header')).toEqual({
      kind: 'found',
      header: Uint8Array.from(header),
    });
    expect(await readOne(node, bytes('none'))).toEqual({ kind: 'absent' });
  });

  test('of one turn share one read of the store, and late ones are not read', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    await applyOne(node, KEY, recordOf(KEY, 1));
    const before = disk.keysRead;
    await node.time.advance(10);
    const calls = [readCall(KEY), readCall(KEY, { deadlineMs: 10 }), readCall(bytes('none'))];
    for (const call of calls) node.replica.read(call, 0, 'record');
    await node.time.settle();
    expect(calls.map((call) => call.answers.map((answer) => answer.kind))).toEqual([
      ['found'],
      ['refused'],
      ['absent'],
    ]);
    expect(calls[1]?.answers[0]).toMatchObject({ code: 'TIMED_OUT' });
    expect(disk.keysRead).toBe(before + 2);
  });

  test('of a header that memory knows do not touch the disk, and stay what was read before', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    await applyOne(node, KEY, recordOf(KEY, 1));
    const before = disk.keysRead;
    const first = await readOne(node, KEY, 'header');
    expect(disk.keysRead).toBe(before);
    await applyOne(node, KEY, recordOf(KEY, 2));
    expect(first).toMatchObject({ header: Uint8Array.from(headerOf(recordOf(KEY, 1))) });
    expect(await readOne(node, KEY, 'header')).toMatchObject({
      header: Uint8Array.from(headerOf(recordOf(KEY, 2))),
    });
  });

  test('never go backwards while a batch that can be read already has not told memory', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    await applyOne(node, KEY, recordOf(KEY, 1));
    const tell = closeGate(disk, 'lateWord');
    const write = applyCall(KEY, recordOf(KEY, 2));
    node.replica.apply(write, 0);
    await node.time.settle();
    expect(write.answers).toEqual([]);
    const newer = Uint8Array.from(headerOf(recordOf(KEY, 2)));
    expect(await readOne(node, KEY)).toMatchObject({ header: newer });
    expect(await readOne(node, KEY, 'header')).toMatchObject({ header: newer });
    tell();
    await node.time.settle();
    expect(write.answers).toEqual([{ kind: 'applied' }]);
  });

  test('are all answered, however many there are', async () => {
    const node = await openTestReplica(memoryStoreOpener());
    await applyOne(node, KEY, recordOf(KEY, 1));
    const calls = Array.from({ length: 5_000 }, () => readCall(KEY));
    for (const call of calls) node.replica.read(call, 0, 'header');
    await node.time.settle();
    expect(calls.every((call) => call.answers.length === 1)).toBe(true);
    expect(calls.every((call) => call.answers[0]?.kind === 'found')).toBe(true);
  });
});

describe('scans of a replica', () => {
  test('give whole records or headers, by partition, and pass over the partitions not asked for', async () => {
    const node = await filled(['a', 'b', 'c']);
    const [a, b] = ['a', 'b'].map((key) => partitionOf(hash32(bytes(key)))) as [number, number];
    const page = await pageOf(node, { partitions: bitmapOf(a, b), whole: bitmapOf(b) });
    expect(keysOf(page)).toEqual(['a', 'b']);
    expect(page.entries.map((entry) => entry.record.length > HEADER_BYTES)).toEqual([false, true]);
    expect(page.scannedTo).toBeUndefined();
  });

  test('give with a header the expiry, where the record has one', async () => {
    const node = await filled(['a']);
    const expiresAtMs = START_WALL_MS + 5_000;
    const version = versionOf(recordOf(bytes('b'), 1));
    const fields = { version, tombstone: false, expiresAtMs, value: bytes('v') };
    await applyOne(node, bytes('b'), encodeRecord(bytes('b'), fields));
    const page = await pageOf(node, { whole: new Uint8Array(32) });
    expect(page.entries.map(({ record }) => [record.length, expiryOf(record)])).toEqual([
      [HEADER_BYTES, undefined],
      [HEADER_BYTES + 6, expiresAtMs],
    ]);
  });

  test('stop at the limit and at the bytes, but always come further', async () => {
    const node = await filled(['a', 'b', 'c', 'd']);
    const page = await pageOf(node, { limit: 2 });
    expect(keysOf(page)).toEqual(['a', 'b']);
    expect(page.scannedTo).toEqual(Uint8Array.from(bytes('b')));
    const small = await pageOf(node, { maxBytes: 1, reverse: true });
    expect(keysOf(small)).toEqual(['d']);
    expect(small.scannedTo).toEqual(Uint8Array.from(bytes('d')));
  });

  test('come as a digest where that is asked for, of just the page that would have come', async () => {
    const node = await filled(['a', 'b', 'c', 'd']);
    for (const choices of [{}, { limit: 2 }, { maxBytes: 1 }, { reverse: true, limit: 3 }]) {
      const { entries, ...rest } = await pageOf(node, choices);
      const digest = digestOfRecords(entries);
      expect(await pageOf(node, { ...choices, asDigest: true })).toEqual({
        ...rest,
        entries: [],
        digest,
      });
    }
  });

  test('are bounded by the work when they find nothing', async () => {
    const node = await filled(
      Array.from({ length: 1_100 }, (_, i) => `key/${String(i).padStart(6, '0')}`),
    );
    const none = new Uint8Array(32);
    const page = await pageOf(node, { partitions: none, limit: 1 });
    expect(page.entries).toEqual([]);
    expect(page.scannedTo).toEqual(Uint8Array.from(bytes('key/001027')));
    const rest = await pageOf(node, { partitions: none, limit: 1, gte: bytes('key/001028') });
    expect(rest.scannedTo).toBeUndefined();
  });

  test('page by page give every key of the range once, in order, either way', async () => {
    const names = Array.from({ length: 60 }, (_, i) => `${i % 7}/${i}`).sort();
    const node = await filled(names);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(61),
        fc.nat(61),
        fc.boolean(),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 400 }),
        async (x, y, reverse, limit, maxBytes) => {
          let gte = bytes(names[Math.min(x, y)] ?? '9');
          let lt = bytes(names[Math.max(x, y)] ?? '');
          const upTo = lt.length === 0 ? bytes('~') : lt;
          const expected = names.filter(
            (name) => compareKeys(bytes(name), gte) >= 0 && compareKeys(bytes(name), upTo) < 0,
          );
          if (reverse) expected.reverse();
          const found: string[] = [];
          for (;;) {
            const page = await pageOf(node, { gte, lt, reverse, limit, maxBytes });
            expect(page.entries.length).toBeLessThanOrEqual(limit);
            found.push(...keysOf(page));
            if (page.scannedTo === undefined) break;
            if (reverse) lt = Buffer.from(page.scannedTo);
            else gte = Buffer.concat([page.scannedTo, Uint8Array.of(0)]);
          }
          expect(found).toEqual(expected);
        },
      ),
      { seed: 9, numRuns: 60 },
    );
  });

  test('name the keys that cannot be read, and go on', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    for (const key of ['a', 'b', 'c']) await applyOne(node, bytes(key), recordOf(bytes(key), 1));
    const damaged = Buffer.alloc(40, 1);
    await disk.store
      .batch()
      .put(recordKey(bytes('b')), damaged)
      .commit({ sync: true });
    const page = await pageOf(node);
    expect(keysOf(page)).toEqual(['a', 'c']);
    expect(page.corrupt.map((key) => Buffer.from(key).toString())).toEqual(['b']);
  });

  test('come whole, though a digest is asked for, while the replica abstains on a key', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    for (const key of ['a', 'b', 'c']) await applyOne(node, bytes(key), recordOf(bytes(key), 1));
    const spoil = (record: Uint8Array): Promise<void> =>
      disk.store
        .batch()
        .put(recordKey(bytes('b')), record)
        .commit({ sync: true });
    await spoil(Buffer.alloc(40, 1));
    expect((await pageOf(node, { asDigest: true })).corrupt).toHaveLength(1);
    // The disk gives it again, and it still counts for nothing until it has been mended.
    await spoil(recordOf(bytes('b'), 1));
    const page = await pageOf(node, { asDigest: true });
    expect(keysOf(page)).toEqual(['a', 'c']);
    expect(page.corrupt.map((key) => Buffer.from(key).toString())).toEqual(['b']);
    expect(page.digest).toBeUndefined();
  });

  test('past their deadline, or with a bitmap of the wrong size, are refused', async () => {
    const node = await filled(['a']);
    expect(await node.replica.scan(scanOf(), 0)).toMatchObject({ code: 'TIMED_OUT' });
    const bad = scanOf({ whole: new Uint8Array(31) });
    expect(await node.replica.scan(bad, Infinity)).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(await node.replica.scan(scanOf({ limit: 0 }), Infinity)).toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });
});

describe('the life of a replica', () => {
  test('a ping says where its clock and its state stand', async () => {
    const node = await openTestReplica(memoryStoreOpener(), { quarantined: () => true });
    await applyOne(node, KEY, recordOf(KEY, 3));
    const pong = await node.replica.ping(PING);
    expect(pong).toMatchObject({
      kind: 'pong',
      nodeId: 'n1',
      wallMs: START_WALL_MS,
      quarantined: true,
      commitCounter: 1,
      incarnation: node.replica.standing.incarnation,
      placementVersion: 1,
    });
    expect(pong.kind === 'pong' && pong.hlc.wallMs).toBe(START_WALL_MS + 3);
  });

  test('closing answers what was taken, refuses what comes later, and keeps everything', async () => {
    const disk = memoryStoreOpener();
    const node = await openTestReplica(disk);
    const apply = applyCall(KEY, recordOf(KEY, 1));
    const read = readCall(bytes('none'));
    node.replica.apply(apply, 0);
    node.replica.read(read, 0, 'record');
    const closed = node.replica.close();
    expect(node.replica.close()).toBe(closed);
    const late = applyCall(KEY, recordOf(KEY, 2));
    node.replica.apply(late, 0);
    await node.time.settle();
    await closed;
    expect(apply.answers).toEqual([{ kind: 'applied' }]);
    expect(read.answers).toEqual([{ kind: 'absent' }]);
    expect(late.answers).toMatchObject([{ kind: 'refused', code: 'UNAVAILABLE' }]);
    expect(await node.replica.ping(PING)).toMatchObject({ kind: 'refused', code: 'UNAVAILABLE' });
    expect(await node.replica.scan(scanOf(), Infinity)).toMatchObject({ code: 'UNAVAILABLE' });

    const again = await openTestReplica(disk);
    expect((await again.replica.status()).stoppedCleanly).toBe(true);
    const found = await readOne(again, KEY);
    expect(found?.kind === 'found' && stampedAt(found.header)).toBe(1);
    await closeReplica(again);
  });

  test('on LevelDB and in real time, what was applied is there after a restart', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'quorate-replica-'));
    const open = () =>
      openLocalReplica({
        opener: levelStoreOpener(folder),
        identity: IDENTITY,
        clock: systemClock,
        timers: systemTimers,
        random: systemRandom,
        log: silentLog,
        maxDriftMs: MAX_DRIFT_MS,
        placementVersion: () => 1,
        quarantined: () => false,
        trustFolder: true,
      });
    const keys = Array.from({ length: 500 }, (_, i) => bytes(`key/${i % 400}`));
    try {
      const first = await open();
      const answers = await Promise.all(
        keys.map(
          (key, i) =>
            new Promise<ApplyAnswer>((resolve) => {
              first.apply(applyCall(key, recordOf(key, i), {}, resolve), 0);
            }),
        ),
      );
      expect(answers.filter((answer) => answer.kind === 'applied')).toHaveLength(400);
      expect((await first.status()).storeBytes).toBeGreaterThan(10_000);
      await first.close();

      const second = await open();
      expect((await second.status()).stoppedCleanly).toBe(true);
      const page = await second.scan(scanOf({ limit: 1_000 }), Number.POSITIVE_INFINITY);
      expect(page.kind === 'page' && page.entries.length).toBe(400);
      expect(page.kind === 'page' && page.entries.every(({ record }) => stampedAt(record) >= 100));
      await second.close();
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
