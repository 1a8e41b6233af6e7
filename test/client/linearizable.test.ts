import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KvError } from '../../src/core/errors.js';
import { decodeRecord, encodeRecord, versionOf } from '../../src/core/record.js';
import { compareVersions, formatVersion } from '../../src/core/version.js';
import { FakeCluster, type Behaviour } from './fake-cluster.js';
import { outcomeUnderTime, resultUnderTime } from './outcome-under-time.js';

const LINEARIZABLE = { consistency: 'LINEARIZABLE' } as const;
const STORE_AND_HANG: Behaviour = { kind: 'hang', stores: true };
const HANG: Behaviour = { kind: 'hang', stores: false };

describe('a LINEARIZABLE write', () => {
  test('is answered with the version at which it took effect, above the stamp that it was sent with', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const put = await resultUnderTime(cluster, kv.put('k', 'v', { ...LINEARIZABLE, ttlMs: 1_000 }));
    const stamp = versionOf(cluster.sent[0]?.record as Uint8Array);
    expect(compareVersions(put.version, stamp)).toBeGreaterThan(0);
    expect(put).toMatchObject({
      requestId: `${formatVersion(stamp)}@k`,
      expiresAtMs: stamp.wallMs + 1_000,
    });
    const entry = await resultUnderTime(cluster, kv.getEntry('k', LINEARIZABLE));
    expect(entry).toMatchObject({ value: 'v', version: put.version });
    const deleted = await resultUnderTime(cluster, kv.delete('k', LINEARIZABLE));
    expect(compareVersions(deleted.version, put.version)).toBeGreaterThan(0);
    expect(await resultUnderTime(cluster, kv.get('k', LINEARIZABLE))).toBeUndefined();
  });

  test('that comes too late for a key is stamped anew, above what it was too late for', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const version = {
      wallMs: cluster.time.clock.wallMs() + 400,
      logical: 7,
      writerHi: 1,
      writerLo: 1,
    };
    const ahead = { version, tombstone: false, value: Buffer.from('ahead') };
    cluster.records.set(Buffer.from('k').toString('hex'), encodeRecord(Buffer.from('k'), ahead));
    const put = await resultUnderTime(cluster, kv.put('k', 'v', LINEARIZABLE));
    expect(compareVersions(put.version, version)).toBeGreaterThan(0);
    expect(cluster.sent).toHaveLength(2);
  });

  test('that comes too late after an attempt nobody knows of is unknown, and not stamped anew', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    cluster.script = [
      { kind: 'refuse', code: 'TIMED_OUT', outcome: 'unknown' },
      { kind: 'refuse', code: 'REFUSED', outcome: 'none' },
    ];
    const error = await outcomeUnderTime(cluster, kv.put('k', 'v', LINEARIZABLE));
    expect(error).toMatchObject({ code: 'REFUSED', outcome: 'unknown' });
    const stamps = new Set(cluster.sent.map(({ record }) => formatVersion(versionOf(record))));
    expect([...stamps]).toEqual([(error as KvError).requestId?.replace('@k', '')]);
  });

  test('names in its error of unknown outcome what it can be asked for by, and never happens once asked', async () => {
    const cluster = new FakeCluster();
    const kv = (await cluster.connect()).namespace('app/');
    for (const node of cluster.nodes) node.behaviour = HANG;
    const error = await outcomeUnderTime(cluster, kv.put('k', 'v', LINEARIZABLE));
    const { requestId = '', version, outcome } = error as KvError;
    expect({ requestId, outcome }).toEqual({
      requestId: `${version && formatVersion(version)}@app/k`,
      outcome: 'unknown',
    });
    for (const node of cluster.nodes) node.behaviour = { kind: 'serve' };
    expect(await resultUnderTime(cluster, kv.outcome(requestId))).toEqual({ result: 'never' });
    const again = kv.put('k', 'v', { ...LINEARIZABLE, ...(version && { version }) });
    expect(await outcomeUnderTime(cluster, again)).toMatchObject({
      code: 'REFUSED',
      outcome: 'none',
    });
    expect(await resultUnderTime(cluster, kv.get('k'))).toBeUndefined();
  });

  test('that took effect unseen is found by its outcome; one of a plain write is forgotten', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) node.behaviour = STORE_AND_HANG;
    const error = await outcomeUnderTime(cluster, kv.cas('k', { expect: 'absent' }, 'v'));
    for (const node of cluster.nodes) node.behaviour = { kind: 'serve' };
    const { requestId = '' } = error as KvError;
    const applied = await resultUnderTime(cluster, kv.outcome(requestId));
    const entry = await resultUnderTime(cluster, kv.getEntry('k', LINEARIZABLE));
    expect(applied).toEqual({ result: 'applied', version: entry?.version });
    const plain = await resultUnderTime(cluster, kv.put('p', 'v'));
    const asked = kv.outcome(`${formatVersion(plain.version)}@p`);
    expect(await resultUnderTime(cluster, asked)).toEqual({ result: 'forgotten' });
  });
});

describe('a compare-and-set', () => {
  test('swaps what is as expected, by version, value or absence, and else tells what is there', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const cas = (options: Parameters<typeof kv.cas>[1], next?: string) =>
      resultUnderTime(cluster, kv.cas('k', options, next));
    const first = await cas({ expect: 'absent' }, 'a');
    expect(first).toMatchObject({ swapped: true });
    const lost = await cas({ expect: 'absent' }, 'b');
    expect(lost).toMatchObject({ swapped: false, found: { value: 'a', keyText: 'k' } });
    if (first.swapped === lost.swapped || !first.swapped) throw new Error('one of them is lost');
    expect(lost).toMatchObject({ found: { version: first.version } });
    expect(await cas({ expect: { value: 'x' } }, 'b')).toMatchObject({ swapped: false });
    expect(await cas({ expect: { value: 'a' } }, 'b')).toMatchObject({ swapped: true });
    const { version } = first;
    expect(await cas({ expect: { version } }, 'c')).toMatchObject({ found: { value: 'b' } });
    expect(await cas({ expect: { value: 'b' } })).toMatchObject({ swapped: true });
    expect(await cas({ expect: { version } })).toMatchObject({ swapped: false, found: undefined });
    const outcome = await resultUnderTime(cluster, kv.outcome(lost.requestId));
    expect(outcome).toEqual({ result: 'lost', version });
  });

  test('that is sent again tells what became of the first time', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    cluster.script = [STORE_AND_HANG];
    const result = await resultUnderTime(cluster, kv.cas('k', { expect: 'absent' }, 'v'));
    expect(result).toMatchObject({ swapped: true });
    expect(cluster.sent).toHaveLength(2);
  });

  test.each([
    [{}, 'expect'],
    [{ expect: {} }, 'expect'],
    [{ expect: { version: 'x' } }, 'expect.version'],
    [{ expect: { value: 'a', version: {} } }, 'expect'],
    [{ expect: 'absent', consistency: 'ALL' }, 'consistency'],
  ])('is refused with %j', async (options, field) => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const cas = kv.cas('k', options as Parameters<typeof kv.cas>[1], 'v');
    const error = await outcomeUnderTime(cluster, cas);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect((error as KvError).message).toContain(`${field}: `);
    expect(cluster.sent).toEqual([]);
  });
});

/** What can befall a call: it is lost on the way there or back, refused, or slow. */
const anyTrouble = fc.constantFrom<Behaviour>(
  { kind: 'serve' },
  { kind: 'serve', delayMs: 30 },
  HANG,
  STORE_AND_HANG,
  { kind: 'refuse', code: 'UNAVAILABLE', outcome: 'unknown', stores: true },
  { kind: 'refuse', code: 'OVERLOADED', outcome: 'none' },
);

describe('changes on top of compare-and-set', () => {
  test('count everything once, whatever becomes of calls: the sum is what was added, and what was asked for', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyTrouble, { maxLength: 40 }), async (script) => {
        const cluster = new FakeCluster();
        const kvs = await Promise.all([0, 1, 2].map(() => cluster.connect()));
        cluster.script = [...script];
        const adds = kvs.flatMap((kv) =>
          [1, 10, 100].map((delta) => kv.counter('n').add(delta, { timeoutMs: 1_000 })),
        );
        const ended = await Promise.all(adds.map((add) => outcomeUnderTime(cluster, add)));
        cluster.script = [];
        const [kv] = kvs;
        if (kv === undefined) throw new Error('no connection');
        let sum = 0;
        for (const [at, result] of ended.entries()) {
          const delta = [1, 10, 100][at % 3] as number;
          if (!(result instanceof KvError)) {
            sum += delta;
          } else if (result.outcome === 'unknown') {
            const { requestId = '' } = result;
            const became = await resultUnderTime(cluster, kv.outcome(requestId));
            expect(became.result).toMatch(/applied|never|lost/);
            if (became.result === 'applied') sum += delta;
          }
        }
        expect(await resultUnderTime(cluster, kv.counter('n').get())).toBe(sum);
      }),
      { seed: 11, numRuns: 60 },
    );
  });

  test('write nothing when nothing is to change, and pass on what the function throws', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const same = await resultUnderTime(
      cluster,
      kv.atomic('k', (value) => value),
    );
    expect(same).toEqual({ value: undefined, version: undefined, changed: false });
    const fault = new RangeError('mine');
    const thrown = kv.atomic('k', () => {
      throw fault;
    });
    thrown.catch(() => undefined);
    await cluster.time.advance(50);
    await expect(thrown).rejects.toBe(fault);
    expect(cluster.sent.every(({ kind }) => kind === 'get')).toBe(true);
  });

  test('end with their time when others are always first', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    let times = 0;
    const update = (): string => {
      // Between the read of the key and what follows from it.
      const value = `other ${times++}`;
      const version = {
        wallMs: cluster.time.clock.wallMs() + times,
        logical: 0,
        writerHi: 1,
        writerLo: 1,
      };
      const record = encodeRecord(Buffer.from('k'), {
        version,
        tombstone: false,
        value: Buffer.from(value),
      });
      cluster.records.set(Buffer.from('k').toString('hex'), record);
      return 'mine';
    };
    const error = await outcomeUnderTime(cluster, kv.atomic('k', update, { timeoutMs: 500 }));
    expect(error).toMatchObject({ code: 'TIMED_OUT' });
    const held = decodeRecord(cluster.records.values().next().value as Uint8Array);
    expect(Buffer.from(held?.value ?? []).toString()).toMatch(/^other/);
  });

  test('of many connections keep none of them from its turn for long', async () => {
    const cluster = new FakeCluster();
    const untilMs = cluster.time.clock.monotonicMs() + 3_000;
    const counting = Array.from({ length: 4 }, async () => {
      const counter = (await cluster.connect()).counter('hits');
      let added = 0;
      while (cluster.time.clock.monotonicMs() < untilMs) {
        await counter.add(1, { timeoutMs: 20_000 });
        added++;
      }
      return added;
    });
    const added = await resultUnderTime(cluster, Promise.all(counting));
    expect(Math.min(...added)).toBeGreaterThan(10);
  });

  test('of one connection have turns on a key, and each its own time', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const counter = kv.counter('n');
    const adds = Array.from({ length: 20 }, () => counter.add());
    const sums = await resultUnderTime(cluster, Promise.all(adds));
    expect(sums).toEqual(sums.map((_, at) => at + 1));
    expect(cluster.sent).toHaveLength(40);
    for (const node of cluster.nodes) node.behaviour = HANG;
    const first = outcomeUnderTime(cluster, counter.add(1, { timeoutMs: 5_000 }));
    const startMs = cluster.time.clock.monotonicMs();
    const late = await outcomeUnderTime(cluster, counter.add(1, { timeoutMs: 300 }));
    expect(late).toMatchObject({ code: 'TIMED_OUT', outcome: 'none' });
    expect(cluster.time.clock.monotonicMs() - startMs).toBeLessThan(400);
    for (const node of cluster.nodes) node.behaviour = { kind: 'serve' };
    const next = outcomeUnderTime(cluster, counter.add(1));
    expect(await first).toBe(21);
    expect(await next).toBe(22);
  });

  test('take nothing for a counter that is none', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    await resultUnderTime(cluster, kv.put('n', 'twelve', LINEARIZABLE));
    const error = await outcomeUnderTime(cluster, kv.counter('n').add(1));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
