import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { partitionOf } from '../../src/core/placement.js';
import { LEASE_MS } from '../../src/core/lease.js';
import { encodeVersion } from '../../src/core/version.js';
import { isReplicaFailure, type Peer } from '../../src/io/peer.js';
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
  proposalOf,
  readOne,
  recordOf,
  START_WALL_MS,
  type TestReplica,
} from '../replica/fixtures.js';
import { wrapPeer } from '../sim/wrap.js';
import { ALL_PARTITIONS, put, ThreeReplicas } from './three-replicas.js';

const KEY = 'k';
const PARTITION = partitionOf(hash32(bytes(KEY)));

/** A refill of the first replica. */
function refillOf(three: ThreeReplicas): Refill {
  const self = three.of(0);
  const { fences, sweeper, promiseAnswers: promises } = self;
  const { clock, timers } = three.time;
  const ports = { self, fences, promises, sweeper, clock, timers, placementVersion: () => 1 };
  return new Refill(ports, new AbortController().signal);
}

/** The first replica has forgotten, and is refilled from these. */
async function refill(three: ThreeReplicas, sources: readonly Peer[]): Promise<void> {
  const refilled = refillOf(three);
  for (const source of sources) {
    expect(await three.finish(refilled.from(source, ALL_PARTITIONS))).toBeUndefined();
  }
  expect(await three.finish(refilled.finish())).toBeUndefined();
}

function nodesOf(three: ThreeReplicas): [TestReplica, TestReplica, TestReplica] {
  const [a, b, c] = [0, 1, 2].map((node) => ({ time: three.time, replica: three.of(node) }));
  return [a, b, c] as [TestReplica, TestReplica, TestReplica];
}

const ballotAt = (atMs: number): Uint8Array =>
  encodeVersion({ wallMs: START_WALL_MS + atMs, logical: 0, writerHi: 0, writerLo: 1 });

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
    await refill(three, [busy]);
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

    await refill(three, [three.far(1)]);
    expect(await three.contents(0)).toEqual(new Map());
  });

  test('does not vote for a copy from below a promise that another round relies on', async () => {
    const disk = memoryStoreOpener();
    const three = await ThreeReplicas.open(disk);
    const [forgot, promiser, holder] = nodesOf(three);
    // A round whose ballot this one and the replica that forgot have promised: neither had seen what the third holds.
    const ballot = ballotAt(20);
    const low = recordOf(bytes(KEY), 10);
    await applyOne(holder, bytes(KEY), low, { source: 'accept' });
    expect(await prepareOne(promiser, bytes(KEY), ballot)).toEqual({ kind: 'promised' });

    await refill(three, [promiser.replica, holder.replica]);
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

  test.each(['before', 'after'])(
    'does not vote for a copy from within a lease, heard of %s it, on which another round relies',
    async (when) => {
      const three = await ThreeReplicas.open();
      const [forgot, lessor, holder] = nodesOf(three);
      // What the writer proposed last, and this one and the replica that forgot had accepted: its next ballots need no prepare.
      const leased = proposalOf(bytes(KEY), 1, true);
      const low = recordOf(bytes(KEY), 10);
      await applyOne(lessor, bytes(KEY), leased, { source: 'accept' });
      await applyOne(holder, bytes(KEY), low);

      const sources = [lessor.replica, holder.replica];
      await refill(three, when === 'before' ? sources : sources.reverse());
      const refusal = { kind: 'refused', promised: expect.any(Uint8Array) as Uint8Array };
      expect(await readOne(forgot, bytes(KEY))).toMatchObject(refusal);
      expect(await applyOne(forgot, bytes(KEY), low)).toMatchObject(refusal);
      expect(await prepareOne(forgot, bytes(KEY), ballotAt(LEASE_MS - 1))).toMatchObject(refusal);

      // The next ballot in the lease is chosen by the other two, and whoever goes above it meets it.
      const next = proposalOf(bytes(KEY), 20);
      for (const node of [lessor, holder]) {
        const applied = await applyOne(node, bytes(KEY), next, { source: 'accept' });
        expect(applied).toEqual({ kind: 'applied' });
      }
      const after = proposalOf(bytes(KEY), LEASE_MS);
      expect(await applyOne(forgot, bytes(KEY), after, { source: 'accept' })).toEqual({
        kind: 'applied',
      });
      expect(await readOne(forgot, bytes(KEY))).toMatchObject({ kind: 'found' });
    },
  );

  test('takes over what a source is in doubt about, and is in doubt about it as well', async () => {
    const three = await ThreeReplicas.open();
    const [forgot, doubting, other] = nodesOf(three);
    // Of a folder that is not empty, only what differs is copied.
    await three.hold(0, [put('other')]);
    const held = { key: bytes(KEY), ballot: ballotAt(20) };
    await applyOne(doubting, held.key, recordOf(held.key, 10));
    await three.finish(doubting.replica.promiseAnswers.adopt([held]));
    await refill(three, [other.replica, doubting.replica]);
    expect([...(await three.contents(0)).keys()]).toContain(KEY);
    const refusal = { kind: 'refused', promised: held.ballot };
    expect(await readOne(forgot, held.key)).toMatchObject(refusal);
    for (const node of [forgot, doubting]) {
      const record = Uint8Array.from(recordOf(held.key, 10));
      expect(await prepareOne(node, held.key, ballotAt(30))).toEqual({ kind: 'promised', record });
    }
  });

  test('from the only other replica is in doubt about nothing, and keeps to what was promised', async () => {
    const three = await ThreeReplicas.open();
    const [forgot, source] = nodesOf(three);
    const record = recordOf(bytes(KEY), 10);
    await applyOne(source, bytes(KEY), record);
    const ballot = ballotAt(20);
    expect(await prepareOne(source, bytes(KEY), ballot)).toMatchObject({ kind: 'promised' });
    await refill(three, [source.replica]);
    expect(await readOne(forgot, bytes(KEY))).toMatchObject({ kind: 'found' });
    expect(await applyOne(forgot, bytes(KEY), recordOf(bytes(KEY), 15))).toMatchObject({
      kind: 'refused',
      promised: ballot,
    });
  });
});
