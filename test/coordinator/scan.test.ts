import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createPlacement } from '../../src/core/placement.js';
import {
  compareRecords,
  decodeRecord,
  expiryOf,
  HEADER_BYTES,
  versionOf,
} from '../../src/core/record.js';
import type { NodeFailure, NodePage, NodeScan } from '../../src/io/link.js';
import { createVirtualTime } from '../virtual-time.js';
import { bytes, createWorld, NO_BYTES, recordAt, START_MS, type World } from './fixture.js';
import { MemoryPeer } from './memory-peer.js';

interface Cluster extends World {
  readonly peers: readonly MemoryPeer[];
  scan(input?: Partial<NodeScan>, signal?: AbortSignal): Promise<NodePage | NodeFailure>;
  /** All pages, one after the other. */
  scanAll(input?: Partial<NodeScan>): Promise<NodePage['entries'][number][]>;
}

function requestOf(input: Partial<NodeScan>): NodeScan {
  return {
    gte: NO_BYTES,
    lt: NO_BYTES,
    reverse: false,
    limit: 1_000,
    keysOnly: false,
    token: NO_BYTES,
    level: 'QUORUM',
    zone: '',
    timeoutMs: 1_000,
    traceparent: NO_BYTES,
    ...input,
  };
}

function createCluster(nodes: number, replicas: number): Cluster {
  const time = createVirtualTime(START_MS);
  const members = Array.from({ length: nodes }, (_, i) => ({
    id: `n${i + 1}`,
    address: `n${i + 1}:1`,
    zone: i % 2 === 0 ? 'a' : 'b',
  }));
  const peers = members.map(({ id }) => new MemoryPeer(id, time));
  const world = createWorld({
    placement: createPlacement(members, replicas),
    time,
    peerOf: (nodeId) => peers.find((peer) => peer.nodeId === nodeId) as MemoryPeer,
  });
  const scan: Cluster['scan'] = async (input = {}, signal?: AbortSignal) => {
    const deadlineMs = time.clock.monotonicMs() + 1_000;
    const page = world.coordinator.scan(requestOf(input), deadlineMs, signal);
    let isDone = false;
    void page.then(() => {
      isDone = true;
      return undefined;
    });
    await time.until(() => isDone, 2_000);
    return page;
  };
  return Object.assign(world, {
    peers,
    scan,
    async scanAll(input: Partial<NodeScan> = {}) {
      const entries: NodePage['entries'][number][] = [];
      for (let token: Uint8Array = NO_BYTES; ;) {
        const page = await scan({ ...input, token });
        if (page.kind === 'failure') throw new Error(`${page.code}: ${page.message}`);
        entries.push(...page.entries);
        if (page.token.length === 0) return entries;
        token = page.token;
      }
    },
  });
}

function names(entries: NodePage['entries']): string[] {
  return entries.map(({ key }) => Buffer.from(key).toString('utf8'));
}

const KEYS = Array.from({ length: 40 }, (_, i) => `key-${String(i).padStart(2, '0')}`);

/** Puts on each replica of a key one of its versions: 0 for none. */
function hold(cluster: Cluster, key: string, versions: readonly number[]): void {
  for (const [i, peer] of cluster.peers.entries()) {
    const version = versions[i] ?? 0;
    if (version > 0) {
      peer.hold(recordAt(key, `v${version}`, version, { tombstone: version === 3 }), key);
    }
  }
}

describe('a scan of three replicas', () => {
  const held = fc.array(fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 3, maxLength: 3 }), {
    minLength: KEYS.length,
    maxLength: KEYS.length,
  });

  test('answers at ALL what its dumb twin finds, in order, however it is cut into pages', async () => {
    await fc.assert(
      fc.asyncProperty(
        held,
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 60 }),
        fc.boolean(),
        fc.boolean(),
        async (versions, limit, scanWork, reverse, keysOnly) => {
          const cluster = createCluster(3, 3);
          for (const [i, key] of KEYS.entries()) hold(cluster, key, versions[i] ?? []);
          for (const peer of cluster.peers) peer.scanWork = scanWork;
          const expected = KEYS.flatMap((key, i) => {
            const newest = Math.max(...(versions[i] ?? []));
            return newest === 0 || newest === 3 ? [] : [{ key, newest }];
          });
          if (reverse) expected.reverse();
          const entries = await cluster.scanAll({ level: 'ALL', limit, reverse, keysOnly });
          expect(names(entries)).toEqual(expected.map(({ key }) => key));
          for (const [i, { record }] of entries.entries()) {
            const { key, newest } = expected[i] as (typeof expected)[number];
            expect(compareRecords(record, recordAt(key, `v${newest}`, newest))).toBe(0);
            if (keysOnly) expect(record.length).toBe(HEADER_BYTES);
            else expect(decodeRecord(record)?.value).toEqual(bytes(`v${newest}`));
          }
        },
      ),
      { seed: 31, numRuns: 10 },
    );
  });

  test('leaves what it answered on a majority of disks, tombstones included', async () => {
    await fc.assert(
      fc.asyncProperty(held, async (versions) => {
        const cluster = createCluster(3, 3);
        for (const [i, key] of KEYS.entries()) hold(cluster, key, versions[i] ?? []);
        await cluster.scanAll();
        for (const [i, key] of KEYS.entries()) {
          // The first two are asked: the node itself, and the first of those that are as good as each other.
          const [n1 = 0, n2 = 0] = versions[i] ?? [];
          const newest = Math.max(n1, n2);
          const holders = cluster.peers.filter(({ records }) => {
            const record = records.get(key);
            const version = record === undefined ? 0 : versionOf(record).wallMs - START_MS;
            return version >= newest;
          });
          expect(holders.length).toBeGreaterThanOrEqual(2);
        }
      }),
      { seed: 32, numRuns: 8 },
    );
  });
});

/** Which of the scans that it was asked for since the last call were for a digest. */
function digestsAsked(peer: MemoryPeer): boolean[] {
  return peer.scans.splice(0).map(({ asDigest }) => asDigest);
}

test('replicas that agree send a digest, and one that differs is asked once more', async () => {
  const cluster = createCluster(3, 3);
  for (const key of KEYS) hold(cluster, key, [1, 1, 1]);
  const [n1, n2] = cluster.peers as [MemoryPeer, MemoryPeer, MemoryPeer];
  expect(names(await cluster.scanAll())).toEqual(KEYS);
  expect([digestsAsked(n1), digestsAsked(n2)]).toEqual([[false], [true]]);
  expect(names(await cluster.scanAll({ keysOnly: true, reverse: true }))).toEqual(
    KEYS.toReversed(),
  );
  expect([digestsAsked(n1), digestsAsked(n2)]).toEqual([[false], [true]]);
  for (const differ of [
    () => hold(cluster, 'key-07', [1, 2]),
    () => n2.records.delete('key-39'),
    () => n1.corrupt.add('key-00'),
  ]) {
    differ();
    expect(names(await cluster.scanAll())).toEqual(KEYS);
    expect([digestsAsked(n1), digestsAsked(n2)]).toEqual([[false], [true, false]]);
  }
  // What differed has been mended on the way, but for what nobody can read.
  n1.corrupt.clear();
  expect(names(await cluster.scanAll())).toEqual(KEYS);
  expect([digestsAsked(n1), digestsAsked(n2)]).toEqual([[false], [true]]);
});

test('a node of an earlier release, which knows no digests of pages, is believed what it sends', async () => {
  const cluster = createCluster(3, 3);
  for (const key of KEYS) hold(cluster, key, [1, 1, 1]);
  const [n1, n2] = cluster.peers as [MemoryPeer, MemoryPeer, MemoryPeer];
  const scan = n2.scan.bind(n2);
  n2.scan = (request, deadlineMs) => scan({ ...request, asDigest: false }, deadlineMs);
  hold(cluster, 'key-07', [1, 2]);
  expect(names(await cluster.scanAll())).toEqual(KEYS);
  expect([n1.scans.length, n2.scans.length]).toEqual([1, 1]);
  expect(versionOf(n1.records.get('key-07') as Uint8Array).wallMs - START_MS).toBe(2);
});

test('a range is answered within its bounds, both ways', async () => {
  const cluster = createCluster(5, 3);
  for (const key of KEYS) {
    for (const peer of cluster.peers) peer.hold(recordAt(key, 'v', 1), key);
  }
  const range = { gte: bytes('key-05'), lt: bytes('key-09'), limit: 2 };
  const expected = ['key-05', 'key-06', 'key-07', 'key-08'];
  expect(names(await cluster.scanAll(range))).toEqual(expected);
  expect(names(await cluster.scanAll({ ...range, reverse: true }))).toEqual(expected.toReversed());
  expect(names(await cluster.scanAll({ gte: bytes('x'), lt: bytes('a') }))).toEqual([]);
  expect(names(await cluster.scanAll({ level: 'LOCAL_ONE', zone: 'a' }))).toEqual(KEYS);
});

test('what has expired by the clock of the coordinator is left out, by keys alone as well', async () => {
  const cluster = createCluster(3, 3);
  for (const [key, expiresAtMs] of [
    ['dead', START_MS + 10],
    ['living', START_MS + 10_000],
  ] as const) {
    for (const peer of cluster.peers) peer.hold(recordAt(key, 'v', 1, { expiresAtMs }), key);
  }
  expect(names(await cluster.scanAll())).toEqual(['dead', 'living']);
  await cluster.time.advance(10);
  expect(names(await cluster.scanAll())).toEqual(['living']);
  const heads = await cluster.scanAll({ keysOnly: true });
  expect(names(heads)).toEqual(['living']);
  expect(heads.map(({ record }) => expiryOf(record))).toEqual([START_MS + 10_000]);
});

test('expiry is judged by the heads that replicas send: no key is read again for it', async () => {
  const cluster = createCluster(3, 3);
  const expiresAtMs = START_MS + 10;
  for (const peer of cluster.peers) peer.hold(recordAt('dead', 'v', 1, { expiresAtMs }), 'dead');
  await cluster.time.advance(10);
  let reads = 0;
  for (const peer of cluster.peers) {
    const read = peer.read.bind(peer);
    peer.read = (...args) => {
      reads++;
      read(...args);
    };
  }
  expect(names(await cluster.scanAll())).toEqual([]);
  expect(names(await cluster.scanAll({ keysOnly: true }))).toEqual([]);
  expect(reads).toBe(0);
});

test('a page that is repaired has what has not expired, and repairs what has as it was written', async () => {
  const cluster = createCluster(3, 3);
  const dead = recordAt('dead', 'v', 1, { expiresAtMs: START_MS + 10 });
  const [n1] = cluster.peers as [MemoryPeer];
  n1.hold(dead, 'dead');
  n1.hold(recordAt('living', 'v', 1, { expiresAtMs: START_MS + 10_000 }), 'living');
  await cluster.time.advance(10);
  expect(names(await cluster.scanAll({ level: 'ALL' }))).toEqual(['living']);
  for (const { records } of cluster.peers) expect(records.get('dead')).toEqual(dead);
});

test('a page is cut by bytes, and one larger record still comes', async () => {
  const cluster = createCluster(1, 1);
  const large = 'x'.repeat(600_000);
  for (const key of ['a', 'b', 'c']) cluster.peers[0]?.hold(recordAt(key, large, 1), key);
  cluster.peers[0]?.hold(recordAt('d', large.repeat(2), 1), 'd');
  const page = await cluster.scan();
  expect(page).toMatchObject({ kind: 'page' });
  if (page.kind === 'page') expect(names(page.entries)).toEqual(['a']);
  expect(names(await cluster.scanAll())).toEqual(['a', 'b', 'c', 'd']);
});

test('a node that fails is done without, once', async () => {
  const cluster = createCluster(3, 3);
  for (const key of KEYS) hold(cluster, key, [1, 1, 1]);
  const [, n2, n3] = cluster.peers as [MemoryPeer, MemoryPeer, MemoryPeer];
  n2.fate = () => 'is lost before';
  expect(names(await cluster.scanAll())).toEqual(KEYS);
  expect(n3.scans).toHaveLength(1);
  n3.fate = () => 'is lost before';
  expect(await cluster.scan()).toMatchObject({
    kind: 'failure',
    code: 'NO_QUORUM',
    outcome: 'none',
  });
  n2.connected = false;
  n3.connected = false;
  expect(await cluster.scan()).toMatchObject({ code: 'NO_QUORUM' });
  expect(names(await cluster.scanAll({ level: 'ONE' }))).toEqual(KEYS);
});

test('a replica that sheds load is gone around, and left alone for a while', async () => {
  const cluster = createCluster(3, 3);
  for (const key of KEYS) hold(cluster, key, [1, 1, 1]);
  const [n1, n2, n3] = cluster.peers as [MemoryPeer, MemoryPeer, MemoryPeer];
  n2.fate = () => 'refuses';
  expect(names(await cluster.scanAll())).toEqual(KEYS);
  expect(names(await cluster.scanAll())).toEqual(KEYS);
  expect([n1, n2, n3].map(({ scans }) => scans.length)).toEqual([2, 1, 2]);
  n2.fate = () => 'works';
  n3.fate = () => 'refuses';
  await cluster.time.advance(100);
  expect(names(await cluster.scanAll())).toEqual(KEYS);
  expect(n2.scans).toHaveLength(2);
});

test('when too many replicas shed load the answer is OVERLOADED, and retries do not reach them', async () => {
  const cluster = createCluster(3, 3);
  for (const key of KEYS) hold(cluster, key, [1, 1, 1]);
  const [n1, n2, n3] = cluster.peers as [MemoryPeer, MemoryPeer, MemoryPeer];
  n2.fate = () => 'refuses';
  n3.fate = () => 'refuses';
  const overloaded = { kind: 'failure', code: 'OVERLOADED', outcome: 'none' };
  expect(await cluster.scan()).toMatchObject(overloaded);
  const asked = [n1, n2, n3].map(({ scans }) => scans.length);
  expect(asked).toEqual([1, 1, 1]);
  for (let retry = 0; retry < 5; retry++) {
    expect(await cluster.scan()).toMatchObject(overloaded);
  }
  expect([n1, n2, n3].map(({ scans }) => scans.length)).toEqual(asked);
  expect(names(await cluster.scanAll({ level: 'ONE' }))).toEqual(KEYS);
  n2.fate = () => 'works';
  await cluster.time.advance(100);
  expect(names(await cluster.scanAll())).toEqual(KEYS);
  n2.connected = false;
  n3.connected = false;
  expect(await cluster.scan()).toMatchObject({ code: 'NO_QUORUM' });
});

test('a key that one replica cannot read is read from the others, and named when there are too few', async () => {
  const cluster = createCluster(3, 3);
  for (const key of KEYS) hold(cluster, key, [1, 1, 1]);
  const [n1, n2] = cluster.peers as [MemoryPeer, MemoryPeer, MemoryPeer];
  n1.corrupt.add('key-07');
  expect(names(await cluster.scanAll())).toEqual(KEYS);
  n2.corrupt.add('key-07');
  const failed = await cluster.scan();
  expect(failed).toMatchObject({ kind: 'failure', code: 'RECORD_CORRUPT' });
  if (failed.kind === 'failure') expect(failed.message).toContain('"key-07"');
});

test('a token of another range, direction or cluster is refused, and so is a made-up one', async () => {
  const cluster = createCluster(3, 3);
  for (const key of KEYS) hold(cluster, key, [1, 1, 1]);
  const page = await cluster.scan({ limit: 3 });
  if (page.kind === 'failure') throw new Error(page.message);
  const { token } = page;
  expect(await cluster.scan({ token })).toMatchObject({ kind: 'page' });
  for (const input of [
    { token, reverse: true },
    { token, gte: bytes('key-01') },
    { token, lt: bytes('key-30') },
    { token: bytes('made up') },
    { token: token.subarray(1) },
  ]) {
    const refused = await cluster.scan(input);
    expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT', outcome: 'none' });
    if (refused.kind === 'failure') expect(refused.message).toMatch(/^token: /);
  }
});

test('bad input is refused by field', async () => {
  const cluster = createCluster(2, 2);
  for (const [input, message] of [
    [{ limit: 0 }, /^limit: 0, must be 1 to 10000/],
    [{ limit: 10_001 }, /^limit/],
    [{ gte: new Uint8Array(5_000) }, /^gte: 5000 bytes, the limit is 4097/],
    [{ level: 'THREE' }, /^consistency: THREE asks for 3 replicas, the limit is the 2/],
    [{ level: 'LOCAL_ONE' }, /^zone: must be named/],
    [{ level: 'LOCAL_ONE', zone: 'z' }, /^zone: partition 0 has no replica in zone "z"/],
  ] as const) {
    const refused = await cluster.scan(input);
    expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT' });
    if (refused.kind === 'failure') expect(refused.message).toMatch(message);
  }
  expect(await cluster.scan({ level: 'LINEARIZABLE' })).toMatchObject({ code: 'NOT_SUPPORTED' });
});

test('a scan ends at its deadline, and when its caller goes', async () => {
  const cluster = createCluster(3, 3);
  for (const peer of cluster.peers) peer.delayMs = () => 5_000;
  expect(await cluster.scan()).toMatchObject({ code: 'TIMED_OUT', outcome: 'none' });
  const caller = new AbortController();
  const page = cluster.scan({}, caller.signal);
  caller.abort();
  expect(await page).toMatchObject({ code: 'CANCELLED', outcome: 'none' });
  expect(await cluster.scan({}, caller.signal)).toMatchObject({ code: 'CANCELLED' });
  expect(cluster.coordinator.counters.inFlight).toBe(0);
});

test('a node that hangs costs one scan its deadline, not each', async () => {
  const cluster = createCluster(3, 3);
  for (const key of KEYS) hold(cluster, key, [1, 1, 1]);
  await cluster.scan();
  const hangs = cluster.peers.find(({ nodeId, scans }) => nodeId !== 'n1' && scans.length > 0);
  if (hangs === undefined) throw new Error('no other node was asked');
  hangs.delayMs = () => 60_000;
  expect(await cluster.scan()).toMatchObject({ code: 'TIMED_OUT' });
  await cluster.time.advance(1_000);
  expect(names(await cluster.scanAll())).toEqual(KEYS);
});

test('a larger cluster is asked in shares, and every key comes once', async () => {
  const cluster = createCluster(9, 3);
  for (const key of KEYS) {
    for (const peer of cluster.peers) peer.hold(recordAt(key, 'v', 1), key);
  }
  const entries = await cluster.scanAll({ limit: 7 });
  expect(names(entries)).toEqual(KEYS);
  const asked = cluster.peers.filter(({ scans }) => scans.length > 0);
  expect(asked.length).toBeLessThan(9);
});
