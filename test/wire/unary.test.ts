import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { KvError } from '../../src/core/errors.js';
import { MAX_TTL_MS } from '../../src/core/limits.js';
import { encodeRecord, expiryOf, headOf, versionOf } from '../../src/core/record.js';
import type { NodeRepairs } from '../../src/wire/cluster-service.js';
import { formatRequestId } from '../../src/core/request-id.js';
import { compareVersions, encodeVersion, type Version } from '../../src/core/version.js';
import { InjectedFaults } from '../../src/wire/link-faults.js';
import type {
  DifferenceReport,
  PeerRepairReport,
  RepairProgressReport,
  VerifySummaryReport,
} from '../../src/wire/repair-reports.js';
import { openUnaryClient, type UnaryClient } from '../../src/wire/unary-client.js';
import {
  refusedWith,
  recordOf,
  startFakeNode,
  STATUS,
  text,
  until,
  version,
  welcomeOf,
  type FakeNode,
} from './fake-node.js';

let node: FakeNode;
let client: UnaryClient;
const faults = new InjectedFaults();

beforeAll(async () => {
  node = await startFakeNode({ faults });
  client = openUnaryClient(node.endpoint, { timeoutMs: 5_000 });
});

afterAll(async () => {
  client.close();
  await node.server.close(1_000);
});

beforeEach(() => {
  node.coordinator.hold = false;
  node.coordinator.records.clear();
});

async function failureOf(promise: Promise<unknown>): Promise<KvError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(KvError);
  return error as KvError;
}

describe('the unary calls of Kv', () => {
  test('a put without a stamp is stamped by the coordinator, and read back', async () => {
    const written = await client.put(text('k'), text('v'), { receipt: true });
    expect(written.version?.wallMs).toBeGreaterThanOrEqual(1_000);
    expect(written.receipt).toEqual({
      coordinator: 'n1',
      needed: 2,
      answered: 2,
      replicas: [],
    });
    const entry = await client.get(text('k'));
    expect(entry).toEqual({
      found: true,
      value: Buffer.from('v'),
      version: written.version,
    });
  });

  test('compare-and-sets are puts and deletes that expect something, and say what they found', async () => {
    const at = { consistency: 'LINEARIZABLE', version: version(1_100) } as const;
    const first = await client.put(text('cas'), text('a'), { ...at, expect: { kind: 'absent' } });
    expect(first).toMatchObject({ requestId: version(1_100) });
    const changed = first.version as Version;
    expect(compareVersions(changed, version(1_100))).toBeGreaterThan(0);
    expect(await client.put(text('cas'), text('a'), at)).toEqual(first);
    const lost = await client.delete(text('cas'), {
      consistency: 'LINEARIZABLE',
      expect: { kind: 'value', value: text('b') },
    });
    expect(lost).toMatchObject({ found: { found: true, value: Buffer.from('a') } });
    expect(lost).not.toHaveProperty('version');
    const asked = (id?: Version) => client.outcome(text('cas'), id as Version);
    expect(await asked(first.requestId)).toEqual({ result: 'applied', version: changed });
    expect(await asked(lost.requestId)).toEqual({ result: 'lost', version: changed });
    expect(await asked(version(5_000))).toEqual({ result: 'never' });
    const never = client.put(text('cas'), text('c'), { ...at, version: version(5_000) });
    expect(await failureOf(never)).toMatchObject({ code: 'REFUSED', outcome: 'none' });
    expect(await asked(version(1))).toEqual({ result: 'never' });
    await client.delete(text('cas'), {
      consistency: 'LINEARIZABLE',
      expect: { kind: 'version', version: changed },
    });
    const gone = await client.get(text('cas'), { consistency: 'LINEARIZABLE' });
    expect(gone.found).toBe(false);
  });

  test('a LINEARIZABLE write of unknown outcome names what it can be asked for by', async () => {
    node.coordinator.failure = refusedWith('NO_QUORUM', 'too few', 'unknown');
    const at = { consistency: 'LINEARIZABLE', version: version(1_100) } as const;
    const error = await failureOf(client.put(text('a b'), text('v'), at));
    node.coordinator.failure = undefined;
    const requestId = formatRequestId({ key: text('a b'), version: version(1_100) });
    expect(error).toMatchObject({ code: 'NO_QUORUM', outcome: 'unknown', requestId });
  });

  test("a put keeps its caller's stamp, and one that loses names what shadows it", async () => {
    await client.put(text('k'), text('new'), { version: version(500) });
    const lost = await client.put(text('k'), text('old'), { version: version(499) });
    expect(lost).toEqual({ version: version(499), shadowedBy: version(500) });
  });

  test('a delete leaves a tombstone, whose version a get still tells', async () => {
    await client.put(text('k'), text('v'), { version: version(1) });
    await client.delete(text('k'), { version: version(2) });
    expect(await client.get(text('k'))).toEqual({
      found: false,
      value: Buffer.alloc(0),
      version: version(2),
    });
    expect(await client.get(text('never'))).toEqual({ found: false, value: Buffer.alloc(0) });
  });

  test('a ttl counts from the stamp of the coordinator, or from that of the caller', async () => {
    const written = await client.put(text('k'), text('v'), { ttlMs: 250 });
    const expiresAtMs = (written.version?.wallMs ?? 0) + 250;
    expect(await client.get(text('k'))).toMatchObject({ found: true, expiresAtMs });
    const stamp = version(Date.now());
    await client.put(text('k'), text('v'), { version: stamp, ttlMs: MAX_TTL_MS });
    const record = node.coordinator.executed.at(-1)?.record as Uint8Array;
    expect(expiryOf(record)).toBe(stamp.wallMs + MAX_TTL_MS);
    const [put, got] = await client.batch([
      { kind: 'put', key: text('b'), value: text('v'), ttlMs: 60_000 },
      { kind: 'get', key: text('k') },
    ]);
    expect(put?.code).toBeUndefined();
    expect(got?.expiresAtMs).toBe(stamp.wallMs + MAX_TTL_MS);
    const inBatch = node.coordinator.records.get('b') as Uint8Array;
    expect(expiryOf(inBatch)).toBe(versionOf(inBatch).wallMs + 60_000);
  });

  test('a ttl out of bounds, over already, or of what is no put is refused with its field', async () => {
    const put = (ttlMs: number, wallMs?: number): Promise<KvError> =>
      failureOf(
        client.put(text('k'), text('v'), {
          ttlMs,
          ...(wallMs === undefined ? {} : { version: version(wallMs) }),
        }),
      );
    expect(await put(MAX_TTL_MS + 1)).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'ttl_ms: 315360000001, the limit is 315360000000',
      outcome: 'none',
    });
    expect((await put(1_000, Date.now() - 2_000)).message).toMatch(
      /^ttl_ms: 1000, counted from the stamp it was over \d+ ms ago$/,
    );
    const [deleted] = await client.batch([{ kind: 'delete', key: text('k'), ttlMs: 1 }]);
    expect(deleted).toMatchObject({ code: 'INVALID_ARGUMENT', outcome: 'none' });
    expect(deleted?.message).toBe('ttl_ms: goes with a put alone');
  });

  test('minVersion travels, and STALE comes back as a KvError', async () => {
    await client.put(text('k'), text('v'), { version: version(5) });
    await client.get(text('k'), { minVersion: version(5) });
    const error = await failureOf(client.get(text('k'), { minVersion: version(6) }));
    expect(error).toMatchObject({ code: 'STALE', outcome: 'none', retryable: true, node: 'n1' });
  });

  test('a failure keeps its code, outcome, message, node and receipt', async () => {
    node.coordinator.hold = true;
    const failing = failureOf(client.put(text('k'), text('v')));
    await until(() => node.coordinator.held.length > 0);
    const receipt = {
      coordinator: 'n1',
      needed: 2,
      answered: 1,
      replicas: [
        { node: 'n1', result: 'ok' as const, version: version(3) },
        { node: 'n2', result: 'failed' as const, reason: 'broken – ünicode' },
      ],
      shadowedBy: version(9),
    };
    node.coordinator.held.splice(0)[0]?.onAnswer({
      ...refusedWith('NO_QUORUM', 'QUORUM needs 2 of 2 – ünicode', 'unknown'),
      receipt,
    });
    const error = await failing;
    expect(error.code).toBe('NO_QUORUM');
    expect(error.outcome).toBe('unknown');
    expect(error.message).toBe('QUORUM needs 2 of 2 – ünicode');
    expect(error.node).toBe('n1');
    expect(error.receipt).toEqual(receipt);
  });

  test('a level that the coordinator refuses is refused', async () => {
    node.coordinator.failure = refusedWith('NOT_SUPPORTED', 'not here');
    const error = await failureOf(client.get(text('k')));
    node.coordinator.failure = undefined;
    expect(error.code).toBe('NOT_SUPPORTED');
  });

  test('bad input names the field and the bound, and reaches nobody', async () => {
    const before = node.coordinator.executed.length;
    const big = new Uint8Array(1_048_577);
    const cases: [() => Promise<unknown>, RegExp][] = [
      [() => client.get(text('')), /^key: must not be empty/],
      [() => client.get(new Uint8Array(4_097)), /^key: 4097 bytes, the limit is 4096/],
      [() => client.put(text('k'), big), /^value: 1048577 bytes, the limit is 1048576/],
      [() => client.scan({ prefix: text('a'), gte: text('b') }), /^prefix: /],
      [() => client.scan({ limit: 10_001 }), /^limit: 10001, the limit is 10000/],
      [
        () => client.put(text('k'), text('v'), { version: { ...version(1), wallMs: 2 ** 48 } }),
        /^version.wall_ms: /,
      ],
    ];
    for (const [attempt, message] of cases) {
      const error = await failureOf(attempt());
      expect(error.code).toBe('INVALID_ARGUMENT');
      expect(error.outcome).toBe('none');
      expect(error.message).toMatch(message);
    }
    expect(node.coordinator.executed.length).toBe(before);
  });

  test('a caller that goes away cancels its operation', async () => {
    node.coordinator.hold = true;
    const before = node.coordinator.cancelled.length;
    const impatient = openUnaryClient(node.endpoint, { timeoutMs: 100 });
    const error = await failureOf(impatient.put(text('k'), text('v')));
    expect(error).toMatchObject({ code: 'TIMED_OUT', outcome: 'unknown' });
    await until(() => node.coordinator.cancelled.length > before);
    impatient.close();
  });

  test('a caller that goes away ends its batch: nothing more is begun', async () => {
    node.coordinator.hold = true;
    const before = node.coordinator.executed.length;
    const impatient = openUnaryClient(node.endpoint, { timeoutMs: 300 });
    const items = Array.from({ length: 2_000 }, (_, i) => ({
      kind: 'put' as const,
      key: text(`k${i}`),
      value: text('v'),
    }));
    const error = await failureOf(impatient.batch(items));
    expect(error).toMatchObject({ code: 'TIMED_OUT', outcome: 'unknown' });
    await until(() => node.coordinator.held.length === 0);
    node.coordinator.hold = false;
    const begun = node.coordinator.executed.length - before;
    expect(begun).toBeLessThan(1_000);
    await client.get(text('k'));
    expect(node.coordinator.executed.length - before).toBeLessThanOrEqual(begun + 1);
    impatient.close();
  });

  test('a message that is cut within a character is told all the same', async () => {
    const { coordinator } = node;
    const answerOf = coordinator.answerOf.bind(coordinator);
    for (const padding of ['', '.']) {
      coordinator.answerOf = () => refusedWith('NO_QUORUM', padding + '😀'.repeat(2_000));
      const error = await failureOf(client.get(text('k')));
      expect(error).toMatchObject({ code: 'NO_QUORUM', message: /^\.?(😀)+\uFFFD?$/u });
    }
    coordinator.answerOf = answerOf;
  });

  test('what fails unexpectedly is in doubt', async () => {
    const { coordinator } = node;
    const execute = coordinator.execute.bind(coordinator);
    coordinator.execute = () => {
      throw new Error('a defect');
    };
    const error = await failureOf(client.put(text('k'), text('v')));
    coordinator.execute = execute;
    expect(error).toMatchObject({ code: 'INTERNAL', outcome: 'unknown' });
  });

  test('every item of a batch has its own result, in order', async () => {
    const results = await client.batch([
      { kind: 'put', key: text('a'), value: text('1'), version: version(10) },
      { kind: 'put', key: text(''), value: text('1') },
      { kind: 'delete', key: text('b'), version: version(11) },
    ]);
    expect(results).toMatchObject([
      { code: undefined, version: version(10) },
      { code: 'INVALID_ARGUMENT', outcome: 'none' },
      { code: undefined, version: version(11) },
    ]);
    const read = await client.batch([
      { kind: 'get', key: text('a') },
      { kind: 'get', key: text('c') },
    ]);
    expect(read).toMatchObject([
      { found: true, value: Buffer.from('1'), version: version(10) },
      { found: false },
    ]);
  });

  test('a scan passes its range on and answers entries', async () => {
    node.coordinator.page = {
      kind: 'page',
      entries: [{ key: text('p1'), record: recordOf('p1', 'v1', 4) }],
      token: text('next'),
    };
    const page = await client.scan({ prefix: text('p'), reverse: true, consistency: 'ALL' });
    expect(page).toEqual({
      entries: [{ key: Buffer.from('p1'), value: Buffer.from('v1'), version: version(4) }],
      token: Buffer.from('next'),
    });
    expect(node.coordinator.scans.at(-1)).toMatchObject({
      gte: Buffer.from('p'),
      lt: Uint8Array.from(Buffer.from('q')),
      reverse: true,
      limit: 1_000,
      level: 'ALL',
    });
    const fields = { version: version(4), tombstone: false, value: text('v') };
    const head = headOf(encodeRecord(text('p1'), { ...fields, expiresAtMs: 90 }));
    node.coordinator.page = {
      kind: 'page',
      entries: [{ key: text('p1'), record: head }],
      token: new Uint8Array(0),
    };
    expect((await client.scan({ keysOnly: true })).entries).toEqual([
      { key: Buffer.from('p1'), value: Buffer.alloc(0), version: version(4), expiresAtMs: 90 },
    ]);
    node.coordinator.page = {
      kind: 'failure',
      code: 'NO_QUORUM',
      outcome: 'none',
      message: 'too few',
    };
    expect(await failureOf(client.scan())).toMatchObject({ code: 'NO_QUORUM', message: 'too few' });
  });
});

const DIFFERENCE: DifferenceReport = {
  partition: 3,
  key: Buffer.from('k'),
  replicas: [
    {
      node: 'n1',
      result: 'found',
      version: version(6),
      digest: '0011223344556677',
      recordBytes: 0,
      valueBytes: 0,
      tombstone: true,
      expired: false,
      hidden: false,
      reason: '',
    },
  ],
};
const SUMMARY: VerifySummaryReport = {
  partitions: 256,
  compared: 255,
  differingPartitions: 1,
  differing: 1,
  uncompared: [{ node: 'n2', reason: 'it is down' }],
  durationMs: 2.5,
};
const PROGRESS: RepairProgressReport = { peer: 'n2', partitions: 3, done: 1, copied: 4, bytes: 5 };
const REPAIR: PeerRepairReport = {
  peer: 'n2',
  complete: false,
  reason: 'it went away',
  partitions: 3,
  differing: 6,
  pulled: 3,
  pushed: 1,
  bytes: 9,
  durationMs: 7.5,
};

/** Finds as many keys as may be told. */
const repairs: NodeRepairs = {
  verify({ limit, onDifference }) {
    onDifference(DIFFERENCE);
    return Promise.resolve({ ...SUMMARY, differing: limit });
  },
  repair: () => Promise.resolve(),
  local: () => ({ node: 'n1', hintsOwed: [], rounds: [] }),
};

function failsToWrite(): Promise<never> {
  return Promise.reject(new KvError('STORE_FAILED', 'the disk is full'));
}

function neverEnding(): Promise<never> {
  return new Promise(() => {});
}

describe('what operators ask of a node', () => {
  test('describe, status and health', async () => {
    expect(await client.describe()).toEqual(welcomeOf());
    expect(await client.status()).toEqual(STATUS);
    expect(await client.health('quorate.v1.Kv')).toBe('SERVING');
    node.server.setServing('quorate.v1.Kv', false);
    expect(await client.health('quorate.v1.Kv')).toBe('NOT_SERVING');
    expect(await client.health('')).toBe('SERVING');
    node.server.setServing('quorate.v1.Kv', true);
  });

  test("explain shows every replica's copy, and who wins", async () => {
    const older = recordOf('k', 'old', 1);
    const newer = recordOf('k', 'newer', 2);
    node.coordinator.copies = [
      { node: 'n1', answer: { kind: 'found', header: older.subarray(0, 25), record: older } },
      { node: 'n2', answer: { kind: 'found', header: newer.subarray(0, 25), record: newer } },
      { node: 'n3', answer: { kind: 'absent' } },
      { node: 'n4', answer: { kind: 'unreachable', code: 'UNAVAILABLE', message: 'down' } },
    ];
    const report = await client.explain(text('k'));
    expect(report.winner).toBe('n2');
    expect(report.why).toMatch(/highest version/);
    expect(report.replicas).toMatchObject([
      { node: 'n1', result: 'found', version: version(1), valueBytes: 3 },
      { node: 'n2', result: 'found', version: version(2), valueBytes: 5 },
      { node: 'n3', result: 'absent' },
      { node: 'n4', result: 'unreachable', reason: 'UNAVAILABLE: down' },
    ]);
  });

  test('what one node alone knows of a key', async () => {
    const local = {
      node: 'n1',
      hintsOwed: ['n2'],
      promised: version(5),
      committed: version(4),
      rounds: STATUS.repair.rounds,
    };
    const own = await startFakeNode({ repairs: { ...repairs, local: () => local } });
    const ownClient = openUnaryClient(own.endpoint, { timeoutMs: 5_000 });
    expect(await ownClient.explainLocal(text('k'))).toEqual(local);
    ownClient.close();
    await own.server.close(0);
  });

  test('verify tells each difference, and then a summary', async () => {
    const own = await startFakeNode({ repairs });
    const ownClient = openUnaryClient(own.endpoint, { timeoutMs: 5_000 });
    const found: DifferenceReport[] = [];
    const watch = {
      limit: 7,
      onProgress: () => {},
      onDifference: (difference: DifferenceReport) => void found.push(difference),
    };
    expect(await ownClient.verify(watch)).toEqual({ ...SUMMARY, differing: 7 });
    expect(found).toEqual([DIFFERENCE]);
    expect(await ownClient.verify({ ...watch, limit: 0 })).toEqual({ ...SUMMARY, differing: 100 });
    expect(await failureOf(ownClient.verify({ ...watch, limit: 10_001 }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'limit: 10001, the limit is 10000',
    });
    ownClient.close();
    await own.server.close(0);
  });

  test('repair tells how far it is, then what came of each peer', async () => {
    const told: unknown[] = [];
    const telling: NodeRepairs['repair'] = async ({ onProgress, onPeer }) => {
      onProgress(PROGRESS);
      await until(() => told.length > 0);
      onPeer(REPAIR);
    };
    const own = await startFakeNode({ repairs: { ...repairs, repair: telling } });
    const ownClient = openUnaryClient(own.endpoint, { timeoutMs: 5_000 });
    await ownClient.repair({
      onProgress(progress) {
        told.push(progress);
      },
      onPeer: (repair) => void told.push(repair),
    });
    expect(told).toEqual([PROGRESS, REPAIR]);
    ownClient.close();
    await own.server.close(0);
  });

  test('what fails on the way ends the stream with its error; so does a long silence', async () => {
    const own = await startFakeNode({ repairs: { ...repairs, repair: failsToWrite } });
    const ownClient = openUnaryClient(own.endpoint, { timeoutMs: 5_000 });
    const watch = { onProgress: () => {}, onPeer: () => {} };
    expect(await failureOf(ownClient.repair(watch))).toMatchObject({
      code: 'STORE_FAILED',
      message: 'the disk is full',
      node: 'n1',
    });
    ownClient.close();
    await own.server.close(0);
    const mute = await startFakeNode({ repairs: { ...repairs, repair: neverEnding } });
    // The node tells every 250 ms that it is still there.
    const impatient = openUnaryClient(mute.endpoint, { timeoutMs: 20 });
    expect(await failureOf(impatient.repair(watch))).toMatchObject({ code: 'TIMED_OUT' });
    impatient.close();
    await mute.server.close(0);
  });

  test('explain calls a tombstone hidden where those that have nothing have committed its fence', async () => {
    const tombstone = encodeRecord(text('k'), {
      version: version(5),
      tombstone: true,
      value: text(''),
    });
    const found = { kind: 'found', header: tombstone.subarray(0, 25), record: tombstone } as const;
    const hiddenWith = async (...fences: number[]): Promise<boolean | undefined> => {
      node.coordinator.copies = [
        { node: 'n1', answer: found },
        ...fences.map((wallMs, at) => ({
          node: `n${at + 2}`,
          answer: { kind: 'absent', fence: encodeVersion(version(wallMs)) } as const,
        })),
      ];
      return (await client.explain(text('k'))).replicas[0]?.hidden;
    };
    expect(await hiddenWith(5, 9)).toBe(true);
    expect(await hiddenWith(5, 4)).toBe(false);
    expect(await hiddenWith()).toBe(false);
  });

  test('faults are set, shown and cleared', async () => {
    const set = { dropTo: ['n2'], dropFrom: [], delayMs: 3, skewMs: -800 };
    expect(await client.setFaults(set)).toEqual(set);
    expect(await client.getFaults()).toEqual(set);
    expect(faults.describe()).toEqual([
      'sends nothing to n2',
      'delays by 3 ms',
      'clock skewed by -800 ms',
    ]);
    const error = await failureOf(client.setFaults({ ...set, dropTo: ['n9'] }));
    expect(error.message).toMatch(/^drop_to: "n9"/);
    await client.setFaults({ dropTo: [], dropFrom: [], delayMs: 0, skewMs: 0 });
    expect(faults.describe()).toEqual([]);
  });

  test('a node that was not started for faults refuses them', async () => {
    const other = await startFakeNode();
    const otherClient = openUnaryClient(other.endpoint, { timeoutMs: 5_000 });
    expect(await failureOf(otherClient.getFaults())).toMatchObject({
      code: 'REFUSED',
      node: 'n1',
    });
    otherClient.close();
    await other.server.close(1_000);
  });

  test('a port in use is refused with its address', async () => {
    const error = await failureOf(startFakeNode({ listen: node.endpoint }));
    expect(error.code).toBe('UNAVAILABLE');
    expect(error.message).toBe(
      `cannot listen on ${node.endpoint}: the address is in use by another process`,
    );
  });

  test('a node that is not there is UNAVAILABLE, and a write to it is in doubt', async () => {
    const gone = await startFakeNode();
    await gone.server.close(0);
    const goneClient = openUnaryClient(gone.endpoint, { timeoutMs: 2_000 });
    expect(await failureOf(goneClient.status())).toMatchObject({
      code: 'UNAVAILABLE',
      outcome: 'none',
      node: gone.endpoint,
    });
    expect(await failureOf(goneClient.put(text('k'), text('v')))).toMatchObject({
      outcome: 'unknown',
    });
    goneClient.close();
  });
});
