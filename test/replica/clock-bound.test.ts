import { expect, test } from 'vitest';
import { compareVersions } from '../../src/core/version.js';
import { createFaultyDisk } from './faulty-disk.js';
import {
  closeReplica,
  MAX_DRIFT_MS,
  openTestReplica,
  START_WALL_MS,
  type TestReplica,
} from './fixtures.js';
import { createVirtualTime } from '../virtual-time.js';

async function stampOf({ replica, time }: TestReplica) {
  const stamping = replica.stamp();
  await time.settle();
  return stamping;
}

test('the first stamp waits for the bound, the next ones come from below it without a commit', async () => {
  const disk = createFaultyDisk();
  const node = await openTestReplica(disk);
  const commits = disk.commits;
  const first = await stampOf(node);
  expect(first.wallMs).toBe(START_WALL_MS);
  expect(disk.commits).toBe(commits + 1);
  expect(node.replica.hlc.limitMs).toBe(START_WALL_MS + MAX_DRIFT_MS);
  for (let i = 0; i < 100; i++) await stampOf(node);
  expect(disk.commits).toBe(commits + 1);
});

test('stamps that go on raise the bound ahead of time, and an idle clock writes nothing', async () => {
  const disk = createFaultyDisk();
  const node = await openTestReplica(disk);
  await stampOf(node);
  const commits = disk.commits;
  await node.time.advance(MAX_DRIFT_MS * 0.6);
  await stampOf(node);
  expect(disk.commits).toBe(commits + 1);
  await node.time.advance(3_600_000);
  expect(disk.commits).toBe(commits + 1);
});

test('no version is issued twice over crashes, whatever the wall clock does meanwhile', async () => {
  const disk = createFaultyDisk();
  const time = createVirtualTime(START_WALL_MS);
  let last = { wallMs: 0, logical: 0, writerHi: 0, writerLo: 0 };
  for (const jumpMs of [0, 200, -900, 0, -400, 5_000, -100]) {
    time.clock.skewMs += jumpMs;
    const node = await openTestReplica(disk, {}, time);
    for (let i = 0; i < 20; i++) {
      const version = await stampOf(node).catch(() => undefined);
      if (version !== undefined) {
        expect(compareVersions(version, last)).toBeGreaterThan(0);
        last = version;
      }
      await time.advance(7);
    }
    // A crash: nothing is said to the store but that it is closed.
    await disk.store.close();
  }
  expect(last.wallMs).toBeGreaterThan(START_WALL_MS + 4_000);
});

test('a node that is back at once stamps no further ahead than every replica takes', async () => {
  const disk = createFaultyDisk();
  const time = createVirtualTime(START_WALL_MS);
  const node = await openTestReplica(disk, {}, time);
  await stampOf(node);
  await disk.store.close();
  const again = await openTestReplica(disk, {}, time);
  const version = await stampOf(again);
  expect(version.wallMs - time.clock.wallMs()).toBeLessThanOrEqual(MAX_DRIFT_MS + 1);
});

test('a wall clock that went back for long is said, and nothing is written for it', async () => {
  const disk = createFaultyDisk();
  const time = createVirtualTime(START_WALL_MS);
  const node = await openTestReplica(disk, {}, time);
  await stampOf(node);
  await closeReplica(node);
  time.clock.skewMs = -3_600_000;
  const again = await openTestReplica(disk, {}, time);
  const commits = disk.commits;
  await expect(stampOf(again)).rejects.toMatchObject({ code: 'CLOCK_DRIFT', outcome: 'none' });
  expect(disk.commits).toBe(commits);
});

test('without a disk for the bound no stamp is issued, and stamps come again when it is back', async () => {
  const disk = createFaultyDisk();
  const node = await openTestReplica(disk);
  disk.failNextCommit = 'written';
  disk.openFailures = 1;
  const failed = node.replica.stamp();
  const outcome = expect(failed).rejects.toMatchObject({ code: 'STORE_FAILED', outcome: 'none' });
  await node.time.settle();
  await outcome;
  await expect(stampOf(node)).rejects.toMatchObject({ code: 'STORE_FAILED', outcome: 'none' });
  await node.time.advance(5_000);
  expect((await stampOf(node)).wallMs).toBeGreaterThanOrEqual(START_WALL_MS);
});

test('a node that crashes at once, again and again, does not run away from the wall', async () => {
  const disk = createFaultyDisk();
  const time = createVirtualTime(START_WALL_MS);
  for (let life = 0; life < 20; life++) {
    const node = await openTestReplica(disk, {}, time);
    const version = await stampOf(node);
    expect(version.wallMs - time.clock.wallMs()).toBeLessThanOrEqual(MAX_DRIFT_MS + life);
    await disk.store.close();
  }
});

test('stamps are issued where every sync takes longer than a limit reaches', async () => {
  const disk = createFaultyDisk();
  const { replica, time } = await openTestReplica(disk);
  const syncSlowly = () => {
    disk.gate = new Promise((resolve) => {
      time.timers.after(2 * MAX_DRIFT_MS, () => {
        syncSlowly();
        resolve();
      });
    });
  };
  syncSlowly();
  let stampedAtMs: number | undefined;
  void replica.stamp().then(({ wallMs }) => {
    stampedAtMs = wallMs;
    return undefined;
  });
  await time.advance(20 * MAX_DRIFT_MS);
  // The first sync told how slow the disk is; the limit that follows reaches beyond the next one.
  expect(stampedAtMs).toBe(START_WALL_MS + 4 * MAX_DRIFT_MS);
});
