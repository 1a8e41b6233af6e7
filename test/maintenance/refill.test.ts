import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { partitionOf } from '../../src/core/placement.js';
import { encodeVersion } from '../../src/core/version.js';
import { isReplicaFailure } from '../../src/io/peer.js';
import { Refill } from '../../src/maintenance/refill.js';
import { segmentEntryKey } from '../../src/replica/layout.js';
import { createFaultyDisk } from '../replica/faulty-disk.js';
import { memoryStoreOpener } from '../../src/io/memory-store.js';
import {
  applyCall,
  applyOne,
  bytes,
  closeReplica,
  IDENTITY,
  openTestReplica,
  prepareOne,
  readOne,
  recordOf,
  START_WALL_MS,
  type TestReplica,
} from '../replica/fixtures.js';
import { wrapPeer } from '../sim/wrap.js';
import { ALL_PARTITIONS, put, ThreeReplicas } from './three-replicas.js';

const KEY = 'k';
const PARTITION = partitionOf(hash32(bytes(KEY)));

describe('a refill', () => {
  test('that misses what its source drops meanwhile takes over the fence under which it was dropped', async () => {
    const three = await ThreeReplicas.open();
    await three.hold(1, [{ ...put(KEY, 500), tombstone: true }]);
    await three.time.advance(10 * 60_000);
    const wallMs = START_WALL_MS + 1_000;
    const fence = encodeVersion({ wallMs, logical: 0, writerHi: 0, writerLo: 1 });
    const source = three.of(1);
    const request = { partition: PARTITION, fence };
    const promise = await three.finish(source.ask('promise-fence', request, Infinity));
    if (isReplicaFailure(promise)) throw new Error(promise.message);

    const { clock, timers } = three.time;
    const self = three.of(0);
    const far = three.far(1);
    let isCommitted = false;
    const busy = wrapPeer(far, {
      // The replica sealed it before it forgot, so the vote goes on without it.
      async scan(scan, deadlineMs) {
        if (!isCommitted) {
          isCommitted = true;
          await source.ask('seal-fence', { ...request, mark: promise.mark }, Infinity);
          await source.ask('commit-fence', { ...request, promised: fence }, Infinity);
        }
        return source.scan(scan, deadlineMs);
      },
    });
    const { fences, sweeper, promiseAnswers: promises } = self;
    const ports = { self, fences, promises, sweeper, clock, timers, placementVersion: () => 1 };
    const refill = new Refill(ports, new AbortController().signal);
    expect(await three.finish(refill.from(busy, ALL_PARTITIONS))).toBeUndefined();
    expect(await three.finish(refill.finish())).toBeUndefined();
    expect(isCommitted).toBe(true);

    // A copy of what was deleted, on its way since before it was.
    const old = applyCall(bytes(KEY), recordOf(bytes(KEY), 0), { source: 'copy' });
    self.apply(old, 0);
    await three.time.until(() => old.answers.length > 0, 1_000);
    expect(old.answers[0]?.kind).toBe('refused');
    expect(await three.contents(0)).toEqual(new Map());
  });

  test('gives up what a fence has passed though its log has lost that it holds the key', async () => {
    const disk = createFaultyDisk();
    const three = await ThreeReplicas.open(disk);
    await three.hold(0, [put(KEY)]);
    await disk.store
      .batch()
      .del(segmentEntryKey(hash32(bytes(KEY)), bytes(KEY)))
      .commit({ sync: true });
    await three.time.advance(10 * 60_000);
    const source = three.of(1);
    const wallMs = START_WALL_MS + 1_000;
    const fence = encodeVersion({ wallMs, logical: 0, writerHi: 0, writerLo: 1 });
    const request = { partition: PARTITION, fence };
    const promise = await three.finish(source.ask('promise-fence', request, Infinity));
    if (isReplicaFailure(promise)) throw new Error(promise.message);
    await three.finish(source.ask('seal-fence', { ...request, mark: promise.mark }, Infinity));
    await three.finish(source.ask('commit-fence', { ...request, promised: fence }, Infinity));

    const { clock, timers } = three.time;
    const self = three.of(0);
    const { fences, sweeper, promiseAnswers: promises } = self;
    const ports = { self, fences, promises, sweeper, clock, timers, placementVersion: () => 1 };
    const refill = new Refill(ports, new AbortController().signal);
    expect(await three.finish(refill.from(three.far(1), ALL_PARTITIONS))).toBeUndefined();
    expect(await three.finish(refill.finish())).toBeUndefined();
    expect(await three.contents(0)).toEqual(new Map());
  });

  test('does not vote for a copy from below a promise that another round relies on', async () => {
    const disk = memoryStoreOpener();
    const three = await ThreeReplicas.open(disk);
    const [forgot, promiser, holder] = [0, 1, 2].map((node) => ({
      time: three.time,
      replica: three.of(node),
    })) as [TestReplica, TestReplica, TestReplica];
    // A round whose ballot this one and the replica that forgot have promised: neither had seen what the third holds.
    const ballot = encodeVersion({
      wallMs: START_WALL_MS + 20,
      logical: 0,
      writerHi: 0,
      writerLo: 1,
    });
    const low = recordOf(bytes(KEY), 10);
    await applyOne(holder, bytes(KEY), low, { source: 'accept' });
    expect(await prepareOne(promiser, bytes(KEY), ballot)).toEqual({ kind: 'promised' });

    const { clock, timers } = three.time;
    const self = forgot.replica;
    const { fences, sweeper, promiseAnswers: promises } = self;
    const ports = { self, fences, promises, sweeper, clock, timers, placementVersion: () => 1 };
    const refill = new Refill(ports, new AbortController().signal);
    expect(await three.finish(refill.from(promiser.replica, ALL_PARTITIONS))).toBeUndefined();
    expect(await three.finish(refill.from(holder.replica, ALL_PARTITIONS))).toBeUndefined();
    expect(await three.finish(refill.finish())).toBeUndefined();
    expect([...(await three.contents(0)).keys()]).toEqual([KEY]);

    const abstains = async (node: TestReplica): Promise<void> => {
      const refusal = { kind: 'refused', promised: ballot };
      for (const part of ['header', 'record'] as const) {
        expect(await readOne(node, bytes(KEY), part)).toMatchObject(refusal);
      }
      for (const source of ['write', 'accept', 'copy'] as const) {
        expect(await applyOne(node, bytes(KEY), low, { source })).toMatchObject(refusal);
      }
    };
    await abstains(forgot);
    await closeReplica(forgot);
    const restarted = await openTestReplica(disk, { identity: IDENTITY }, three.time);
    await abstains(restarted);

    // The round goes on, and is chosen without the copy.
    const high = recordOf(bytes(KEY), 20);
    for (const node of [promiser, holder, restarted]) {
      const applied = await applyOne(node, bytes(KEY), high, { source: 'accept' });
      expect(applied).toEqual({ kind: 'applied' });
    }
    expect(await readOne(restarted, bytes(KEY))).toMatchObject({ kind: 'found' });
    expect(await applyOne(restarted, bytes(KEY), low)).toMatchObject({ kind: 'kept' });
    await closeReplica(restarted);
    const again = await openTestReplica(disk, { identity: IDENTITY }, three.time);
    expect(await readOne(again, bytes(KEY))).toMatchObject({ kind: 'found' });
  });
});
