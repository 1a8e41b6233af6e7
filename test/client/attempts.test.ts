import { getEventListeners } from 'node:events';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KvError } from '../../src/core/errors.js';
import { describeAttempts } from '../../src/client/attempts.js';
import type { Kv } from '../../src/client/kv.js';
import type { NodeState } from '../../src/client/node-state.js';
import { versionOf } from '../../src/core/record.js';
import { compareVersions, formatVersion, type Version } from '../../src/core/version.js';
import { FakeCluster, SERVE, type Behaviour } from './fake-cluster.js';
import { DONE, refusal } from './fake-register.js';
import { outcomeUnderTime, resultUnderTime } from './outcome-under-time.js';

const SEED = 20_260_105;
const LINEARIZABLE = { consistency: 'LINEARIZABLE' } as const;
const HANG: Behaviour = { kind: 'hang', stores: false };
const STORE_AND_HANG: Behaviour = { kind: 'hang', stores: true };

function refuse(code: KvError['code'], outcome: KvError['outcome']): Behaviour {
  return { kind: 'refuse', code, outcome };
}

describe('an operation', () => {
  test.each([
    ['a get', (kv: Kv<string>, key: string) => kv.get(key)],
    ['a put at ONE', (kv: Kv<string>, key: string) => kv.put(key, 'value', { consistency: 'ONE' })],
    ['a LINEARIZABLE put', (kv: Kv<string>, key: string) => kv.put(key, 'value', LINEARIZABLE)],
  ])('%s goes to the first replica of its key, and costs one call', async (_, operate) => {
    const cluster = new FakeCluster(9, 3);
    const kv = await cluster.connect();
    const keys = Array.from({ length: 50 }, (__, i) => `key ${i}`);
    await resultUnderTime(cluster, Promise.all(keys.map((key) => operate(kv, key))));
    const firsts = keys.map((key) => ({ key, node: kv.preferenceOf(key)[0] }));
    expect(cluster.sent.map(({ key, node }) => ({ key, node }))).toEqual(firsts);
    expect(new Set(cluster.route).size).toBe(9);
  });

  test('that a node refuses goes to the next replica, as the same bytes', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const [first = '', second = ''] = kv.preferenceOf('k');
    cluster.node(first).script = [refuse('STORE_FAILED', 'unknown')];
    await resultUnderTime(cluster, kv.put('k', 'v'));
    expect(cluster.route).toEqual([first, second]);
    expect(cluster.sent[0]?.record).toEqual(cluster.sent[1]?.record);
  });

  test('that was stored but not answered applies once, whichever node is asked again', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const [first = '', second = ''] = kv.preferenceOf('k');
    cluster.node(first).script = [STORE_AND_HANG];
    const written = await resultUnderTime(cluster, kv.put('k', 'v'));
    expect(cluster.route).toEqual([first, second]);
    expect(cluster.cancelled).toEqual([first]);
    const versions = cluster.sent.map(({ record }) => formatVersion(versionOf(record)));
    expect(new Set(versions)).toEqual(new Set([formatVersion(written.version)]));
    expect(written).not.toHaveProperty('shadowedBy');
  });

  test('shares its deadline among its attempts: a node that hangs does not eat it all', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) node.behaviour = HANG;
    const startMs = cluster.time.clock.monotonicMs();
    const error = await outcomeUnderTime(cluster, kv.put('k', 'v', { timeoutMs: 2_000 }));
    const tookMs = cluster.time.clock.monotonicMs() - startMs;
    expect(error).toMatchObject({ code: 'TIMED_OUT', outcome: 'unknown' });
    expect(tookMs).toBeGreaterThanOrEqual(2_000);
    expect(tookMs).toBeLessThanOrEqual(2_030);
    expect(cluster.sent.map(({ node }) => node).slice(0, 3)).toEqual(kv.preferenceOf('k'));
    for (const { timeoutMs, atMs } of cluster.sent) {
      expect(timeoutMs).toBe(Math.ceil(startMs + 2_000 - atMs));
    }
  });

  test('that timed out says how often it was tried, where, and what each node answered', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const [first = '', second = '', third = ''] = kv.preferenceOf('k');
    cluster.node(first).behaviour = refuse('STORE_FAILED', 'none');
    cluster.node(second).behaviour = HANG;
    cluster.node(third).behaviour = HANG;
    const error = (await outcomeUnderTime(
      cluster,
      kv.put('k', 'v', { timeoutMs: 999.7 }),
    )) as KvError;
    expect(error.code).toBe('TIMED_OUT');
    expect(error.message).toMatch(/no success within 1000 ms, after \d attempts: /);
    expect(error.message).toContain(`${first}: STORE_FAILED, as told`);
    expect(error.message).toMatch(new RegExp(`${second}: no answer in \\d+ ms`));
  });

  test('tells long reasons of earlier attempts in short', () => {
    const node = { name: 'n1' } as NodeState;
    const message = `needs 2 of 3, ${'because of this '.repeat(50)}`;
    const told = describeAttempts([
      { node, call: {}, outcome: 'none', code: 'NO_QUORUM', message },
    ]);
    expect(told).toMatch(/^n1: NO_QUORUM, needs 2 of 3, (because|of|this| )+ \.\.\.$/);
    expect(told.length).toBeLessThan(130);
  });

  test('that every node refused for the same reason says it once', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) node.behaviour = refuse('NO_QUORUM', 'none');
    const put = kv.put('k', 'v', { timeoutMs: 1_000 });
    const { message } = (await outcomeUnderTime(cluster, put)) as KvError;
    expect(message).toMatch(/^as told \(\d+ attempts: n\d, n\d, n\d: NO_QUORUM, as told\)$/);
  });

  test('keeps the code of the last answer when time runs out between two attempts', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) node.behaviour = refuse('NO_QUORUM', 'none');
    const error = await outcomeUnderTime(cluster, kv.put('k', 'v', { timeoutMs: 1_000 }));
    expect(error).toMatchObject({ code: 'NO_QUORUM', outcome: 'none' });
  });

  test('fails at once when trying again cannot help', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const [first = ''] = kv.preferenceOf('k');
    cluster.node(first).script = [refuse('NOT_SUPPORTED', 'none')];
    const error = await outcomeUnderTime(cluster, kv.get('k', { consistency: 'LINEARIZABLE' }));
    expect(error).toMatchObject({ code: 'NOT_SUPPORTED', outcome: 'none', node: first });
    expect(cluster.sent).toHaveLength(1);
  });

  test('reads from another node when a record fails its checksum', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    await outcomeUnderTime(cluster, kv.put('k', 'v'));
    const [first = ''] = kv.preferenceOf('k');
    cluster.node(first).behaviour = { kind: 'corrupt' };
    expect(await outcomeUnderTime(cluster, kv.get('k'))).toBe('v');
  });

  test('takes a late success of an attempt that it had given up on', async () => {
    const cluster = new FakeCluster();
    cluster.answersOvertakeCancels = true;
    const kv = await cluster.connect();
    const [first = '', second = ''] = kv.preferenceOf('k');
    cluster.node(first).script = [HANG];
    for (const node of cluster.nodes) if (node.member.id !== first) node.behaviour = HANG;
    const put = kv.put('k', 'v', { timeoutMs: 4_000 });
    await cluster.time.until(() => cluster.sent.length === 2, 3_000);
    for (const link of cluster.node(first).links) link.answerPending(DONE);
    expect(await outcomeUnderTime(cluster, put)).toHaveProperty('version');
    expect(cluster.cancelled).toEqual([first, second]);
  });
});

describe('the outcome of an operation', () => {
  /** A script of answers in the order of the attempts, and what the operation says in the end. */
  const cases: readonly (readonly [string, readonly Behaviour[], string, KvError['outcome']])[] = [
    ['is none when every attempt was', [refuse('NO_QUORUM', 'none')], 'NOT_SUPPORTED', 'none'],
    [
      'is unknown when one attempt was',
      [refuse('NO_QUORUM', 'unknown')],
      'NOT_SUPPORTED',
      'unknown',
    ],
    ['is unknown while one is unanswered', [STORE_AND_HANG], 'NOT_SUPPORTED', 'unknown'],
  ];
  test.each(cases)('%s', async (_name, script, code, outcome) => {
    const cluster = new FakeCluster(1, 1);
    const twoNodes = new FakeCluster(2, 2);
    const chosen = script[0]?.kind === 'hang' ? twoNodes : cluster;
    const kv = await chosen.connect();
    const [first = '', second = first] = kv.preferenceOf('k');
    chosen.node(first).script = [...script];
    chosen.node(second).script.push(refuse('NOT_SUPPORTED', 'none'));
    const error = await outcomeUnderTime(chosen, kv.put('k', 'v'));
    expect(error).toMatchObject({ code, outcome });
    expect(chosen.sent).toHaveLength(2);
  });

  /** What nodes may do that tell the truth: what was answered `none` is not stored. */
  const honest: fc.Arbitrary<Behaviour> = fc.oneof(
    fc.constant<Behaviour>({ kind: 'serve', delayMs: 700 }),
    fc.boolean().map((stores): Behaviour => ({ kind: 'hang', stores })),
    fc
      .constantFrom('NO_QUORUM', 'CLOCK_DRIFT', 'UNAVAILABLE', 'NOT_SUPPORTED', 'OVERLOADED')
      .map((code) => refuse(code, 'none')),
    fc
      .tuple(fc.constantFrom('NO_QUORUM', 'TIMED_OUT', 'STORE_FAILED'), fc.boolean())
      .map(([code, stores]): Behaviour => {
        return { kind: 'refuse', code, outcome: 'unknown', stores };
      }),
  );

  test('says none only of what is stored nowhere, and what is stored has one stamp, whatever the nodes do', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(honest, { maxLength: 8 }), fc.boolean(), async (script, late) => {
        const cluster = new FakeCluster();
        cluster.answersOvertakeCancels = late;
        const kv = await cluster.connect();
        cluster.script = [...script];
        const result = await outcomeUnderTime(cluster, kv.put('k', 'v', { timeoutMs: 3_000 }));
        const [stored] = cluster.records.values();
        if (result instanceof KvError) {
          if (result.outcome === 'none') expect(stored).toBeUndefined();
        } else {
          expect(versionOf(stored as Uint8Array)).toEqual(result.version);
          expect(result).not.toHaveProperty('shadowedBy');
        }
        // A new stamp follows only on attempts that were all answered none.
        cluster.sent.forEach(({ record }, index) => {
          const before = cluster.sent[index - 1]?.record ?? record;
          if (Buffer.compare(record, before) === 0) return;
          for (const earlier of script.slice(0, index)) {
            expect(earlier).toMatchObject({ kind: 'refuse', outcome: 'none' });
          }
        });
        await kv.close();
      }),
      { seed: SEED, numRuns: 200 },
    );
  });

  test('that is unknown comes with the stamp, under which the write can be sent again and applies once', async () => {
    const cluster = new FakeCluster(1, 1);
    const kv = await cluster.connect();
    cluster.node('n1').behaviour = { kind: 'hang', stores: true };
    const error = (await outcomeUnderTime(
      cluster,
      kv.put('k', 'v', { timeoutMs: 100 }),
    )) as KvError;
    expect(error.outcome).toBe('unknown');
    const version = error.version as Version;
    cluster.node('n1').behaviour = { kind: 'serve' };
    expect(await outcomeUnderTime(cluster, kv.put('k', 'v', { version }))).toEqual({ version });
    expect(
      new Set(cluster.sent.map(({ record }) => Buffer.from(record).toString('hex'))).size,
    ).toBe(1);
  });

  test('of a get is always none', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) node.behaviour = HANG;
    const error = await outcomeUnderTime(cluster, kv.get('k', { timeoutMs: 300 }));
    expect(error).toMatchObject({ code: 'TIMED_OUT', outcome: 'none' });
  });

  test('becomes none again when an attempt that was given up on turns out not to have happened', async () => {
    const cluster = new FakeCluster(2, 2);
    cluster.answersOvertakeCancels = true;
    const kv = await cluster.connect();
    const [first = '', second = ''] = kv.preferenceOf('k');
    cluster.node(first).script = [HANG];
    cluster.node(second).behaviour = HANG;
    const put = kv.put('k', 'v', { timeoutMs: 2_000 });
    await cluster.time.until(() => cluster.sent.length === 2, 2_000);
    for (const link of cluster.node(first).links) {
      link.answerPending(refusal('TIMED_OUT', 'none', 'never begun'));
    }
    for (const link of cluster.node(second).links) {
      link.answerPending(refusal('NOT_SUPPORTED', 'none', 'as told'));
    }
    expect(await outcomeUnderTime(cluster, put)).toMatchObject({
      code: 'NOT_SUPPORTED',
      outcome: 'none',
    });
  });
});

describe('a stamp that a node refuses', () => {
  test('is replaced after the clocks were measured again, when no attempt can have happened', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const [first = ''] = kv.preferenceOf('k');
    cluster.node(first).script = [refuse('CLOCK_DRIFT', 'none')];
    for (const node of cluster.nodes) node.clock.skewMs = 60_000;
    const written = await resultUnderTime(cluster, kv.put('k', 'v'));
    const [before, after] = cluster.sent.map(({ record }) => versionOf(record));
    expect(compareVersions(before as Version, after as Version)).toBeLessThan(0);
    expect(written.version).toEqual(after);
    expect(kv.cluster().clockOffsetMs).toBeCloseTo(60_000, -1);
    expect((after as Version).wallMs).toBeGreaterThan((before as Version).wallMs + 59_000);
  });

  test('is kept when an earlier attempt may have happened', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const [first = '', second = ''] = kv.preferenceOf('k');
    cluster.node(first).script = [refuse('UNAVAILABLE', 'unknown')];
    cluster.node(second).script = [refuse('CLOCK_DRIFT', 'none')];
    await resultUnderTime(cluster, kv.put('k', 'v'));
    expect(cluster.sent).toHaveLength(3);
    for (const { record } of cluster.sent) expect(record).toEqual(cluster.sent[0]?.record);
  });

  test('that the caller gave is refused when a second node refuses it as well', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) node.behaviour = refuse('CLOCK_DRIFT', 'none');
    const version: Version = { wallMs: 5, logical: 0, writerHi: 1, writerLo: 2 };
    const error = await outcomeUnderTime(cluster, kv.put('k', 'v', { version }));
    expect(error).toMatchObject({ code: 'CLOCK_DRIFT', outcome: 'none' });
    expect(new Set(cluster.route).size).toBe(2);
    expect(cluster.sent).toHaveLength(2);
  });

  test('is kept when the caller gave it', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const version: Version = { wallMs: 1_700_000_000_000, logical: 3, writerHi: 1, writerLo: 2 };
    const [first = ''] = kv.preferenceOf('k');
    cluster.node(first).script = [refuse('CLOCK_DRIFT', 'none')];
    expect(await outcomeUnderTime(cluster, kv.put('k', 'v', { version }))).toEqual({ version });
    expect(cluster.sent).toHaveLength(2);
    for (const { record } of cluster.sent) expect(versionOf(record)).toEqual(version);
  });
});

describe('a signal', () => {
  test('rejects with CANCELLED and its reason; a write that was sent may have happened', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) node.behaviour = HANG;
    const controller = new AbortController();
    const put = kv.put('k', 'v', { signal: controller.signal });
    const get = kv.get('k', { signal: controller.signal });
    await cluster.time.advance(5);
    controller.abort('enough');
    const error = await outcomeUnderTime(cluster, put);
    expect(error).toMatchObject({ code: 'CANCELLED', outcome: 'unknown', cause: 'enough' });
    expect(await outcomeUnderTime(cluster, get)).toMatchObject({
      code: 'CANCELLED',
      outcome: 'none',
    });
    expect(cluster.cancelled).toHaveLength(2);
  });

  test('may be that of any number of operations, and is listened to once', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const controller = new AbortController();
    const { signal } = controller;
    for (const node of cluster.nodes) node.behaviour = HANG;
    const gets = Array.from({ length: 20 }, (_, i) => kv.get(`k${i}`, { signal }));
    await cluster.time.advance(5);
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    controller.abort();
    for (const get of gets) {
      expect(await outcomeUnderTime(cluster, get)).toMatchObject({ code: 'CANCELLED' });
    }
    const unused = new AbortController().signal;
    for (const node of cluster.nodes) node.behaviour = SERVE;
    await resultUnderTime(cluster, kv.get('k', { signal: unused }));
    expect(getEventListeners(unused, 'abort')).toEqual([]);
  });

  test('that has fired already sends nothing', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const signal = AbortSignal.abort('never');
    const error = await outcomeUnderTime(cluster, kv.put('k', 'v', { signal }));
    expect(error).toMatchObject({ code: 'CANCELLED', outcome: 'none', cause: 'never' });
    expect(cluster.sent).toEqual([]);
  });
});

describe('under load', () => {
  test('no more operations are with the nodes than the window holds, and all are answered', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const puts = Array.from({ length: 5_000 }, (_, i) => kv.put(`key ${i}`, 'v'));
    expect(cluster.underWay).toBe(2_048);
    await cluster.time.advance(200);
    expect(await Promise.all(puts)).toHaveLength(5_000);
    expect(cluster.mostUnderWay).toBe(2_048);
  });

  test('what waits for its place until its time is over was sent nowhere, and says so', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) node.behaviour = HANG;
    const puts = Array.from({ length: 20_000 }, (_, i) => kv.put(`${i}`, 'v', { timeoutMs: 100 }));
    const settled = Promise.allSettled(puts);
    await cluster.time.advance(200);
    const errors = (await settled).map((result) => result.status === 'rejected' && result.reason);
    const told = errors.map((error: KvError) => `${error.code} ${error.outcome}`);
    expect(new Set(told.slice(0, 2_048))).toEqual(new Set(['TIMED_OUT unknown']));
    expect(new Set(told.slice(2_048))).toEqual(new Set(['TIMED_OUT none']));
    expect(cluster.sent).toHaveLength(2_048);
  });

  test('retries stay within the budget, however many operations fail at once', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) node.behaviour = refuse('OVERLOADED', 'none');
    const count = 3_000;
    const puts = Array.from({ length: count }, (_, i) => kv.put(`key ${i}`, 'v'));
    const settled = Promise.allSettled(puts);
    await cluster.time.advance(6_000);
    await settled;
    expect(cluster.sent.length).toBeLessThanOrEqual(count + count * 0.2 + 2_500);
  });
});
