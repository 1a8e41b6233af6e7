import { expect, test } from 'vitest';
import { silentLog } from '../../src/io/log.js';
import { startAntiEntropy, type AntiEntropy } from '../../src/maintenance/anti-entropy.js';
import { CatchUp } from '../../src/maintenance/catch-up.js';
import { ExchangeTurns } from '../../src/maintenance/exchange-turns.js';
import { Foreground } from '../../src/maintenance/foreground.js';
import { DEFAULT_TEMPO } from '../../src/core/tempo.js';
import { seededRandom } from '../seeded-random.js';
import { createVirtualTime } from '../virtual-time.js';
import type { FarPeer } from './far-peer.js';
import { ALL_PARTITIONS, merged, NODES, put, ThreeReplicas, type Held } from './three-replicas.js';

interface Cluster {
  readonly three: ThreeReplicas;
  readonly antiEntropy: readonly AntiEntropy[];
  readonly turns: readonly ExchangeTurns[];
  /** The ways from each node to the others. */
  readonly ways: readonly (readonly FarPeer[])[];
  /** Nodes that are being brought what they have missed, or are not serving. */
  readonly catchingUp: Set<string>;
  readonly silent: Set<string>;
  readonly warned: readonly string[];
}

async function createCluster(held: readonly (readonly Held[])[] = []): Promise<Cluster> {
  const three = await ThreeReplicas.open();
  for (const [node, records] of held.entries()) await three.hold(node, records);
  const warned: string[] = [];
  const catchingUp = new Set<string>();
  const silent = new Set<string>();
  const { clock, timers } = three.time;
  const ways = NODES.map((_, node) =>
    [...NODES.keys()].filter((other) => other !== node).map((other) => three.far(other)),
  );
  const turns = NODES.map(
    (_, node) =>
      new ExchangeTurns({
        ...three.ports(node),
        begin: () => three.of(node).compared.beginExchange(),
      }),
  );
  const antiEntropy = NODES.map((nodeId, node) =>
    startAntiEntropy({
      turns: turns[node] as ExchangeTurns,
      peers: () => ways[node] as FarPeer[],
      sharedWith: () => ALL_PARTITIONS,
      tempo: DEFAULT_TEMPO,
      clock,
      timers,
      random: seededRandom(node + 1),
      log: { ...silentLog, warn: (_: object, said: string) => void warned.push(said) },
      serving: () => !silent.has(nodeId),
      busy: () => false,
      isCatchingUp: (other) => catchingUp.has(other),
    }),
  );
  return { three, antiEntropy, turns, ways, catchingUp, silent, warned };
}

function some(count: number, name: string): Held[] {
  return Array.from({ length: count }, (_, i) => put(`${name}/${i}`));
}

function areEqual(three: ThreeReplicas): boolean {
  const digests = NODES.map((_, node) => three.of(node).trees.combined(ALL_PARTITIONS));
  return digests.every((digest) => Buffer.from(digest).equals(digests[0] as Uint8Array));
}

test('replicas that differ in any way are equal a few intervals later, and nobody has to ask for it', async () => {
  const held = [some(40, 'a'), [...some(40, 'b'), put('a/3', 9)], some(40, 'c')];
  const { three, antiEntropy } = await createCluster(held);
  const before = await Promise.all(NODES.map((_, node) => three.contents(node)));
  await three.time.advance(6_000);
  for (const node of NODES.keys()) expect(await three.contents(node)).toEqual(merged(before));
  const { peers, totals } = antiEntropy[0] as AntiEntropy;
  expect(peers.map(({ nodeId }) => nodeId)).toEqual(['n2', 'n3']);
  for (const { end, partitionsDiffering } of peers) {
    expect({ end, partitionsDiffering }).toEqual({ end: 'complete', partitionsDiffering: 0 });
  }
  expect(totals.rounds).toBeGreaterThan(2);
});

test('replicas that are equal cost a hundred bytes an interval each', async () => {
  const { three, antiEntropy } = await createCluster(NODES.map(() => some(50, 'same')));
  await three.time.advance(60_000);
  for (const { totals } of antiEntropy) {
    expect(totals.rounds).toBeGreaterThan(50);
    expect(totals.bytesSent + totals.bytesReceived).toBeLessThan(70 * 130);
    expect(totals.bytesRepaired).toBe(0);
  }
});

test('one that has just connected is compared with soon, one that is not connected never', async () => {
  const { three, antiEntropy, ways } = await createCluster();
  const [toSecond, toThird] = ways[0] as [FarPeer, FarPeer];
  toThird.connected = false;
  await three.time.advance(10_000);
  expect(toThird.asked).toEqual([]);
  expect(toSecond.asked.length).toBeGreaterThan(8);
  toThird.connected = true;
  antiEntropy[0]?.connected('n3');
  await three.time.advance(350);
  expect(toThird.asked).toEqual(['digests']);
});

test('one that is busy is asked again soon, and told nothing until it is free', async () => {
  const { three, ways, antiEntropy } = await createCluster([some(5, 'a')]);
  for (const node of [1, 2]) antiEntropy[node]?.stop();
  const end = three.of(1).compared.beginExchange();
  const [toSecond] = ways[0] as [FarPeer, FarPeer];
  await three.time.advance(5_000);
  expect(toSecond.asked.length).toBeGreaterThan(8);
  expect(new Set(toSecond.asked)).toEqual(new Set(['digests']));
  end();
  await three.time.advance(3_000);
  expect(areEqual(three)).toBe(true);
});

test('one that stays busy does not keep a node from the others', async () => {
  const { three, ways, antiEntropy } = await createCluster([some(5, 'a')]);
  for (const node of [1, 2]) antiEntropy[node]?.stop();
  three.of(1).compared.beginExchange();
  const [toSecond] = ways[0] as [FarPeer, FarPeer];
  await three.time.until(() => toSecond.asked.length > 0, 5_000);
  await three.hold(0, [put('late')]);
  await three.time.advance(3_000);
  expect((await three.contents(2)).has('late')).toBe(true);
});

test('one that is brought what it has missed is left alone until that is over', async () => {
  const { three, ways, catchingUp } = await createCluster([some(50, 'missed')]);
  catchingUp.add('n2');
  for (const node of [0, 1, 2]) {
    three.of(node).compared.waitsFor((other) => catchingUp.has(other));
  }
  await three.time.advance(10_000);
  expect((await three.contents(1)).size).toBe(0);
  expect(ways[0]?.[0]?.asked).toEqual([]);
  expect((await three.contents(2)).size).toBe(50);
  catchingUp.clear();
  await three.time.advance(5_000);
  expect(areEqual(three)).toBe(true);
});

test('a node that does not serve compares with nobody, and one that was stopped neither', async () => {
  const { three, ways, silent, antiEntropy, turns } = await createCluster();
  silent.add('n1');
  antiEntropy[1]?.stop();
  await turns[1]?.stop();
  await three.time.advance(10_000);
  for (const node of [0, 1]) {
    expect(ways[node]?.map(({ asked }) => asked.length)).toEqual([0, 0]);
  }
  expect(ways[2]?.every(({ asked }) => asked.length > 2)).toBe(true);
});

test('a comparison that fails again and again is told once', async () => {
  const { three, ways, antiEntropy, warned } = await createCluster([some(5, 'a')]);
  for (const node of [1, 2]) antiEntropy[node]?.stop();
  const [toSecond] = ways[0] as [FarPeer, FarPeer];
  toSecond.failing = () => ({ kind: 'refused', code: 'STORE_FAILED', message: 'it is damaged' });
  await three.time.advance(10_000);
  expect(toSecond.asked.length).toBeGreaterThan(3);
  expect(warned).toEqual(['comparing with n2 failed: n2: it is damaged']);
});

test('stopping ends a comparison that is under way', async () => {
  const { three, ways, antiEntropy, turns } = await createCluster([some(50, 'a')]);
  const [toSecond] = ways[0] as [FarPeer, FarPeer];
  toSecond.delayMs = 1e9;
  antiEntropy[0]?.connected('n2');
  await three.time.until(() => toSecond.asked.length > 0, 1_000);
  const startedMs = three.time.clock.monotonicMs();
  antiEntropy[0]?.stop();
  await three.finish(turns[0]?.stop() as Promise<void>);
  expect(three.time.clock.monotonicMs()).toBe(startedMs);
});

test('a repair compares with everybody now, waits for who is busy, and tells how far it is', async () => {
  const { three, antiEntropy, ways } = await createCluster([some(60, 'a'), some(60, 'b')]);
  const busyUntil = three.of(2).compared.beginExchange();
  three.time.timers.after(700, busyUntil);
  const told: string[] = [];
  const deadlineMs = three.time.clock.monotonicMs() + 10_000;
  const reports = await three.finish(
    (antiEntropy[0] as AntiEntropy).repair(deadlineMs, (nodeId, { done, partitions }) => {
      if (done === partitions) told.push(nodeId);
    }),
  );
  expect(reports.map(({ nodeId, result }) => [nodeId, result?.end])).toEqual([
    ['n2', 'complete'],
    ['n3', 'complete'],
  ]);
  expect(told).toEqual(['n2', 'n3']);
  expect(areEqual(three)).toBe(true);
  const [, toThird] = ways[0] as [FarPeer, FarPeer];
  toThird.connected = false;
  const again = await three.finish((antiEntropy[0] as AntiEntropy).repair(deadlineMs + 10_000));
  expect(again.map(({ result }) => result?.end)).toEqual(['complete', undefined]);
});

test('comparisons that a node begins come one after the other', async () => {
  const three = await ThreeReplicas.open();
  await three.hold(0, some(30, 'a'));
  const turns = new ExchangeTurns({ ...three.ports(0), begin: () => () => {} });
  const log: string[] = [];
  const compare = (name: string) =>
    turns.take(async () => {
      log.push(`${name} begins`);
      await new Promise<void>((resolve) => {
        three.time.timers.after(10, resolve);
      });
      log.push(`${name} ends`);
      if (name === 'a') throw new Error('on purpose');
    });
  const failing = expect(compare('a')).rejects.toThrow('on purpose');
  await three.finish(Promise.all([compare('b'), compare('c')]));
  await failing;
  expect(log).toEqual(['a', 'b', 'c'].flatMap((name) => [`${name} begins`, `${name} ends`]));
});

test('a node has foreground work while some is under way, and for a moment after some has come', () => {
  const time = createVirtualTime();
  let [underWay, begun] = [0, 0];
  const foreground = new Foreground({
    clock: time.clock,
    underWay: () => underWay,
    begun: () => begun,
  });
  expect(foreground.busy).toBe(false);
  begun += 1;
  expect(foreground.busy).toBe(true);
  underWay = 1;
  void time.advance(10_000);
  expect(foreground.busy).toBe(true);
});

test('hints hold comparing up while they flow, and not for ever', async () => {
  const time = createVirtualTime();
  let owed = 0;
  const catchUp = new CatchUp(time.clock, () => owed);
  expect(catchUp.isUnderWay('n2')).toBe(false);
  owed = 1_000;
  expect(catchUp.isUnderWay('n2')).toBe(true);
  await time.advance(1_900);
  owed = 900;
  expect(catchUp.isUnderWay('n2')).toBe(true);
  await time.advance(1_900);
  expect(catchUp.isUnderWay('n2')).toBe(true);
  await time.advance(200);
  expect(catchUp.isUnderWay('n2')).toBe(false);
  catchUp.connected('n2');
  for (let second = 0; second < 30; second++) {
    expect(catchUp.isUnderWay('n2')).toBe(true);
    owed -= 1;
    await time.advance(1_000);
  }
  expect(catchUp.isUnderWay('n2')).toBe(false);
  owed = 0;
  expect(catchUp.isUnderWay('n2')).toBe(false);
});
