import { describe, expect, test } from 'vitest';
import { encodeExpectation } from '../../src/core/expectation.js';
import { lastVersionOf } from '../../src/core/hlc.js';
import { LEASE_MS } from '../../src/core/lease.js';
import { hash32 } from '../../src/core/hash.js';
import { partitionOf } from '../../src/core/placement.js';
import { ANSWERED } from '../../src/core/ledger.js';
import { decodeRecord, encodeRecord, versionOf } from '../../src/core/record.js';
import { encodeVersion, readVersion } from '../../src/core/version.js';
import type { LocalReplica } from '../../src/replica/local-replica.js';
import { applyOne } from '../replica/fixtures.js';
import { type VirtualClock } from '../virtual-time.js';
import { bytes, getOf, NO_BYTES, operationOf, putOf } from './fixture.js';
import { Cluster, KEY, NODES, recordFor, valueOf } from './rounds-cluster.js';

const expectValue = (value: string): Uint8Array =>
  encodeExpectation({ kind: 'value', value: bytes(value) });
const ABSENT = encodeExpectation({ kind: 'absent' });

describe('LINEARIZABLE requests', () => {
  test('put, compare and read through any node', async () => {
    const cluster = await Cluster.start();
    expect(await cluster.get(0)).toBeUndefined();
    expect((await cluster.put(0, 'a', ABSENT)).result).toBe(ANSWERED.applied);
    const lost = await cluster.put(1, 'b', ABSENT);
    expect(lost.result).toBe(ANSWERED.lost);
    expect(valueOf(lost.record)).toBe('a');
    expect((await cluster.put(2, 'b', expectValue('a'))).result).toBe(ANSWERED.applied);
    for (const node of [0, 1, 2]) expect(await cluster.get(node)).toBe('b');
  });

  test('expect the version that users see', async () => {
    const cluster = await Cluster.start();
    const { version } = await cluster.put(0, 'a');
    await cluster.put(1, 'x', ABSENT);
    const expect0 = encodeExpectation({
      kind: 'version',
      version: readVersion(version as Uint8Array, 0),
    });
    expect((await cluster.put(2, 'b', expect0)).result).toBe(ANSWERED.applied);
    expect((await cluster.put(2, 'c', expect0)).result).toBe(ANSWERED.lost);
  });

  test('read in one round trip where a majority holds the same', async () => {
    const cluster = await Cluster.start();
    await cluster.put(0, 'a');
    cluster.prepares = 0;
    cluster.reads = 0;
    expect(await cluster.get(1)).toBe('a');
    expect([cluster.prepares, cluster.reads]).toEqual([0, 2]);
  });

  test('apply once, whichever node a retry reaches', async () => {
    const cluster = await Cluster.start();
    const id = cluster.id();
    const first = await cluster.put(0, 'a', ABSENT, id);
    const second = await cluster.put(1, 'a', ABSENT, id);
    expect([second.result, second.version]).toEqual([first.result, first.version]);
    await cluster.put(2, 'b', expectValue('a'));
    expect((await cluster.put(1, 'a', ABSENT, id)).result).toBe(ANSWERED.applied);
    expect(await cluster.get(0)).toBe('b');
  });

  test('tell what became of another, which never happens once it was asked about', async () => {
    const cluster = await Cluster.start();
    const [done, open] = [cluster.id(), cluster.id()];
    await cluster.put(0, 'a', NO_BYTES, done);
    expect((await cluster.outcome(1, done)).result).toBe(ANSWERED.applied);
    expect((await cluster.outcome(1, open)).result).toBe(ANSWERED.never);
    expect((await cluster.put(2, 'late', NO_BYTES, open)).result).toBe(ANSWERED.never);
    expect(await cluster.get(0)).toBe('a');
  });

  test('told that nobody knows any more what became of them never happen afterwards', async () => {
    const cluster = await Cluster.start();
    await cluster.put(0, 'a');
    const open = cluster.id();
    await cluster.time.advance(10);
    // One replica has a plain write, whose floor is above the id, and nobody else hears of it.
    cluster.cut.add('n1').add('n2');
    await cluster.run(2, putOf('k', recordFor('plain', cluster.id()), { level: 'ONE' }));
    cluster.cut.delete('n1');
    expect((await cluster.outcome(2, open)).code).toBe('REFUSED');
    cluster.cut.clear();
    cluster.cut.add('n3');
    expect((await cluster.put(0, 'late', NO_BYTES, open)).code).toBe('REFUSED');
  });

  test('that ask for a least version are told nothing older, by a round neither', async () => {
    const cluster = await Cluster.start();
    await cluster.put(0, 'a');
    const seen = { ...cluster.id(), wallMs: cluster.time.clock.wallMs() + 400 };
    cluster.cut.add('n1').add('n2');
    await cluster.run(2, putOf('k', recordFor('seen', seen), { level: 'ONE' }));
    cluster.cut.clear();
    const get = getOf('k', { level: 'LINEARIZABLE', minVersion: encodeVersion(seen) });
    expect((await cluster.run(0, get)).code).toBe('STALE');
  });

  test('find what one replica of a majority has, and fail without a majority', async () => {
    const cluster = await Cluster.start();
    cluster.cut.add('n3');
    await cluster.put(0, 'a');
    cluster.cut.delete('n3');
    cluster.cut.add('n1');
    expect(await cluster.get(2)).toBe('a');
    cluster.cut.add('n2');
    const failed = await cluster.put(2, 'b');
    expect([failed.code, failed.outcome]).toEqual(['NO_QUORUM', 'none']);
  });

  test('go above a fence that is promised between the two halves of a round', async () => {
    const cluster = await Cluster.start();
    await cluster.put(0, 'before');
    const partition = partitionOf(hash32(KEY));
    cluster.beforeApply = () => {
      const wallMs = cluster.time.clock.wallMs();
      const fence = encodeVersion({ wallMs, logical: 0xffff, writerHi: 0, writerLo: 0 });
      for (const { fences } of cluster.replicas) void fences.promise({ partition, fence });
    };
    const { code, outcome } = await cluster.put(1, 'after');
    expect({ code, outcome }).toEqual({ code: undefined, outcome: 'none' });
    expect(cluster.replicas.map(({ fences }) => fences.of(partition).promised.length)).toEqual([
      16, 16, 16,
    ]);
    expect(await cluster.get(2)).toBe('after');
  });

  test('count nothing that they hear after their deadline', async () => {
    const cluster = await Cluster.start();
    let heard = 0;
    cluster.beforeApplied = () => {
      heard += 1;
      if (heard === 2) (cluster.clocks[1] as VirtualClock).monotonicMs = () => Infinity;
    };
    const { code, outcome } = await cluster.put(1, 'late');
    expect({ code, outcome }).toEqual({ code: 'TIMED_OUT', outcome: 'unknown' });
  });

  test('of one key, many at once, all take effect one after the other', async () => {
    const cluster = await Cluster.start();
    await cluster.put(0, '0');
    const increments = Array.from({ length: 12 }, async (_, i) => {
      for (;;) {
        const seen = (await cluster.get(i % 3)) as string;
        const answer = await cluster.put((i + 1) % 3, `${Number(seen) + 1}`, expectValue(seen));
        if (answer.result === ANSWERED.applied) return;
      }
    });
    await Promise.all(increments);
    expect(await cluster.get(0)).toBe('12');
  });

  test('are not sent what they chose themselves, and find what another node has chosen since', async () => {
    const cluster = await Cluster.start();
    const write = async (node: number, value: string, before: string) => {
      // So that no lease saves the prepare.
      await cluster.time.advance(LEASE_MS);
      cluster.prepares = 0;
      cluster.sent = 0;
      const { result } = await cluster.put(node, value, expectValue(before));
      return [result, cluster.prepares, cluster.sent];
    };
    await cluster.put(0, 'a');
    expect(await write(0, 'b', 'a')).toEqual([ANSWERED.applied, 2, 0]);
    expect(await write(1, 'c', 'b')).toEqual([ANSWERED.applied, 2, 2]);
    expect(await write(0, 'd', 'c')).toEqual([ANSWERED.applied, 2, 2]);
    expect(await write(1, 'e', 'c')).toEqual([ANSWERED.lost, 2, 2]);
    expect(await write(1, 'e', 'd')).toEqual([ANSWERED.applied, 2, 0]);
    cluster.cut.add('n1');
    expect(await write(1, 'f', 'e')).toEqual([ANSWERED.applied, 2, 0]);
    cluster.cut.clear();
    expect(await write(0, 'g', 'f')).toEqual([ANSWERED.applied, 2, 2]);
  });

  test('save the prepare while one node keeps writing a key, and lose the lease to another', async () => {
    const cluster = await Cluster.start();
    for (const value of ['a', 'b', 'c']) await cluster.put(0, value);
    cluster.prepares = 0;
    expect((await cluster.put(0, 'd', expectValue('c'))).result).toBe(ANSWERED.applied);
    expect(cluster.prepares).toBe(0);
    expect((await cluster.put(1, 'e', expectValue('d'))).result).toBe(ANSWERED.applied);
    expect((await cluster.put(0, 'f', expectValue('d'))).result).toBe(ANSWERED.lost);
    expect((await cluster.put(0, 'g', expectValue('e'))).result).toBe(ANSWERED.applied);
    for (const node of [0, 1, 2]) expect(await cluster.get(node)).toBe('g');
  });
});

describe('plain requests', () => {
  test('are seen by rounds, and their retries are not taken for new', async () => {
    const cluster = await Cluster.start();
    await cluster.put(0, 'a');
    const id = cluster.id();
    await cluster.time.advance(200);
    await cluster.plain(1, 'plain');
    expect(await cluster.get(2)).toBe('plain');
    const late = await cluster.put(0, 'late', NO_BYTES, id);
    expect([late.code, late.outcome]).toEqual(['REFUSED', 'none']);
    expect((await cluster.put(1, 'b', expectValue('plain'))).result).toBe(ANSWERED.applied);
  });

  test('that a promise keeps out are brought on by a round', async () => {
    const cluster = await Cluster.start();
    const stamp = cluster.id();
    const ahead = { ...stamp, wallMs: stamp.wallMs + 100 };
    for (const node of [0, 1, 2]) await cluster.promise(node, ahead);
    const answer = await cluster.plain(0, 'plain', stamp);
    expect(answer.code).toBeUndefined();
    expect(answer.shadow).toBeUndefined();
    const read = await cluster.run(1, getOf('k'));
    expect(valueOf(read.record)).toBe('plain');
    expect(decodeRecord(read.record as Uint8Array)?.changed).toEqual(stamp);
    expect(versionOf(read.record as Uint8Array).wallMs).toBeGreaterThanOrEqual(ahead.wallMs);
    // A retry finds what it did.
    expect((await cluster.plain(2, 'plain', stamp)).code).toBeUndefined();
    expect(await cluster.get(2)).toBe('plain');
  });

  test('from a clock far ahead do not keep rounds from the key', async () => {
    const cluster = await Cluster.start();
    const far = { ...cluster.id(), wallMs: cluster.time.clock.wallMs() + 60_000 };
    const copy = { source: 'copy' } as const;
    for (const replica of cluster.replicas) {
      await applyOne({ replica, time: cluster.time }, KEY, recordFor('far', far), copy);
    }
    // Its id cannot be known not to have been answered, until the clock comes past there.
    expect((await cluster.put(0, 'a', expectValue('far'))).code).toBe('REFUSED');
    const ahead = { ...cluster.id(), wallMs: far.wallMs + 1 };
    for (const node of [0, 1]) await cluster.promise(node, ahead);
    expect(await cluster.get(1)).toBe('far');
    expect((await cluster.settle(2)).code).toBeUndefined();
    for (const { promises } of cluster.replicas) expect(promises.size).toBe(0);
    expect(await cluster.get(0)).toBe('far');
  });

  test('are kept from no key by what one replica has promised while its clock was wrong', async () => {
    const cluster = await Cluster.start();
    await cluster.put(1, 'a');
    const [clock] = cluster.clocks as [VirtualClock];
    clock.skewMs = 280_000;
    const far = { ...cluster.id(), wallMs: clock.wallMs() };
    expect(await cluster.promise(0, far)).toMatchObject({ kind: 'promised' });
    clock.skewMs = 0;
    // The majority that is left has to count on that replica.
    cluster.cut.add('n3');
    expect((await cluster.put(1, 'b', expectValue('a'))).result).toBe(ANSWERED.applied);
    cluster.cut.clear();
    expect((await cluster.settle(2)).code).toBeUndefined();
    const [first, ...others] = await cluster.versions();
    expect(first?.wallMs).toBe(far.wallMs);
    expect(others).toEqual([first, first]);
    expect(await cluster.get(2)).toBe('b');
  });

  test('at ALL go above what one replica has promised', async () => {
    const cluster = await Cluster.start();
    const ahead = { ...cluster.id(), wallMs: cluster.time.clock.wallMs() + 1_000 };
    await cluster.promise(0, ahead);
    const record = recordFor('a', cluster.id());
    const written = await cluster.run(1, putOf('k', record, { level: 'ALL' }));
    expect(written.code).toBeUndefined();
    const versions = await cluster.versions();
    expect(versions.map(({ wallMs }) => wallMs)).toEqual(NODES.map(() => ahead.wallMs));
    const read = await cluster.run(2, getOf('k', { level: 'ALL' }));
    expect(valueOf(read.record)).toBe('a');
  });

  test('leave no replica behind that has promised more than a majority without it needs', async () => {
    const cluster = await Cluster.start();
    const [clock] = cluster.clocks as [VirtualClock];
    clock.skewMs = 280_000;
    expect((await cluster.settle(0)).code).toBe('NO_QUORUM');
    clock.skewMs = 0;
    expect((await cluster.put(1, 'a')).result).toBe(ANSWERED.applied);
    expect(cluster.replicas[0]?.promises.size).toBe(1);
    await cluster.time.advance(100);
    expect((await cluster.settle(0)).code).toBeUndefined();
    const [first, ...others] = await cluster.versions();
    expect(others).toEqual([first, first]);
    expect(await cluster.get(0)).toBe('a');
  });

  test('need no stamp of the node whose clock went back, which are ahead or may not be issued at all', async () => {
    for (const isAtLimit of [false, true]) {
      const cluster = await Cluster.start();
      const [clock] = cluster.clocks as [VirtualClock];
      const { hlc } = cluster.replicas[0] as LocalReplica;
      clock.skewMs = 280_000;
      expect((await cluster.settle(0)).code).toBe('NO_QUORUM');
      if (isAtLimit) hlc.observe(lastVersionOf(hlc.limitMs));
      clock.skewMs = 0;
      const other = bytes('other');
      const record = encodeRecord(other, { version: cluster.id(), tombstone: false, value: other });
      const put = operationOf('put', other, record, { level: 'LINEARIZABLE' });
      const { result, version } = await cluster.run(0, put);
      expect(result).toBe(ANSWERED.applied);
      expect(readVersion(version as Uint8Array, 0).wallMs).toBe(clock.wallMs());
    }
  });

  test('that lie below what a round has chosen are shadowed', async () => {
    const cluster = await Cluster.start();
    const stamp = cluster.id();
    await cluster.put(0, 'a');
    const answer = await cluster.plain(1, 'plain', stamp);
    expect(answer.code).toBeUndefined();
    expect(answer.shadow).toBeDefined();
    expect(await cluster.get(2)).toBe('a');
  });

  test('of which a repair is refused are read by a round', async () => {
    const cluster = await Cluster.start();
    cluster.cut.add('n2').add('n3');
    const record = recordFor('alone', cluster.id());
    await cluster.run(0, putOf('k', record, { level: 'ONE' }));
    cluster.cut.clear();
    const ahead = { ...cluster.id(), wallMs: cluster.time.clock.wallMs() + 100 };
    for (const node of [1, 2]) await cluster.promise(node, ahead);
    const read = await cluster.run(0, getOf('k'));
    expect(valueOf(read.record)).toBe('alone');
    expect(await cluster.get(2)).toBe('alone');
  });

  test.each(['QUORUM', 'LINEARIZABLE', 'ALL'] as const)(
    'of which a replica is in doubt are read at %s by a round, where the others are too few',
    async (level) => {
      const cluster = await Cluster.start();
      await cluster.put(0, 'a');
      const wallMs = cluster.time.clock.wallMs() + 100;
      const ballot = encodeVersion({ ...cluster.id(), wallMs });
      void cluster.replicas[0]?.promiseAnswers.adopt([{ key: KEY, ballot }]);
      await cluster.time.settle();
      if (level !== 'ALL') cluster.cut.add('n3');
      const read = await cluster.run(1, getOf('k', { level }));
      expect([read.message, valueOf(read.record)]).toEqual(['', 'a']);
      expect(cluster.replicas[0]?.promises.size).toBe(0);
    },
  );
});
