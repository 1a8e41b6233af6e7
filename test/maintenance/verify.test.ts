import { expect, test } from 'vitest';
import { digestBytes, GROUPS, SEGMENTS_PER_GROUP } from '../../src/core/hash-tree.js';
import { hash32 } from '../../src/core/hash.js';
import { createPlacement, partitionOf } from '../../src/core/placement.js';
import { versionOf } from '../../src/core/record.js';
import type { AskRequest } from '../../src/io/peer-asks.js';
import type { Peer, ReadCall } from '../../src/io/peer.js';
import { ExchangeTurns } from '../../src/maintenance/exchange-turns.js';
import { verify, type VerifyOptions, type VerifyReport } from '../../src/maintenance/verify.js';
import { START_WALL_MS } from '../replica/fixtures.js';
import type { FarPeer } from './far-peer.js';
import { NODES, put, ThreeReplicas, type Held } from './three-replicas.js';

interface Stage {
  readonly three: ThreeReplicas;
  readonly far: Map<string, FarPeer>;
  readonly run: (options?: Partial<VerifyOptions>) => Promise<VerifyReport>;
}

/** The first of three nodes verifies, or a node that is no replica of anything. */
async function createStage(nodeId: string = NODES[0], replication = 3): Promise<Stage> {
  const three = await ThreeReplicas.open();
  const members = NODES.map((id) => ({ id, address: `${id}:1`, zone: 'z' }));
  const placement = createPlacement(members, replication);
  const far = new Map(NODES.map((id, node) => [id as string, three.far(node)]));
  const peerOf = (id: string): Peer | undefined =>
    id === nodeId ? three.of(NODES.indexOf(id as (typeof NODES)[0])) : far.get(id);
  const { clock, timers } = three.time;
  const turns = new ExchangeTurns({ ...three.ports(0), begin: () => () => {} });
  const ports = { nodeId, turns, placement: () => placement, peerOf, clock, timers };
  return {
    three,
    far,
    run: (options = {}) =>
      three.finish(verify(ports, { deadlineMs: clock.monotonicMs() + 30_000, ...options })),
  };
}

/** Keys with what each replica has of them: the time of its version, or what else it says. */
function told({ keys }: VerifyReport): Record<string, unknown> {
  return Object.fromEntries(
    keys.map(({ key, copies }) => [
      Buffer.from(key).toString(),
      copies
        .map(({ node, answer }) => [
          node,
          answer.kind === 'found' ? versionOf(answer.header).wallMs - START_WALL_MS : answer.kind,
        ])
        .sort(([a], [b]) => String(a).localeCompare(String(b))),
    ]),
  );
}

function some(count: number, name = 'key'): Held[] {
  return Array.from({ length: count }, (_, i) => put(`${name}/${i}`));
}

test('finds nothing where all replicas are equal, by a few bytes from each', async () => {
  const { three, far, run } = await createStage();
  for (const node of NODES.keys()) await three.hold(node, some(100));
  expect(await run()).toEqual({
    partitionsCompared: 256,
    uncompared: [],
    differing: 0,
    partitionsDiffering: 0,
    keys: [],
  });
  expect([...far.values()].map(({ asked }) => asked)).toEqual([[], ['digests'], ['digests']]);
});

test('tells every key on which any two replicas differ, and what each of them has, from any node', async () => {
  for (const from of ['n1', 'n3', 'n9']) {
    const { three, run } = await createStage(from);
    for (const node of NODES.keys()) await three.hold(node, some(50));
    await three.hold(1, [put('newer', 5), put('key/1', 1)]);
    await three.hold(2, [put('newer', 3)]);
    const before = await Promise.all(NODES.map((_, node) => three.contents(node)));
    const report = await run();
    expect(report).toMatchObject({
      partitionsCompared: 256,
      uncompared: [],
      differing: 2,
      partitionsDiffering: 2,
    });
    expect(told(report)).toEqual({
      newer: [
        ['n1', 'absent'],
        ['n2', 5],
        ['n3', 3],
      ],
      'key/1': [
        ['n1', 0],
        ['n2', 1],
        ['n3', 0],
      ],
    });
    for (const node of NODES.keys()) expect(await three.contents(node)).toEqual(before[node]);
  }
});

test('counts all that differ, and tells no more than asked for', async () => {
  const { three, run } = await createStage();
  await three.hold(1, some(150));
  const report = await run({ maxKeys: 10 });
  expect(report.differing).toBe(150);
  expect(report.keys).toHaveLength(10);
});

test('a write under way is no difference', async () => {
  const { three, run } = await createStage();
  await three.hold(0, some(20));
  await three.hold(1, some(20));
  three.time.timers.after(500, () => void three.hold(2, some(20)));
  expect(await run()).toMatchObject({ differing: 0, partitionsCompared: 256 });
});

test('says which replica it could not compare, and compares the others', async () => {
  const { three, far, run } = await createStage();
  await three.hold(0, [put('missing')]);
  await three.hold(2, [put('missing')]);
  const third = far.get('n3') as FarPeer;
  third.connected = false;
  third.cut = true;
  const report = await run();
  expect(report).toMatchObject({ partitionsCompared: 0, differing: 1 });
  expect(report.uncompared).toEqual([{ nodeId: 'n3', partitions: 256, reason: 'not connected' }]);
  expect(told(report)).toEqual({
    missing: [
      ['n1', 0],
      ['n2', 'absent'],
      ['n3', 'failed'],
    ],
  });
});

test.each([2_000, 5_000])(
  'waits %i ms for a replica that nobody hears, once, and compares the others',
  async (timeoutMs) => {
    for (const from of ['n1', 'n9']) {
      const { three, far, run } = await createStage(from);
      await three.hold(0, some(200));
      (far.get('n2') as FarPeer).silent = true;
      const { clock } = three.time;
      const beganMs = clock.monotonicMs();
      const report = await run({ timeoutMs });
      // And the moment after which what differs is read again.
      expect(clock.monotonicMs() - beganMs).toBeLessThan(timeoutMs + 1_500);
      expect(report).toMatchObject({ partitionsCompared: 0, differing: 200 });
      expect(report.uncompared).toEqual([
        { nodeId: 'n2', partitions: 256, reason: 'n2: no answer in time' },
      ]);
    }
  },
);

test('says which partition cannot be read, and compares the others', async () => {
  const { three, far, run } = await createStage();
  await three.hold(0, some(20));
  const torn = partitionOf(hash32(Buffer.from('key/3')));
  const second = far.get('n2') as FarPeer;
  second.twist = (kind, request, reply) =>
    kind === 'keys' && (request as AskRequest<'keys'>).partition === torn
      ? { kind: 'refused', code: 'STORE_FAILED', message: 'a block is damaged' }
      : reply;
  const { partitionsCompared, uncompared, differing } = await run();
  expect({ partitionsCompared, differing }).toEqual({ partitionsCompared: 255, differing: 20 });
  expect(uncompared).toMatchObject([{ nodeId: 'n2', partitions: 1 }]);
  expect(uncompared[0]?.reason).toContain(`partition ${torn} cannot be read (a block is damaged)`);
});

test('does not take for equal what could not be read again', async () => {
  const { three, far, run } = await createStage();
  await three.hold(0, some(10));
  for (const id of ['n2', 'n3']) {
    const peer = far.get(id) as FarPeer;
    peer.failing = (kind) =>
      kind === 'read' ? { kind: 'failed', code: 'TIMED_OUT', message: 'no answer' } : undefined;
  }
  const report = await run();
  const partitions = 256 - report.partitionsCompared;
  expect(partitions).toBeGreaterThan(5);
  expect(report.uncompared).toEqual([
    { nodeId: 'n2', partitions, reason: 'n2: no answer' },
    { nodeId: 'n3', partitions, reason: 'n3: no answer' },
  ]);
});

test('reads nothing again when nobody wants to know any more', async () => {
  const { three, far, run } = await createStage();
  await three.hold(0, some(300));
  const stop = new AbortController();
  const second = far.get('n2') as FarPeer;
  const read = second.read.bind(second);
  second.read = (...call) => {
    stop.abort();
    read(...call);
  };
  await run({ signal: stop.signal });
  expect(second.reads).toBe(64);
});

test('waits for a replica that is comparing with somebody else, and says so when it does not end', async () => {
  const { three, run } = await createStage();
  await three.hold(0, [put('missing')]);
  const end = three.of(1).compared.beginExchange();
  three.time.timers.after(2_000, end);
  expect(await run()).toMatchObject({ differing: 1, uncompared: [] });
  three.of(1).compared.beginExchange();
  const { uncompared } = await run({ deadlineMs: three.time.clock.monotonicMs() + 3_000 });
  expect(uncompared).toEqual([
    { nodeId: 'n2', partitions: 256, reason: 'n2: is comparing with another node' },
  ]);
});

test('a record that a replica cannot read is a difference', async () => {
  const { three, far, run } = await createStage();
  for (const node of NODES.keys()) await three.hold(node, [put('torn')]);
  const second = far.get('n2') as FarPeer;
  second.twist = (kind, request, reply) => {
    if (kind === 'digests') return { ...reply, equal: false, digests: new Uint8Array(256 * 8) };
    if (kind === 'segments') {
      const { groups, wide } = request as AskRequest<'segments'>;
      const count = groups.length === 0 ? GROUPS : groups.length * SEGMENTS_PER_GROUP;
      return { ...reply, digests: new Uint8Array(count * digestBytes(wide)) };
    }
    return { ...reply, keys: [], headers: [], corrupt: [Buffer.from('torn')] };
  };
  second.failing = (kind) =>
    kind === 'read'
      ? { kind: 'refused', code: 'RECORD_CORRUPT', message: 'fails its checksum' }
      : undefined;
  expect(told(await run())).toEqual({
    torn: [
      ['n1', 0],
      ['n2', 'refused'],
      ['n3', 0],
    ],
  });
});

test('a tombstone is no difference where a fence has dropped it', async () => {
  const { three, far, run } = await createStage();
  const gone: Held = { ...put('gone', 3), tombstone: true };
  for (const node of [0, 1]) await three.hold(node, [gone]);
  expect((await run()).differing).toBe(1);
  const fence = new Uint8Array(16);
  new DataView(fence.buffer).setBigUint64(0, BigInt(START_WALL_MS + 4) << 16n);
  const third = far.get('n3') as FarPeer;
  const read = third.read.bind(third);
  third.read = (call: ReadCall, slot: number, part: 'record' | 'header') => {
    const onRead: ReadCall['onRead'] = (_, answer) =>
      call.onRead(slot, answer.kind === 'absent' ? { ...answer, fence } : answer);
    read({ ...call, onRead }, slot, part);
  };
  expect((await run()).differing).toBe(0);
});

test('compares only replicas of a partition with each other', async () => {
  const { three, run } = await createStage('n1', 2);
  // Every node holds what it is a replica of, and two thirds of the partitions are.
  for (const node of NODES.keys()) await three.hold(node, some(30));
  await three.hold(2, some(60, 'more'));
  const { differing, partitionsCompared } = await run();
  expect(partitionsCompared).toBe(256);
  expect(differing).toBeGreaterThan(20);
  expect(differing).toBeLessThan(60);
});
