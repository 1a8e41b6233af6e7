import { describe, expect, test } from 'vitest';
import { nextVersion } from '../../src/core/hlc.js';
import { LEASE_MS } from '../../src/core/lease.js';
import { encodeLedger } from '../../src/core/ledger.js';
import { encodeRecord, headerOf, versionOf } from '../../src/core/record.js';
import { encodeVersion, readVersion, type Version } from '../../src/core/version.js';
import { memoryStoreOpener } from '../../src/io/memory-store.js';
import type { ApplySource, PrepareAnswer } from '../../src/io/peer.js';
import {
  applyCall,
  applyOne,
  bytes,
  closeReplica,
  MAX_DRIFT_MS,
  openTestReplica,
  prepareOne,
  recordOf,
  START_WALL_MS,
  type TestReplica,
} from './fixtures.js';

const KEY = bytes('key');
const SOURCES: readonly ApplySource[] = ['write', 'accept', 'copy'];
/** A multiple of LEASE_MS. */
const LEASE_START_MS = Math.ceil(START_WALL_MS / LEASE_MS) * LEASE_MS;

const at = (wallMs: number, writerLo = 1): Version => ({
  wallMs,
  logical: 0,
  writerHi: 1,
  writerLo,
});
const ballotAt = (atMs: number): Uint8Array => encodeVersion(at(START_WALL_MS + atMs));

function proposal(version: Version, leased = false): Uint8Array {
  const ledger = encodeLedger(at(1));
  return encodeRecord(KEY, { version, tombstone: false, value: bytes('v'), ledger, leased });
}

function promisedAt(answer: PrepareAnswer | { readonly kind: string } | undefined): number {
  const { promised } = answer as { promised?: Uint8Array };
  return promised === undefined ? Number.NaN : readVersion(promised, 0).wallMs - START_WALL_MS;
}

describe('a promised ballot', () => {
  test('is answered with what is on disk, whole, and with nothing where there is nothing', async () => {
    const node = await openTestReplica(memoryStoreOpener());
    expect(await prepareOne(node, KEY, ballotAt(10))).toEqual({ kind: 'promised' });
    const record = Uint8Array.from(recordOf(bytes('other'), 1));
    await applyOne(node, bytes('other'), record);
    expect(await prepareOne(node, bytes('other'), ballotAt(10))).toEqual({
      kind: 'promised',
      record,
    });
  });

  test('is answered with the header that was asked with, where that is what is on disk', async () => {
    const expiring = { tombstone: false, value: bytes('v'), expiresAtMs: START_WALL_MS + 1_000 };
    const records = [
      recordOf(KEY, 1),
      encodeRecord(KEY, { ...expiring, version: at(START_WALL_MS + 1) }),
    ];
    for (const record of records) {
      const disk = memoryStoreOpener();
      const before = await openTestReplica(disk);
      await applyOne(before, KEY, record);
      const header = headerOf(record);
      const told = { kind: 'promised', header };
      expect(await prepareOne(before, KEY, ballotAt(10), { known: header })).toEqual(told);
      await closeReplica(before);
      const after = await openTestReplica(disk);
      expect(await prepareOne(after, KEY, ballotAt(11), { known: header })).toEqual(told);
      await applyOne(after, KEY, recordOf(KEY, 12));
      const newer = Uint8Array.from(recordOf(KEY, 12));
      const now = await prepareOne(after, KEY, ballotAt(13), { known: header });
      expect(now).toEqual({ kind: 'promised', record: newer });
      const other = await prepareOne(after, bytes('other'), ballotAt(13), { known: header });
      expect(other).toEqual({ kind: 'promised' });
    }
  });

  test('keeps everything below it out, wherever it comes from, and lets in what is not', async () => {
    for (const source of SOURCES) {
      const node = await openTestReplica(memoryStoreOpener());
      await prepareOne(node, KEY, ballotAt(10));
      const below = await applyOne(node, KEY, recordOf(KEY, 9), { source });
      expect(below).toMatchObject({ kind: 'refused', code: 'REFUSED' });
      expect(promisedAt(below)).toBe(10);
      expect(await applyOne(node, KEY, recordOf(KEY, 10), { source })).toEqual({ kind: 'applied' });
      expect(await applyOne(node, KEY, recordOf(KEY, 11), { source })).toEqual({ kind: 'applied' });
      expect(await applyOne(node, KEY, recordOf(KEY, 9), { source })).toMatchObject({
        kind: 'kept',
      });
    }
  });

  test('is above what was promised before, and above what is held', async () => {
    const node = await openTestReplica(memoryStoreOpener());
    await prepareOne(node, KEY, ballotAt(10));
    for (const atMs of [9, 10]) {
      const answer = await prepareOne(node, KEY, ballotAt(atMs));
      expect(answer).toMatchObject({ kind: 'refused', code: 'REFUSED' });
      expect(promisedAt(answer)).toBe(10);
    }
    expect(await prepareOne(node, KEY, ballotAt(11))).toEqual({ kind: 'promised' });
    await applyOne(node, KEY, recordOf(KEY, 20), { source: 'accept' });
    expect(promisedAt(await prepareOne(node, KEY, ballotAt(20)))).toBe(20);
    expect(await prepareOne(node, KEY, ballotAt(21))).toMatchObject({ kind: 'promised' });
  });

  test('sees a record that came just before it, in the same batch', async () => {
    const node = await openTestReplica(memoryStoreOpener());
    const record = recordOf(KEY, 5);
    node.replica.apply(applyCall(KEY, record), 0);
    expect(await prepareOne(node, KEY, ballotAt(10))).toEqual({ kind: 'promised', record });
  });

  test('outlives a crash, until a record at or above it is on disk', async () => {
    const disk = memoryStoreOpener();
    const before = await openTestReplica(disk);
    await prepareOne(before, KEY, ballotAt(10));
    await prepareOne(before, bytes('other'), ballotAt(10));
    await applyOne(before, bytes('other'), recordOf(bytes('other'), 10), { source: 'accept' });
    await closeReplica(before);
    const after = await openTestReplica(disk);
    expect(await applyOne(after, KEY, recordOf(KEY, 9))).toMatchObject({ kind: 'refused' });
    expect(after.replica.promises.size).toBe(1);
    expect(await applyOne(after, KEY, recordOf(KEY, 10))).toEqual({ kind: 'applied' });
    expect(after.replica.promises.size).toBe(0);
    await closeReplica(after);
    const last = await openTestReplica(disk);
    expect(last.replica.promises.size).toBe(0);
  });
});

describe('a ballot far ahead of the clock', () => {
  test('is refused, unless the key has come that far already', async () => {
    const node = await openTestReplica(memoryStoreOpener());
    const far = 60_000;
    expect(await prepareOne(node, KEY, ballotAt(far))).toMatchObject({ code: 'CLOCK_DRIFT' });
    await applyOne(node, KEY, recordOf(KEY, far), { source: 'copy' });
    expect(await prepareOne(node, KEY, ballotAt(far + 1))).toMatchObject({ kind: 'promised' });
    expect(await prepareOne(node, KEY, ballotAt(far + 2))).toMatchObject({ kind: 'promised' });
    expect(await prepareOne(node, KEY, ballotAt(far + 4))).toMatchObject({ code: 'CLOCK_DRIFT' });
  });

  test('is promised next to what another replica has answered with, and no further', async () => {
    const node = await openTestReplica(memoryStoreOpener());
    const far = 60_000;
    const named = (atMs: number) => prepareOne(node, KEY, ballotAt(atMs), { above: ballotAt(far) });
    expect(await named(far + 2)).toMatchObject({ code: 'CLOCK_DRIFT' });
    expect(await named(far + 1)).toMatchObject({ kind: 'promised' });
    expect(node.replica.hlc.latest.wallMs).toBeLessThanOrEqual(START_WALL_MS + MAX_DRIFT_MS);
  });
});

describe('a replica that has forgotten', () => {
  test('takes every copy until it has what others have promised, and keeps that beside its own', async () => {
    const disk = memoryStoreOpener();
    const [source, forgot] = [
      await openTestReplica(memoryStoreOpener()),
      await openTestReplica(disk),
    ];
    for (const name of ['a', 'b', 'c']) await prepareOne(source, bytes(name), ballotAt(10));
    await prepareOne(forgot, KEY, ballotAt(20));
    const { promiseAnswers } = forgot.replica;
    promiseAnswers.setAside();
    const copy = await applyOne(forgot, KEY, recordOf(KEY, 5), { source: 'copy' });
    expect(copy).toEqual({ kind: 'applied' });
    const partitions = new Uint8Array(32).fill(0xff);
    const told = await source.replica.ask(
      'promises',
      { partitions, after: bytes('a') },
      Number.POSITIVE_INFINITY,
    );
    if (told.kind !== 'reply') throw new Error(told.message);
    expect(told.keys.map((key) => Buffer.from(key).toString())).toEqual(['b', 'c']);
    const adopted = promiseAnswers.adopt(
      told.keys.map((key, i) => ({ key, ballot: told.ballots[i] as Uint8Array })),
    );
    await forgot.time.settle();
    await adopted;
    await closeReplica(forgot);
    const after = await openTestReplica(disk);
    for (const [key, atMs] of [
      [KEY, 19],
      [bytes('b'), 9],
    ] as const) {
      expect(await applyOne(after, key, recordOf(key, atMs))).toMatchObject({ kind: 'refused' });
    }
  });
});

describe('a leased record', () => {
  const leasedAt = at(LEASE_START_MS + 1);
  const within = LEASE_START_MS + LEASE_MS - 1;

  async function holding(leased: boolean): Promise<TestReplica> {
    const node = await openTestReplica(memoryStoreOpener());
    await applyOne(node, KEY, proposal(leasedAt, leased), { source: 'accept' });
    return node;
  }

  test('keeps the ballots until its end for its writer', async () => {
    for (const source of SOURCES) {
      const node = await holding(true);
      const others = await applyOne(node, KEY, proposal(at(within, 2)), { source });
      expect(others).toMatchObject({ kind: 'refused', code: 'REFUSED' });
      expect(promisedAt(others)).toBe(within - START_WALL_MS);
      const own = proposal(at(LEASE_START_MS + 2));
      expect(await applyOne(node, KEY, own, { source })).toEqual({ kind: 'applied' });
    }
    const node = await holding(true);
    expect(promisedAt(await prepareOne(node, KEY, encodeVersion(at(within, 2))))).toBe(
      within - START_WALL_MS,
    );
    expect(await prepareOne(node, KEY, encodeVersion(at(within, 1)))).toMatchObject({
      kind: 'promised',
    });
  });

  test('keeps out plain writes that its writer stamped for others, too', async () => {
    const node = await holding(true);
    const plain = encodeRecord(KEY, {
      version: at(within),
      tombstone: false,
      value: bytes('plain'),
    });
    expect(await applyOne(node, KEY, plain)).toMatchObject({ kind: 'refused', code: 'REFUSED' });
  });

  test('from a clock far ahead lets in the first ballot after its end all the same', async () => {
    const node = await openTestReplica(memoryStoreOpener());
    const far = LEASE_START_MS + 100 * LEASE_MS;
    await applyOne(node, KEY, proposal(at(far + 1), true), { source: 'copy' });
    const beaten = await prepareOne(node, KEY, encodeVersion(at(far + 2, 2)));
    const { promised } = beaten as { promised: Uint8Array };
    const next = nextVersion(readVersion(promised, 0), 0, { hi: 2, lo: 2 });
    expect(await prepareOne(node, KEY, encodeVersion(next))).toMatchObject({ kind: 'promised' });
  });

  test('keeps nobody from a ballot beyond its end, and one that is not leased keeps nothing', async () => {
    const next = at(within + 1, 2);
    expect(await prepareOne(await holding(true), KEY, encodeVersion(next))).toMatchObject({
      kind: 'promised',
      record: Uint8Array.from(proposal(leasedAt, true)),
    });
    expect(await applyOne(await holding(true), KEY, proposal(next))).toEqual({ kind: 'applied' });
    const free = await holding(false);
    const write = encodeRecord(KEY, {
      version: at(LEASE_START_MS + 2, 2),
      tombstone: false,
      value: bytes('plain'),
    });
    expect(versionOf(write).wallMs).toBeLessThan(within);
    expect(await applyOne(free, KEY, write)).toEqual({ kind: 'applied' });
  });
});
