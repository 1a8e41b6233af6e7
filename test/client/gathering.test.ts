import { describe, expect, test } from 'vitest';
import type { Kv } from '../../src/client/kv.js';
import { Gathering } from '../../src/client/gathering.js';
import { NodeState } from '../../src/client/node-state.js';
import type { Consistency } from '../../src/core/consistency.js';
import { FRAME_CUT_BYTES } from '../../src/core/limits.js';
import { FakeCluster, type SentCall } from './fake-cluster.js';
import { resultUnderTime } from './outcome-under-time.js';

interface Puts {
  readonly count: number;
  /** The number of the first key. */
  readonly from?: number;
  readonly keyLength?: number;
  readonly value?: string;
  readonly consistency?: Consistency;
  readonly zone?: string;
}

/** Puts so many keys in one turn, and waits for all; what was sent for them. */
async function putTogether(
  cluster: FakeCluster,
  kv: Kv<string>,
  { count, from = 0, keyLength = 0, value = 'value', ...options }: Puts,
): Promise<readonly SentCall[]> {
  const before = cluster.sent.length;
  const puts = Array.from({ length: count }, (_, i) =>
    kv.put(`key ${from + i}`.padEnd(keyLength, '.'), value, options),
  );
  await resultUnderTime(cluster, Promise.all(puts));
  return cluster.sent.slice(before);
}

function nodesOf(calls: readonly SentCall[]): readonly string[] {
  return [...new Set(calls.map(({ node }) => node))];
}

function bytesByNode(calls: readonly SentCall[]): Map<string, number> {
  const bytes = new Map<string, number>();
  for (const { node, key, record } of calls) {
    bytes.set(node, (bytes.get(node) ?? 0) + key.length + record.length);
  }
  return bytes;
}

/** The node of each of so many turns, in all of which it was one. */
async function leaders(
  cluster: FakeCluster,
  kv: Kv<string>,
  turns: number,
  puts: Puts,
): Promise<readonly string[]> {
  const led: string[] = [];
  for (let turn = 0; turn < turns; turn++) {
    const nodes = nodesOf(await putTogether(cluster, kv, { ...puts, from: turn * puts.count }));
    expect(nodes).toHaveLength(1);
    led.push(...nodes);
  }
  return led;
}

describe('writes that are made in one turn', () => {
  test.each(['QUORUM', 'TWO', 'THREE', 'ALL', 'LOCAL_QUORUM'] as const)(
    'at %s go to one node, and those of the next turns to the others, each in its turn',
    async (consistency) => {
      const cluster = new FakeCluster(3, 3);
      const kv = await cluster.connect();
      const local = consistency === 'LOCAL_QUORUM';
      const zone = kv.cluster().members[0]?.zone ?? '';
      const options = { consistency, ...(local ? { zone } : {}) };
      // More than a frame in all, and far less in each turn.
      const puts = { count: 50, value: 'v'.repeat(1_000), ...options };
      const led = await leaders(cluster, kv, 12, puts);
      for (let turn = 3; turn < 12; turn++) expect(led[turn]).toBe(led[turn - 3]);
      if (!local) expect(new Set(led).size).toBe(3);
    },
  );

  test.each(['ONE', 'LOCAL_ONE', 'LINEARIZABLE'] as const)(
    'at %s go to the first replica of their key',
    async (consistency) => {
      const cluster = new FakeCluster(9, 9);
      cluster.members = cluster.members.map((member, i) => ({ ...member, zone: `zone ${i % 3}` }));
      const kv = await cluster.connect();
      const { members } = kv.cluster();
      const zone = consistency === 'LOCAL_ONE' ? (members[0]?.zone ?? '') : '';
      const near = members.filter((member) => zone === '' || member.zone === zone);
      expect(near.length).toBeGreaterThan(1);
      const options = { consistency, ...(zone === '' ? {} : { zone }) };
      for (const { key, node } of await putTogether(cluster, kv, { count: 40, ...options })) {
        expect(node).toBe(
          kv.preferenceOf(key).find((id) => near.some((member) => member.id === id)),
        );
      }
    },
  );

  test('go to replicas of their keys, and in a larger cluster to no more nodes than these need', async () => {
    const cluster = new FakeCluster(9, 3);
    const kv = await cluster.connect();
    const led = new Map<string, number>();
    for (let turn = 0; turn < 60; turn++) {
      const calls = await putTogether(cluster, kv, { count: 60, from: 60 * turn });
      const used: string[] = [];
      for (const { key, node } of calls) {
        const replicas = kv.preferenceOf(key);
        expect(replicas).toContain(node);
        // Where a replica of the key was written to already, no other was begun with.
        if (!used.includes(node)) {
          expect(replicas.filter((replica) => used.includes(replica))).toEqual([]);
          used.push(node);
        }
        led.set(node, (led.get(node) ?? 0) + 1);
      }
      expect(used.length).toBeLessThanOrEqual(7);
    }
    // None is far from its even share of 3,600.
    expect(led.size).toBe(9);
    for (const count of led.values()) expect(count).toBeGreaterThan(300);
  });

  test.each([
    { what: 'values', keyLength: 0, value: 'v'.repeat(FRAME_CUT_BYTES / 8) },
    { what: 'keys', keyLength: 4_000, value: '' },
  ])('with long $what go on to the next node with what fits into no frame', async (large) => {
    const cluster = new FakeCluster(3, 3);
    const kv = await cluster.connect();
    const size = large.keyLength + large.value.length;
    const frame = Math.floor(FRAME_CUT_BYTES / size);
    const few = bytesByNode(await putTogether(cluster, kv, { ...large, count: frame - 1 }));
    expect(few.size).toBe(1);
    const many = bytesByNode(await putTogether(cluster, kv, { ...large, count: 3 * frame }));
    expect(many.size).toBe(3);
    for (const bytes of many.values())
      expect(bytes).toBeLessThanOrEqual(FRAME_CUT_BYTES + 2 * size);
    // More than all have room for is spread by bytes.
    const most = bytesByNode(await putTogether(cluster, kv, { ...large, count: 10 * frame }));
    const sorted = [...most.values()].sort((a, b) => a - b);
    expect((sorted[2] ?? 0) - (sorted[0] ?? 0)).toBeLessThanOrEqual(2 * FRAME_CUT_BYTES);
  });

  test('are shared evenly though one large turn comes to every node in step', async () => {
    const cluster = new FakeCluster(3, 3);
    const kv = await cluster.connect();
    const sent: SentCall[] = [];
    for (let turn = 0; turn < 90; turn++) {
      const count = turn % 3 === 0 ? 100 : 1;
      sent.push(...(await putTogether(cluster, kv, { count })));
    }
    const [least = 0, , most = 0] = [...bytesByNode(sent).values()].sort((a, b) => a - b);
    expect(most / least).toBeLessThan(1.2);
  });

  test('pass over a node that is not well, whichever key begins the turn', async () => {
    const cluster = new FakeCluster(3, 3);
    const kv = await cluster.connect();
    cluster.node('n2').behaviour = { kind: 'refuse', code: 'STORE_FAILED', outcome: 'none' };
    await putTogether(cluster, kv, { count: 40 });
    for (let turn = 0; turn < 3; turn++) await putTogether(cluster, kv, { count: 10 });
    const led = await leaders(cluster, kv, 20, { count: 10 });
    expect(new Set(led)).toEqual(new Set(['n1', 'n3']));
  });

  test('stay together where every node is as far away', async () => {
    const cluster = new FakeCluster(3, 3);
    const kv = await cluster.connect();
    const away = await putTogether(cluster, kv, { count: 40, zone: 'no node is here' });
    expect(nodesOf(away)).toHaveLength(1);
  });
});

function never(): never {
  throw new Error('waits for nothing but the turn');
}

describe('what is gathered', () => {
  test('ends with the turn, of which it hears once, and a node that was away is given no more than a frame ahead of others', () => {
    const ends: (() => void)[] = [];
    const gathering = new Gathering({
      turn: (action) => ends.push(action),
      after: never,
      every: never,
    });
    const endTurn = (): void => {
      expect(ends).toHaveLength(1);
      ends.pop()?.();
    };
    const [away, here] = [new NodeState('away'), new NodeState('here')];
    for (let turn = 0; turn < 10; turn++) {
      for (let i = 0; i < 4; i++) gathering.add(here, FRAME_CUT_BYTES / 8);
      expect(gathering.prefers(here, away)).toBe(true);
      endTurn();
      expect(gathering.prefers(away, here)).toBe(true);
    }
    gathering.add(away, FRAME_CUT_BYTES - 1);
    expect(gathering.prefers(away, here)).toBe(true);
    gathering.add(away, 2);
    expect(gathering.prefers(here, away)).toBe(true);
    endTurn();
    expect(gathering.prefers(here, away)).toBe(true);
  });
});
