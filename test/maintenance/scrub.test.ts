import { expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { silentLog } from '../../src/io/log.js';
import { StoreError } from '../../src/io/store.js';
import { startScrub } from '../../src/maintenance/scrub.js';
import { recordKey, segmentEntryKey } from '../../src/replica/layout.js';
import { createFaultyDisk } from '../replica/faulty-disk.js';
import { applyOne, bytes, closeReplica, openTestReplica, recordOf } from '../replica/fixtures.js';
import { said, treesOnDisk } from '../replica/tree-fixtures.js';
import { seededRandom } from '../seeded-random.js';

const KEY = bytes('key');
const KEY_HASH = hash32(KEY);

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

test('the scrub leaves a replica to its refill whose log has lost an entry of the index', async () => {
  const disk = createFaultyDisk();
  const before = await openTestReplica(disk);
  await applyOne(before, KEY, recordOf(KEY, 1));
  await disk.store.batch().del(segmentEntryKey(KEY_HASH, KEY)).commit({ sync: true });
  await closeReplica(before);
  for (const [trustFolder, differed] of [
    [false, 0],
    [true, 1],
  ] as const) {
    const node = await openTestReplica(disk, { trustFolder });
    const random = seededRandom(3);
    const { timers } = node.time;
    startScrub({ replica: node.replica, timers, random, log: silentLog, everyMs: 10 });
    await node.time.advance(10 * 257);
    expect((await node.replica.status()).treesDiffered).toBe(differed);
    await closeReplica(node);
  }
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
