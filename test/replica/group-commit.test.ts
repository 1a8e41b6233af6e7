import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareRecords } from '../../src/core/record.js';
import { memoryStoreOpener } from '../../src/io/memory-store.js';
import { silentLog } from '../../src/io/log.js';
import type { ApplyAnswer } from '../../src/io/peer.js';
import type { StoreOpener } from '../../src/io/store.js';
import { DEFAULT_QUEUE_BOUNDS } from '../../src/replica/apply-queue.js';
import { recordKey } from '../../src/replica/layout.js';
import { closeGate, createFaultyDisk } from './faulty-disk.js';
import {
  applyCall,
  applyOne,
  bytes,
  closeReplica,
  openTestReplica,
  readOne,
  recordOf,
  scanOf,
  stampedAt,
  type TestApply,
  type TestReplica,
} from './fixtures.js';

const PING = { from: 'n9', rumours: [] };

const KEY = bytes('key');

function say(answer: ApplyAnswer | undefined): string {
  if (answer === undefined) return 'nothing yet';
  if (answer.kind === 'applied') return 'applied';
  if (answer.kind === 'kept') return `kept ${stampedAt(answer.header)}`;
  return `${answer.kind} ${answer.code}`;
}

function send({ replica }: TestReplica, calls: readonly TestApply[]): void {
  calls.forEach((call, slot) => replica.apply(call, slot));
}

const said = (calls: readonly TestApply[]) => calls.map((call) => say(call.answers[0]));

describe('the group commit', () => {
  test('answers when the batch is synced, not before, and never within the call', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    const open = closeGate(disk);
    const call = applyCall(KEY, recordOf(KEY, 1));
    node.replica.apply(call, 0);
    expect(call.answers).toEqual([]);
    await node.time.settle();
    expect(call.answers).toEqual([]);
    open();
    await node.time.settle();
    expect(said([call])).toEqual(['applied']);
  });

  test('what comes while a batch is written is the next group, in one batch', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    const before = disk.commits;
    const open = closeGate(disk);
    send(node, [applyCall(KEY, recordOf(KEY, 1))]);
    await node.time.settle();
    const calls = ['a', 'b', 'c'].map((key) => applyCall(bytes(key), recordOf(bytes(key), 1)));
    send(node, calls);
    await node.time.settle();
    expect(disk.commits).toBe(before + 1);
    open();
    await node.time.settle();
    expect(said(calls)).toEqual(['applied', 'applied', 'applied']);
    expect(disk.commits).toBe(before + 2);
  });

  test('calls on one key in one group leave the newest, and each hears what is on disk', async () => {
    const node = await openTestReplica(createFaultyDisk());
    const newest = recordOf(KEY, 5);
    const calls = [
      applyCall(KEY, recordOf(KEY, 3)),
      applyCall(KEY, newest),
      applyCall(KEY, recordOf(KEY, 4)),
      applyCall(KEY, recordOf(KEY, 5)),
    ];
    send(node, calls);
    await node.time.settle();
    expect(said(calls)).toEqual(['kept 5', 'applied', 'kept 5', 'kept 5']);
    expect(say(await applyOne(node, KEY, recordOf(KEY, 4)))).toBe('kept 5');
    expect(say(await applyOne(node, KEY, recordOf(KEY, 6)))).toBe('applied');
  });

  test('a group that changes nothing writes nothing', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    await applyOne(node, KEY, recordOf(KEY, 5));
    const commits = disk.commits;
    expect(say(await applyOne(node, KEY, recordOf(KEY, 5)))).toBe('kept 5');
    expect(disk.commits).toBe(commits);
  });

  test('neither new keys nor keys lately written are read from the disk', async () => {
    const disk = createFaultyDisk();
    const first = await openTestReplica(disk);
    const before = disk.keysRead;
    for (let at = 1; at <= 3; at++) await applyOne(first, KEY, recordOf(KEY, at));
    expect(disk.keysRead).toBe(before);
    await closeReplica(first);

    const second = await openTestReplica(disk);
    const opened = disk.keysRead;
    expect(say(await applyOne(second, KEY, recordOf(KEY, 2)))).toBe('kept 3');
    expect(disk.keysRead).toBe(opened + 1);
    expect(say(await applyOne(second, KEY, recordOf(KEY, 4)))).toBe('applied');
    expect(say(await applyOne(second, bytes('new'), recordOf(bytes('new'), 1)))).toBe('applied');
    expect(disk.keysRead).toBe(opened + 1);
  });

  test('a new key that is too long to be remembered is looked up the second time', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    const long = Buffer.alloc(4_096, 'k');
    const before = disk.keysRead;
    expect(say(await applyOne(node, long, recordOf(long, 2)))).toBe('applied');
    expect(disk.keysRead).toBe(before);
    expect(say(await applyOne(node, long, recordOf(long, 1)))).toBe('kept 2');
    expect(disk.keysRead).toBe(before + 1);
  });

  test('until the walk over the disk is done every key is looked up, and none is missed afterwards', async () => {
    const disk = createFaultyDisk();
    const long = Buffer.alloc(300, 'k');
    const first = await openTestReplica(disk);
    await applyOne(first, KEY, recordOf(KEY, 5));
    await closeReplica(first);

    const openWalk = closeGate(disk, 'walkGate');
    const node = await openTestReplica(disk);
    const opened = disk.keysRead;
    expect(say(await applyOne(node, KEY, recordOf(KEY, 3)))).toBe('kept 5');
    expect(say(await applyOne(node, long, recordOf(long, 5)))).toBe('applied');
    expect(disk.keysRead).toBe(opened + 2);
    expect((await node.replica.status()).filterComplete).toBe(false);

    openWalk();
    await node.time.settle();
    expect((await node.replica.status()).filterComplete).toBe(true);
    expect(say(await applyOne(node, long, recordOf(long, 3)))).toBe('kept 5');
    expect(disk.keysRead).toBe(opened + 3);
    await applyOne(node, bytes('new'), recordOf(bytes('new'), 1));
    expect(disk.keysRead).toBe(opened + 3);
  });

  test('a call past its deadline is refused and never applied', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    const open = closeGate(disk);
    send(node, [applyCall(bytes('first'), recordOf(bytes('first'), 1))]);
    await node.time.settle();
    const late = applyCall(KEY, recordOf(KEY, 1), { deadlineMs: 50 });
    const inTime = applyCall(KEY, recordOf(KEY, 2), { deadlineMs: 51 });
    send(node, [late, inTime]);
    await node.time.advance(50);
    open();
    await node.time.settle();
    expect(said([late, inTime])).toEqual(['refused TIMED_OUT', 'applied']);
  });

  test('beyond what may wait, calls are refused with OVERLOADED while those before them go on', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk, {
      queueBounds: { ...DEFAULT_QUEUE_BOUNDS, queueCalls: 2 },
    });
    const calls = [1, 2, 3].map((at) => applyCall(KEY, recordOf(KEY, at)));
    send(node, calls);
    expect(calls.flatMap((call) => call.answers)).toEqual([]);
    await node.time.settle();
    expect(said(calls)).toEqual(['kept 2', 'applied', 'refused OVERLOADED']);
  });

  test('counts its batches on disk', async () => {
    const disk = createFaultyDisk();
    const first = await openTestReplica(disk);
    for (let at = 1; at <= 3; at++) await applyOne(first, KEY, recordOf(KEY, at));
    expect((await first.replica.status()).commitCounter).toBe(3);
    await closeReplica(first);
    // A start is one too, and leaps ahead (starts.ts).
    const second = await openTestReplica(disk);
    const { commitCounter } = await second.replica.status();
    expect(commitCounter).toBeGreaterThan(2 ** 24);
    await applyOne(second, KEY, recordOf(KEY, 4));
    expect(await second.replica.ping(PING)).toMatchObject({ commitCounter: commitCounter + 1 });
  });
});

describe('a stored record that fails its checksum', () => {
  test('is not overwritten and not read, and other keys are served', async () => {
    const disk = createFaultyDisk();
    const first = await openTestReplica(disk);
    await applyOne(first, KEY, recordOf(KEY, 1));
    await closeReplica(first);
    const store = await disk.open();
    const damaged = Buffer.from(recordOf(KEY, 1));
    damaged.writeUInt8(damaged.readUInt8(30) ^ 1, 30);
    await store.batch().put(recordKey(KEY), damaged).commit({ sync: true });
    await store.close();

    const node = await openTestReplica(disk);
    const other = applyCall(bytes('other'), recordOf(bytes('other'), 1));
    const calls = [
      applyCall(KEY, recordOf(KEY, 2)),
      other,
      applyCall(KEY, recordOf(KEY, 3), { source: 'copy' }),
    ];
    send(node, calls);
    await node.time.settle();
    expect(said(calls)).toEqual(['refused RECORD_CORRUPT', 'applied', 'refused RECORD_CORRUPT']);
    expect(await readOne(node, KEY)).toMatchObject({ kind: 'refused', code: 'RECORD_CORRUPT' });
    expect((await node.replica.status()).corrupt).toBe(1);
  });

  test('is not taken for what was last written, once it has been seen', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    const damage = async () => {
      const damaged = Buffer.from(recordOf(KEY, 1));
      damaged.writeUInt8(damaged.readUInt8(30) ^ 1, 30);
      await disk.store.batch().put(recordKey(KEY), damaged).commit({ sync: true });
    };
    const lookAt = [() => readOne(node, KEY), () => node.replica.scan(scanOf(), Infinity)];
    for (const look of lookAt) {
      await disk.store.batch().del(recordKey(KEY)).commit({ sync: true });
      const key = bytes('another');
      await applyOne(node, key, recordOf(key, 1));
      await applyOne(node, KEY, recordOf(KEY, 1));
      await damage();
      await look();
      expect(say(await applyOne(node, KEY, recordOf(KEY, 1)))).toBe('refused RECORD_CORRUPT');
    }
  });

  test('on a block that LevelDB cannot read silences its own keys only', async () => {
    const disk = createFaultyDisk();
    const first = await openTestReplica(disk);
    for (const key of ['a', 'b', 'c']) await applyOne(first, bytes(key), recordOf(bytes(key), 1));
    await closeReplica(first);
    const node = await openTestReplica(disk);
    disk.damagedKey = recordKey(bytes('b'));
    const calls = ['a', 'b', 'c'].map((key) => applyCall(bytes(key), recordOf(bytes(key), 2)));
    send(node, calls);
    await node.time.settle();
    expect(said(calls)).toEqual(['applied', 'refused STORE_FAILED', 'applied']);
    expect(await readOne(node, bytes('b'))).toMatchObject({ code: 'STORE_FAILED' });
    expect(await readOne(node, bytes('c'))).toMatchObject({ kind: 'found' });
  });
});

describe('a commit that fails', () => {
  test.each(['written', 'lost'] as const)(
    'is unknown to its callers (the batch was %s); the store is reopened, and disk and memory agree',
    async (fault) => {
      const disk = createFaultyDisk();
      const node = await openTestReplica(disk);
      await applyOne(node, KEY, recordOf(KEY, 1));
      disk.failNextCommit = fault;
      disk.openFailures = 2;
      const group = [applyCall(KEY, recordOf(KEY, 2)), applyCall(KEY, recordOf(KEY, 0))];
      send(node, group);
      await node.time.settle();
      expect(said(group)).toEqual(['failed STORE_FAILED', 'failed STORE_FAILED']);

      // Closed, and not open again yet.
      expect(say(await applyOne(node, KEY, recordOf(KEY, 3)))).toBe('refused STORE_FAILED');
      expect(await readOne(node, KEY)).toMatchObject({ kind: 'refused', code: 'STORE_FAILED' });

      await node.time.advance(2_000);
      const onDisk = fault === 'written' ? 2 : 1;
      expect(say(await applyOne(node, KEY, recordOf(KEY, 0)))).toBe(`kept ${onDisk}`);
      expect(say(await applyOne(node, KEY, recordOf(KEY, 3)))).toBe('applied');
      // The counter goes on from what is on disk: one batch before, perhaps the failed one, one since.
      expect((await node.replica.status()).commitCounter).toBe(fault === 'written' ? 3 : 2);
    },
  );

  test('that could not even be put together is given up, and the next one is taken', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    disk.failNextPut = true;
    expect(say(await applyOne(node, KEY, recordOf(KEY, 1)))).toBe('refused STORE_FAILED');
    expect(disk.discarded).toBe(1);
    expect(say(await applyOne(node, KEY, recordOf(KEY, 1)))).toBe('applied');
  });

  test('has what waited behind it refused, never applied', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    const open = closeGate(disk);
    const first = applyCall(KEY, recordOf(KEY, 1));
    send(node, [first]);
    await node.time.settle();
    disk.failNextCommit = 'lost';
    const waiting = applyCall(bytes('b'), recordOf(bytes('b'), 1));
    send(node, [waiting]);
    open();
    await node.time.settle();
    expect(said([first, waiting])).toEqual(['failed STORE_FAILED', 'refused STORE_FAILED']);
    expect(await readOne(node, bytes('b'))).toEqual({ kind: 'absent' });
  });

  test('on a full disk leaves reads as they were until there is room, and says each thing once', async () => {
    const disk = createFaultyDisk();
    const told: string[] = [];
    const tell = (_fields: object, message: string) => told.push(message);
    const log = { ...silentLog, info: tell, warn: tell, error: tell };
    const node = await openTestReplica(disk, { log });
    await applyOne(node, KEY, recordOf(KEY, 1));
    disk.failNextCommit = 'lost';
    disk.room = false;
    expect(say(await applyOne(node, KEY, recordOf(KEY, 2)))).toBe('failed STORE_FAILED');
    await node.time.advance(10_000);
    expect(say(await applyOne(node, KEY, recordOf(KEY, 3)))).toBe('refused STORE_FAILED');
    expect(await readOne(node, KEY)).toMatchObject({ kind: 'found' });
    expect(node.replica.problem).toMatch(/Input\/output error; no write is taken/);
    disk.room = true;
    await node.time.advance(1_000);
    expect(say(await applyOne(node, KEY, recordOf(KEY, 3)))).toBe('applied');
    expect(node.replica.problem).toBeUndefined();
    expect(told).toHaveLength(3);
  });

  test('is not got over with a disk that has lost what was synced: that answers nothing', async () => {
    const disk = createFaultyDisk();
    let isGone = false;
    const opener: StoreOpener = {
      open: () => (isGone ? memoryStoreOpener().open() : disk.open()),
      hasRoom: () => disk.hasRoom(),
      verify: () => disk.verify(),
      acceptDamage: () => disk.acceptDamage(),
    };
    const node = await openTestReplica(opener);
    await applyOne(node, KEY, recordOf(KEY, 1));
    disk.failNextCommit = 'lost';
    isGone = true;
    await applyOne(node, KEY, recordOf(KEY, 2));
    await node.time.advance(5_000);
    expect(say(await applyOne(node, KEY, recordOf(KEY, 3)))).toBe('refused STORE_FAILED');
    expect(await readOne(node, KEY)).toMatchObject({ kind: 'refused', code: 'STORE_FAILED' });
    isGone = false;
    await node.time.advance(1_000);
    expect(await readOne(node, KEY)).toMatchObject({ kind: 'found' });
    expect(say(await applyOne(node, KEY, recordOf(KEY, 3)))).toBe('applied');
  });

  test('does not keep the replica from stopping, and the stop is not called clean', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    disk.failNextCommit = 'lost';
    disk.openFailures = 1;
    await applyOne(node, KEY, recordOf(KEY, 1));
    const closed = node.replica.close();
    await node.time.advance(1_000);
    await closed;
    const again = await openTestReplica(disk);
    expect((await again.replica.status()).stoppedCleanly).toBe(false);
  });
});

test('any calls in any order, with failing commits and restarts, leave the newest record that was taken', async () => {
  const keys = ['a', 'b', 'c', 'd'].map(bytes);
  const event = fc.oneof(
    { weight: 12, arbitrary: fc.record({ key: fc.nat(3), at: fc.nat(40), wait: fc.boolean() }) },
    { weight: 1, arbitrary: fc.constantFrom('written' as const, 'lost' as const) },
    { weight: 1, arbitrary: fc.constant('restart' as const) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 40 }), async (events) => {
      const disk = createFaultyDisk();
      let node = await openTestReplica(disk);
      const calls: TestApply[] = [];
      for (const what of events) {
        if (what === 'restart') {
          await closeReplica(node);
          node = await openTestReplica(disk);
        } else if (typeof what === 'string') {
          disk.failNextCommit = what;
        } else {
          const key = keys[what.key] as Buffer;
          const call = applyCall(key, recordOf(key, what.at));
          calls.push(call);
          node.replica.apply(call, 0);
          if (what.wait) await node.time.settle();
        }
      }
      disk.failNextCommit = undefined;
      await node.time.advance(5_000);
      for (const key of keys) {
        const mine = calls.filter((call) => call.key === key);
        expect(mine.every((call) => call.answers.length === 1)).toBe(true);
        const read = await readOne(node, key);
        const held = read?.kind === 'found' ? read.record : undefined;
        // It is the record of a call that was not refused, and no older than any whose caller was told that it is on disk.
        for (const call of mine) {
          const answer = call.answers[0] as ApplyAnswer;
          if (answer.kind === 'applied') {
            expect(held !== undefined && compareRecords(held, call.record) >= 0).toBe(true);
          } else if (answer.kind === 'kept') {
            expect(compareRecords(answer.header, call.record)).toBeGreaterThanOrEqual(0);
            expect(held !== undefined && compareRecords(held, answer.header) >= 0).toBe(true);
          }
        }
        if (held !== undefined) {
          const source = mine.find((call) => compareRecords(call.record, held) === 0);
          expect(source?.answers[0]?.kind).not.toBe('refused');
        }
      }
      await closeReplica(node);
    }),
    { seed: 42, numRuns: 150 },
  );
});
