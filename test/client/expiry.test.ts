import { describe, expect, test } from 'vitest';
import type { Entry } from '../../src/client/kv.js';
import type { KvError } from '../../src/core/errors.js';
import { decodeRecord, type RecordFields } from '../../src/core/record.js';
import { FakeCluster } from './fake-cluster.js';
import { outcomeUnderTime, resultUnderTime } from './outcome-under-time.js';

function recordsSent(cluster: FakeCluster): RecordFields[] {
  return cluster.sent
    .filter(({ kind }) => kind === 'put')
    .map(({ record }) => decodeRecord(record) as RecordFields);
}

async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

describe('a value that is put with ttlMs', () => {
  test('is there, with its expiry, until that has come', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const written = await resultUnderTime(cluster, kv.put('k', 'v', { ttlMs: 60_000 }));
    const expiresAtMs = written.version.wallMs + 60_000;
    expect(written.expiresAtMs).toBe(expiresAtMs);
    const found = (keysOnly: boolean): Promise<Entry<string | undefined>[]> =>
      resultUnderTime(cluster, gather(kv.scan({ keysOnly })));
    expect(await resultUnderTime(cluster, kv.getEntry('k'))).toMatchObject({ expiresAtMs });
    expect(await found(false)).toMatchObject([{ keyText: 'k', value: 'v', expiresAtMs }]);
    expect(await found(true)).toMatchObject([{ keyText: 'k', expiresAtMs }]);
    await cluster.time.advance(60_000);
    expect(await resultUnderTime(cluster, kv.getEntry('k'))).toBeUndefined();
    expect(await found(false)).toEqual([]);
    expect(await found(true)).toEqual([]);
  });

  test('is the same bytes on every attempt', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    cluster.script = [{ kind: 'hang', stores: false }];
    await resultUnderTime(cluster, kv.put('k', 'v', { ttlMs: 5 }));
    const [first, ...rest] = cluster.sent.map(({ record }) => record);
    expect(rest.length).toBeGreaterThan(0);
    for (const record of rest) expect(record).toEqual(first);
  });

  test('that must be stamped anew lives as long after its new stamp, and until the same moment with expiresAtMs', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const refuse = { kind: 'refuse', code: 'CLOCK_DRIFT', outcome: 'none' } as const;
    cluster.script = [refuse];
    await resultUnderTime(cluster, kv.put('k', 'v', { ttlMs: 1_000 }));
    const [before, after] = recordsSent(cluster) as [RecordFields, RecordFields];
    expect(after.version.wallMs).toBeGreaterThan(before.version.wallMs);
    expect(after.expiresAtMs).toBe(after.version.wallMs + 1_000);
    const expiresAtMs = after.version.wallMs + 9_999;
    cluster.script = [refuse];
    await resultUnderTime(cluster, kv.put('k', 'v', { expiresAtMs }));
    const absolute = recordsSent(cluster).slice(2);
    expect(absolute.map((record) => record.expiresAtMs)).toEqual([expiresAtMs, expiresAtMs]);
  });

  test('may be one of many, each item of a batch with a ttl of its own', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    await resultUnderTime(cluster, kv.putMany([['a', '1']], { ttlMs: 10 }));
    const results = await resultUnderTime(
      cluster,
      kv.batch([
        { type: 'put', key: 'b', value: '2', ttlMs: 20 },
        { type: 'put', key: 'c', value: '3' },
        { type: 'put', key: 'd', value: '4', expiresAtMs: 1 },
        { type: 'put', key: 'e', value: '5', ttlMs: 0 },
      ]),
    );
    const lives = recordsSent(cluster).map(
      ({ expiresAtMs, version }) => expiresAtMs && expiresAtMs - version.wallMs,
    );
    expect(lives).toEqual([10, 20, undefined]);
    expect(results.map((result) => result.ok || result.error.message)).toEqual([
      true,
      true,
      expect.stringMatching(/^expiresAtMs: has passed/),
      'operations[3].ttlMs: must be a whole number from 1 to 315360000000, got 0',
    ]);
  });

  test.each([
    [{ ttlMs: 0 }, /^ttlMs: must be a whole number from 1 to 315360000000, got 0/],
    [{ ttlMs: 1.5 }, /^ttlMs: must be a whole number/],
    [{ ttlMs: 315_360_000_001 }, /^ttlMs: must be a whole number/],
    [{ ttlMs: 1, expiresAtMs: 2 ** 47 }, /^ttlMs: goes without expiresAtMs/],
    [{ expiresAtMs: 1 }, /^expiresAtMs: has passed, \d+ ms before the stamp/],
    [{ expiresAtMs: 2 ** 47 }, /^expiresAtMs: \d+ ms after the stamp of the write, the limit is/],
  ])('%j is refused before anything is sent', async (options, problem) => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const error = (await outcomeUnderTime(cluster, kv.put('k', 'v', options))) as KvError;
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', outcome: 'none' });
    expect(error.message).toMatch(problem);
    expect(cluster.sent).toEqual([]);
  });

  test('is no way to delete: a delete does not expire', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const options: object = { ttlMs: 1 };
    const error = (await outcomeUnderTime(cluster, kv.delete('k', options))) as KvError;
    expect(error.message).toBe('ttlMs: goes with a put alone: a delete does not expire');
  });
});
