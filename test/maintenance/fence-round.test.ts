import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { PARTITIONS, partitionOf, type Placement } from '../../src/core/placement.js';
import { DEFAULT_TEMPO } from '../../src/core/tempo.js';
import { silentLog } from '../../src/io/log.js';
import type { AskKind } from '../../src/io/peer-asks.js';
import type { ReplicaFailure } from '../../src/io/peer.js';
import { ExchangeTurns } from '../../src/maintenance/exchange-turns.js';
import {
  startFenceRounds,
  type FenceRoundReport,
  type FenceRounds,
} from '../../src/maintenance/fence-round.js';
import { bytes } from '../replica/fixtures.js';
import { seededRandom } from '../seeded-random.js';
import type { FarPeer } from './far-peer.js';
import { NODES, put, ThreeReplicas, type Held } from './three-replicas.js';

const KEY = 'k';
const PARTITION = partitionOf(hash32(bytes(KEY)));
/** Longer than any fence stays behind the clock. */
const LATER_MS = 10 * 60_000;

/** Rounds come when the test says so, and only then. */
const SELDOM_MS = 1_000 * LATER_MS;

/** Every partition has the same replicas in the same order. */
function placementOf(replicas: readonly number[]): Placement {
  return {
    version: 1,
    members: NODES.map((id) => ({ id, zone: 'z', address: `${id}:1` })),
    replicas: 3,
    preference: Array.from({ length: PARTITIONS }, () => replicas),
  };
}

function deleted(key: string, atMs: number): Held {
  return { ...put(key, atMs), tombstone: true };
}

interface Cluster {
  readonly three: ThreeReplicas;
  readonly rounds: FenceRounds;
  /** The ways from the first node to the others. */
  readonly ways: readonly [FarPeer, FarPeer];
  quarantined: boolean;
  run(): Promise<FenceRoundReport>;
  /** How many records each replica has, hidden ones included. */
  records(): readonly number[];
}

async function createCluster(
  held: readonly (readonly Held[])[],
  placement = placementOf([0, 1, 2]),
): Promise<Cluster> {
  const three = await ThreeReplicas.open();
  for (const [node, records] of held.entries()) await three.hold(node, records);
  await three.time.advance(LATER_MS);
  const self = three.of(0);
  const ways = [three.far(1), three.far(2)] as const;
  const { clock, timers } = three.time;
  const rounds = startFenceRounds({
    replica: self,
    turns: new ExchangeTurns({
      ...three.ports(0),
      begin: () => self.compared.beginExchange(),
    }),
    peerOf: (id) => (id === 'n1' ? self : ways[Number(id.slice(1)) - 2]),
    placement: () => placement,
    tempo: { ...DEFAULT_TEMPO, fenceEveryMs: SELDOM_MS },
    clock,
    timers,
    random: seededRandom(1),
    log: silentLog,
    busy: () => false,
    quarantined: () => cluster.quarantined,
  });
  const cluster: Cluster = {
    three,
    rounds,
    ways,
    quarantined: false,
    async run() {
      const report = await three.finish(rounds.run());
      await three.time.advance(1_000);
      return report;
    },
    records: () => NODES.map((_, node) => three.of(node).trees.totals().records),
  };
  return cluster;
}

const all = (held: readonly Held[]) => NODES.map(() => held);

/** What each replica has committed of the partition of KEY; 0: nothing. */
function committed({ three }: Cluster): readonly number[] {
  return NODES.map((_, node) => {
    const fence = three.of(node).fences.committed(PARTITION);
    return fence.length === 0 ? 0 : Buffer.from(fence).readUIntBE(0, 6);
  });
}

function failOn(kind: AskKind): (asked: string) => ReplicaFailure | undefined {
  return (asked) =>
    asked === kind
      ? { kind: 'failed', code: 'TIMED_OUT', message: 'no answer in time' }
      : undefined;
}

describe('a round', () => {
  test('drops tombstones that are old enough at every replica, and no others', async () => {
    const old = [deleted('a', 1), deleted('b', 2), put('c', 3)];
    const young = [deleted('d', LATER_MS - 1_000)];
    const cluster = await createCluster(all([...old, ...young]));
    expect(await cluster.run()).toMatchObject({ voted: 2, moved: 2, obstacles: [] });
    expect(cluster.records()).toEqual([2, 2, 2]);
    for (const node of NODES.keys()) {
      expect([...(await cluster.three.contents(node)).keys()]).toEqual(['c', 'd']);
    }
    // Nothing is left to be done.
    expect(await cluster.run()).toMatchObject({ voted: 0, moved: 0 });
  });

  test('makes replicas equal first', async () => {
    const cluster = await createCluster([
      [put(KEY, 1)],
      [deleted(KEY, 2)],
      [put(KEY, 1), put('other', 1)],
    ]);
    // The tombstone is only on another one: this node has nothing to drop, and does not know yet.
    expect(await cluster.run()).toMatchObject({ voted: 0 });
    await cluster.three.hold(0, [deleted(KEY, 2)]);
    expect(await cluster.run()).toMatchObject({ voted: 1, moved: 1 });
    expect(cluster.records()).toEqual([0, 0, 1]);
  });

  test('moves nothing while a replica is away, or cannot be asked', async () => {
    const cluster = await createCluster(all([deleted(KEY, 1)]));
    const [, far] = cluster.ways;
    far.connected = false;
    expect(await cluster.run()).toMatchObject({ voted: 0 });
    far.connected = true;
    for (const kind of ['promise-fence', 'digests', 'seal-fence'] as const) {
      far.failing = failOn(kind);
      expect(await cluster.run()).toMatchObject({ voted: 1, moved: 0 });
      expect(cluster.records()).toEqual([1, 1, 1]);
      expect(committed(cluster)).toEqual([0, 0, 0]);
    }
    far.failing = () => undefined;
    expect(await cluster.run()).toMatchObject({ voted: 1, moved: 1 });
    expect(cluster.records()).toEqual([0, 0, 0]);
  });

  test('finds out what became of the fence of an earlier one', async () => {
    const cluster = await createCluster(all([deleted(KEY, 1)]));
    const [, far] = cluster.ways;
    far.failing = failOn('commit-fence');
    expect(await cluster.run()).toMatchObject({ voted: 1, moved: 0 });
    expect(cluster.records()).toEqual([0, 0, 1]);
    // It can be read all the same, and nothing is copied back.
    const result = await cluster.three.exchange(0, cluster.three.far(2));
    expect(result.differences).toEqual([]);
    far.failing = () => undefined;
    expect(await cluster.run()).toMatchObject({ voted: 1, moved: 1 });
    expect(cluster.records()).toEqual([0, 0, 0]);
    expect(new Set(committed(cluster)).size).toBe(1);
    expect(await cluster.run()).toMatchObject({ voted: 0 });
  });

  test('takes no fence over a copy that came after the comparison', async () => {
    const cluster = await createCluster(all([deleted(KEY, 1)]));
    const [near] = cluster.ways;
    let late: Promise<void> | undefined;
    near.twist = (kind, _, reply) => {
      // The last look at this replica has gone out.
      if (kind === 'digests') late ??= cluster.three.hold(1, [deleted(KEY, 2)]);
      return reply;
    };
    expect(await cluster.run()).toMatchObject({ voted: 1, moved: 0 });
    await late;
    expect(committed(cluster)).toEqual([0, 0, 0]);
    // The next one sees it, mends it, and goes on.
    expect(await cluster.run()).toMatchObject({ voted: 1, moved: 1 });
    expect(cluster.records()).toEqual([0, 0, 0]);
  });

  test.each([1, 2])('is taken over from %i replicas before it that make none', async (before) => {
    const order = [1, 2].toSpliced(before, 0, 0);
    const cluster = await createCluster(all([deleted(KEY, 1)]), placementOf(order));
    expect(await cluster.run()).toMatchObject({ voted: 0 });
    await cluster.three.time.advance(before * 9 * SELDOM_MS);
    expect(cluster.records()).toEqual([1, 1, 1]);
    await cluster.three.time.advance(before * 3 * SELDOM_MS);
    expect(cluster.records()).toEqual([0, 0, 0]);
  });

  test('is none of a node whose clock is wrong', async () => {
    const cluster = await createCluster(all([deleted(KEY, 1)]));
    cluster.quarantined = true;
    expect(await cluster.run()).toMatchObject({ voted: 0 });
    expect(cluster.records()).toEqual([1, 1, 1]);
  });
});
