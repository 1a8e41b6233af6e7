import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytesCodec, jsonCodec, type Codec } from '../../src/client/codec.js';
import type { BatchOperation, Key, Kv } from '../../src/client/kv.js';
import type { Consistency } from '../../src/core/consistency.js';
import type { KvError } from '../../src/core/errors.js';
import { compareKeys } from '../../src/core/key-range.js';
import { FakeCluster } from './fake-cluster.js';
import { outcomeUnderTime, resultUnderTime } from './outcome-under-time.js';

const SEED = 20_260_104;

async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

/** Gathers a scan under virtual time. */
function scanned<T>(cluster: FakeCluster, entries: AsyncIterable<T>): Promise<T[]> {
  return resultUnderTime(cluster, gather(entries));
}

async function filled(cluster: FakeCluster, keys: readonly string[]): Promise<Kv<string>> {
  const kv = await cluster.connect();
  await resultUnderTime(cluster, kv.putMany(keys.map((key) => [key, `value of ${key}`] as const)));
  return kv;
}

describe('a Kv', () => {
  test('gives back what was put, and nothing for what was deleted or never there', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const { version } = await resultUnderTime(cluster, kv.put('k', 'v'));
    expect(await resultUnderTime(cluster, kv.get('k'))).toBe('v');
    const entry = await resultUnderTime(cluster, kv.getEntry('k'));
    expect(entry).toMatchObject({ keyText: 'k', value: 'v', version });
    await resultUnderTime(cluster, kv.delete('k'));
    expect(await resultUnderTime(cluster, kv.get('k'))).toBeUndefined();
    expect(await resultUnderTime(cluster, kv.getEntry('never'))).toBeUndefined();
  });

  test('in a namespace has the keys behind its prefix, and sees no others', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const users = kv.namespace('user/');
    await resultUnderTime(cluster, users.put('ada', '1'));
    await resultUnderTime(cluster, kv.put('user0', 'not in it'));
    expect(await resultUnderTime(cluster, kv.get('user/ada'))).toBe('1');
    const found = await scanned(cluster, users.scan());
    expect(found.map(({ keyText }) => keyText)).toEqual(['ada']);
    expect(users.preferenceOf('ada')).toEqual(kv.preferenceOf('user/ada'));
    const deep = users.namespace('x/');
    await resultUnderTime(cluster, deep.put('y', '2'));
    expect(await resultUnderTime(cluster, kv.get('user/x/y'))).toBe('2');
  });

  test('with another codec reads the same keys as other values', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    await resultUnderTime(cluster, kv.withCodec(jsonCodec).put('k', { a: [1] }));
    expect(await resultUnderTime(cluster, kv.get('k'))).toBe('{"a":[1]}');
    await resultUnderTime(cluster, kv.withCodec(bytesCodec).put('b', Uint8Array.of(0xff)));
    const error = (await outcomeUnderTime(cluster, kv.get('b'))) as KvError;
    expect(error.message).toContain('bytesCodec');
    expect(await resultUnderTime(cluster, kv.withCodec(bytesCodec).get('b'))).toEqual(
      Uint8Array.of(0xff),
    );
  });

  test('turns whatever a codec throws into a KvError', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    await resultUnderTime(cluster, kv.put('k', 'v'));
    const fault = new Error('no such thing');
    const broken: Codec<string> = {
      name: 'broken',
      encode: () => {
        throw fault;
      },
      decode: () => {
        throw fault;
      },
    };
    const other = kv.withCodec(broken);
    for (const call of [() => other.put('k', 'v'), () => other.get('k')]) {
      const error = await outcomeUnderTime<unknown>(cluster, call());
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', cause: fault });
    }
  });

  test('takes the level of the request, else of the profile, else of the connection', async () => {
    const cluster = new FakeCluster();
    const levels: Consistency[] = [];
    const open = cluster.open.bind(cluster);
    cluster.open = (endpoint, onState) => {
      const link = open(endpoint, onState);
      const send = link.send.bind(link);
      link.send = (call) => {
        levels.push(call.level);
        send(call);
      };
      return link;
    };
    const kv = await cluster.connect({ consistency: 'TWO', profile: { write: 'ALL' } });
    await resultUnderTime(cluster, kv.get('k'));
    await resultUnderTime(cluster, kv.put('k', 'v'));
    await resultUnderTime(cluster, kv.put('k', 'v', { consistency: 'ONE' }));
    await resultUnderTime(cluster, kv.with({ profile: { read: 'THREE' } }).get('k'));
    await resultUnderTime(cluster, kv.with({ consistency: 'QUORUM' }).put('k', 'v'));
    expect(levels).toEqual(['TWO', 'ALL', 'ONE', 'THREE', 'QUORUM']);
  });

  test('does not see what its caller does to a key or a value after the call', async () => {
    const cluster = new FakeCluster();
    const kv = (await cluster.connect()).withCodec(bytesCodec);
    const key = Buffer.from('abc');
    const value = Uint8Array.of(1, 2, 3);
    const put = kv.put(key, value);
    const more = kv.putMany(Array.from({ length: 1_000 }, (_, i) => [`${i}`, value]));
    key.fill(0);
    value.fill(0);
    await resultUnderTime(cluster, put);
    await resultUnderTime(cluster, more);
    const found = await resultUnderTime(cluster, kv.getMany(['abc', '0', '999']));
    expect(found).toEqual(found.map(() => Uint8Array.of(1, 2, 3)));
  });
});

describe('bad arguments are refused before anything is sent, with the field and the bound:', () => {
  const version = { wallMs: 1, logical: 0, writerHi: 0, writerLo: 0 };
  const cases: readonly (readonly [string, (kv: Kv<string>) => unknown, RegExp])[] = [
    ['an empty key', (kv) => kv.get(''), /^key: must not be empty/],
    ['an empty key in a namespace', (kv) => kv.namespace('a').get(''), /^key: must not be empty/],
    ['a long key', (kv) => kv.get('x'.repeat(4_097)), /^key: 4097 bytes, the limit is 4096/],
    ['a long key in a namespace', (kv) => kv.namespace('abc').get('x'.repeat(4_094)), /4097 bytes/],
    ['a key that is no key', (kv) => kv.get(7 as unknown as Key), /^key: must be a string or a/],
    ['half a surrogate pair', (kv) => kv.get('\ud800'), /^key: holds half a surrogate pair/],
    [
      'a large value',
      (kv) => kv.put('k', 'x'.repeat(1_048_577)),
      /^value: 1048577 bytes, the limit is 1048576/,
    ],
    [
      'an unknown level',
      (kv) => kv.get('k', { consistency: 'SOME' as Consistency }),
      /^consistency: unknown level "SOME"; the levels are ONE, TWO, .*LINEARIZABLE/,
    ],
    [
      'a zone that UTF-8 cannot say',
      (kv) => kv.get('k', { zone: 'z\ud800' }),
      /^zone: holds half a surrogate pair/,
    ],
    [
      'a local level without a zone',
      (kv) => kv.put('k', 'v', { consistency: 'LOCAL_QUORUM' }),
      /^zone: LOCAL_QUORUM counts the replicas of one zone/,
    ],
    ['no time', (kv) => kv.get('k', { timeoutMs: 0 }), /^timeoutMs: must be from 1 to \d+/],
    ['too much time', (kv) => kv.get('k', { timeoutMs: 1e9 }), /^timeoutMs: must be from 1/],
    ['a time that is none', (kv) => kv.get('k', { timeoutMs: NaN }), /^timeoutMs: .*got NaN/],
    [
      'a version that is none',
      (kv) => kv.get('k', { minVersion: { ...version, logical: 70_000 } }),
      /^minVersion\.logical: must be a whole number from 0 to 65535, got 70000/,
    ],
    [
      'a stamp that is none',
      (kv) => kv.put('k', 'v', { version: 7 as never }),
      /^version: must be/,
    ],
    ['a signal that is none', (kv) => kv.get('k', { signal: {} as AbortSignal }), /^signal: /],
    [
      'options that are none',
      (kv) => kv.get('k', 'QUORUM' as never),
      /^options: must be an object/,
    ],
    ['an item of many', (kv) => kv.getMany(['a', '']), /^keys\[1\]\.key: must not be empty/],
    [
      'an entry of many',
      (kv) => kv.putMany([['a', 'x'.repeat(2_000_000)]]),
      /^entries\[0\]\.value: 2000000 bytes/,
    ],
    ['what cannot be iterated', (kv) => kv.getMany(7 as never), /^keys: must be iterable/],
    ['a limit of nothing', (kv) => gather(kv.scan({ limit: 0 })), /^limit: .*from 1/],
    ['a large page', (kv) => gather(kv.scan({ pageSize: 20_000 })), /^pageSize: .*to 10000/],
    [
      'a prefix and a bound',
      (kv) => gather(kv.scan({ prefix: 'a', lt: 'b' })),
      /^prefix: goes alone/,
    ],
  ];
  test.each(cases)('%s', async (_name, call, message) => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const error = (await outcomeUnderTime(cluster, call(kv) as Promise<unknown>)) as KvError;
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', outcome: 'none' });
    expect(error.message).toMatch(message);
    expect([...cluster.sent, ...cluster.scans]).toEqual([]);
  });
});

describe('many at once', () => {
  test('come back in the order in which they were given', async () => {
    const cluster = new FakeCluster();
    const keys = Array.from({ length: 3_000 }, (_, i) => `key ${i}`);
    const kv = await filled(cluster, keys);
    const shuffled = [...keys.slice(1_500), 'absent', ...keys.slice(0, 1_500)];
    expect(await resultUnderTime(cluster, kv.getMany(shuffled))).toEqual(
      shuffled.map((key) => (key === 'absent' ? undefined : `value of ${key}`)),
    );
    expect(cluster.mostUnderWay).toBe(512);
  });

  test('in a batch have each their own result, and the bad ones do not keep the good from being sent', async () => {
    const cluster = new FakeCluster();
    const kv = await filled(cluster, ['a']);
    const results = await resultUnderTime(
      cluster,
      kv.batch([
        { type: 'get', key: 'a' },
        { type: 'put', key: '', value: 'v' },
        { type: 'put', key: 'b', value: 'v' },
        { type: 'delete', key: 'c' },
        { type: 'get', key: 'absent' },
        { type: 'change', key: 'd' } as unknown as BatchOperation<string>,
      ]),
    );
    expect(results).toMatchObject([
      { ok: true, type: 'get', entry: { value: 'value of a' } },
      { ok: false, error: { code: 'INVALID_ARGUMENT' } },
      { ok: true, type: 'put', written: {} },
      { ok: true, type: 'delete', written: {} },
      { ok: true, type: 'get', entry: undefined },
      { ok: false, error: { code: 'INVALID_ARGUMENT' } },
    ]);
    expect(cluster.records.size).toBe(3);
  });

  test('stamp each entry by itself: of two writes to one key the later one wins', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    await resultUnderTime(
      cluster,
      kv.putMany([
        ['k', 'first'],
        ['k', 'second'],
      ]),
    );
    expect(await resultUnderTime(cluster, kv.get('k'))).toBe('second');
  });

  test('reject with the first error and begin no more', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) {
      node.behaviour = { kind: 'refuse', code: 'NOT_SUPPORTED', outcome: 'none' };
    }
    const entries = Array.from({ length: 2_000 }, (_, i) => [`key ${i}`, 'v'] as const);
    const error = await outcomeUnderTime(cluster, kv.putMany(entries));
    expect(error).toMatchObject({ code: 'NOT_SUPPORTED', outcome: 'unknown' });
    expect((error as KvError).message).toMatch(/^entries\[\d+\]: as told/);
    expect(cluster.sent).toHaveLength(512);
  });

  test('are cancelled together', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) node.behaviour = { kind: 'hang', stores: false };
    const controller = new AbortController();
    const operations = Array.from({ length: 1_000 }, (_, i) => {
      return { type: 'put', key: `key ${i}`, value: 'v' } as const;
    });
    const batch = kv.batch(operations, { signal: controller.signal });
    await cluster.time.advance(5);
    controller.abort('enough');
    const results = await resultUnderTime(cluster, batch);
    const outcomes = results.map((result) => (result.ok ? 'ok' : result.error.outcome));
    expect(outcomes.slice(0, 512).every((outcome) => outcome === 'unknown')).toBe(true);
    expect(outcomes.slice(512).every((outcome) => outcome === 'none')).toBe(true);
  });

  test('of nothing are nothing', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    expect(await resultUnderTime(cluster, kv.getMany([]))).toEqual([]);
    expect(await resultUnderTime(cluster, kv.putMany([]))).toEqual([]);
    expect(await resultUnderTime(cluster, kv.batch([]))).toEqual([]);
  });
});

describe('a scan', () => {
  test('gives what lies in the range, in order, however it is cut into pages', async () => {
    const key = fc.string({ minLength: 1, maxLength: 4, unit: 'grapheme-ascii' });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(key, { maxLength: 25 }),
        fc.record(
          {
            gte: key,
            lt: key,
            reverse: fc.boolean(),
            limit: fc.integer({ min: 1, max: 30 }),
            pageSize: fc.integer({ min: 1, max: 8 }),
          },
          { requiredKeys: [] },
        ),
        fc.integer({ min: 1, max: 10 }),
        async (keys, options, pageLimit) => {
          const cluster = new FakeCluster(1, 1);
          const kv = await filled(cluster, keys);
          cluster.pageLimit = pageLimit;
          const found = await scanned(cluster, kv.scan(options));
          const expected = keys
            .filter((each) => options.gte === undefined || compare(each, options.gte) >= 0)
            .filter((each) => options.lt === undefined || compare(each, options.lt) < 0)
            .sort((a, b) => compare(a, b) * (options.reverse === true ? -1 : 1))
            .slice(0, options.limit);
          expect(found.map(({ keyText }) => keyText)).toEqual(expected);
          expect(found.map(({ value }) => value)).toEqual(expected.map((at) => `value of ${at}`));
        },
      ),
      { seed: SEED, numRuns: 60 },
    );
  });

  test('of a prefix ends where its keys end', async () => {
    const cluster = new FakeCluster();
    const kv = await filled(cluster, ['a', 'ab', 'ab1', 'ac', 'b']);
    const found = await scanned(cluster, kv.scan({ prefix: 'ab' }));
    expect(found.map(({ keyText }) => keyText)).toEqual(['ab', 'ab1']);
  });

  test('asks for the next page before this one has been read', async () => {
    const cluster = new FakeCluster();
    const kv = await filled(cluster, ['a', 'b', 'c', 'd']);
    const iterator = kv.scan({ pageSize: 2 })[Symbol.asyncIterator]();
    await resultUnderTime(cluster, iterator.next());
    expect(cluster.scans).toHaveLength(2);
    await resultUnderTime<unknown>(cluster, iterator.return?.() ?? Promise.resolve());
  });

  test('asks for no page beyond its limit', async () => {
    const cluster = new FakeCluster();
    const kv = await filled(cluster, ['a', 'b', 'c', 'd', 'e']);
    expect(await scanned(cluster, kv.scan({ limit: 2 }))).toHaveLength(2);
    expect(await scanned(cluster, kv.scan({ limit: 3, pageSize: 2 }))).toHaveLength(3);
    expect(cluster.scans.map(({ request }) => request.limit)).toEqual([2, 2, 1]);
  });

  test('of keys only asks for no values', async () => {
    const cluster = new FakeCluster();
    const kv = await filled(cluster, ['a', 'b']);
    const found = await scanned(cluster, kv.scan({ keysOnly: true }));
    expect(found.map(({ keyText, value }) => [keyText, value])).toEqual([
      ['a', undefined],
      ['b', undefined],
    ]);
    expect(cluster.scans[0]?.request.keysOnly).toBe(true);
  });

  test('goes on through another node when one fails', async () => {
    const cluster = new FakeCluster();
    const kv = await filled(cluster, ['a', 'b', 'c']);
    cluster.node('n1').behaviour = { kind: 'refuse', code: 'UNAVAILABLE', outcome: 'none' };
    cluster.node('n2').behaviour = { kind: 'hang', stores: false };
    const found = await scanned(cluster, kv.scan({ pageSize: 1 }));
    expect(found.map(({ keyText }) => keyText)).toEqual(['a', 'b', 'c']);
  });

  test('that no node can answer says what each said', async () => {
    const cluster = new FakeCluster();
    const kv = await filled(cluster, ['a']);
    for (const node of cluster.nodes) {
      node.behaviour = { kind: 'refuse', code: 'NO_QUORUM', outcome: 'none' };
    }
    const error = await outcomeUnderTime(cluster, gather(kv.scan({ timeoutMs: 500 })));
    expect(error).toMatchObject({ code: 'NO_QUORUM', outcome: 'none' });
    expect((error as KvError).message).toMatch(/attempts at a page within 500 ms: /);
  });

  test('rejects with CANCELLED when its signal fires', async () => {
    const cluster = new FakeCluster();
    const kv = await filled(cluster, ['a', 'b', 'c']);
    const controller = new AbortController();
    const iterator = kv.scan({ pageSize: 1, signal: controller.signal })[Symbol.asyncIterator]();
    await resultUnderTime(cluster, iterator.next());
    controller.abort('enough');
    const error = await outcomeUnderTime(cluster, iterator.next());
    expect(error).toMatchObject({ code: 'CANCELLED', cause: 'enough' });
  });
});

function compare(a: string, b: string): number {
  return compareKeys(Buffer.from(a), Buffer.from(b));
}
