import { describe, expect, test } from 'vitest';
import type { Kv } from '../../src/client/kv.js';
import { FakeCluster, type SentCall } from './fake-cluster.js';
import { resultUnderTime } from './outcome-under-time.js';

const MEBIBYTE = 1024 * 1024;

/** Puts so many keys in one turn, and waits for all; what was sent for them. */
async function putTogether(
  cluster: FakeCluster,
  kv: Kv<string>,
  count: number,
  value = 'value',
): Promise<readonly SentCall[]> {
  const before = cluster.sent.length;
  const puts = Array.from({ length: count }, (_, i) => kv.put(`key ${i}`, value));
  await resultUnderTime(cluster, Promise.all(puts));
  return cluster.sent.slice(before);
}

function nodesOf(calls: readonly SentCall[]): readonly string[] {
  return [...new Set(calls.map(({ node }) => node))];
}

describe('plain writes', () => {
  test('that are made in one turn go to one node, and those of the next to another: each has its turn', async () => {
    const cluster = new FakeCluster(3, 3);
    const kv = await cluster.connect();
    const led: string[] = [];
    for (let turn = 0; turn < 12; turn++) {
      const nodes = nodesOf(await putTogether(cluster, kv, 40));
      expect(nodes).toHaveLength(1);
      led.push(...nodes);
    }
    expect(new Set(led.slice(0, 3)).size).toBe(3);
    for (let turn = 3; turn < 12; turn++) expect(led[turn]).toBe(led[turn - 3]);
  });

  test('go to replicas of their keys, and in a larger cluster to no more nodes than these need', async () => {
    const cluster = new FakeCluster(9, 3);
    const kv = await cluster.connect();
    const led = new Map<string, number>();
    for (let turn = 0; turn < 60; turn++) {
      const calls = await putTogether(cluster, kv, 60);
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
    // None has less than a quarter of its even share of 3,600.
    expect(led.size).toBe(9);
    for (const count of led.values()) expect(count).toBeGreaterThan(100);
  });

  test('go on to the next node where one of them has been given a mebibyte of the turn', async () => {
    const cluster = new FakeCluster(3, 3);
    const kv = await cluster.connect();
    const value = 'v'.repeat(MEBIBYTE / 8);
    const given = new Map<string, number>();
    for (const { node, record } of await putTogether(cluster, kv, 24, value)) {
      given.set(node, (given.get(node) ?? 0) + record.length);
    }
    expect(given.size).toBe(3);
    for (const bytes of given.values()) expect(bytes).toBeLessThanOrEqual(MEBIBYTE + value.length);
    // More than all have room for is spread by bytes.
    given.clear();
    for (const { node, record } of await putTogether(cluster, kv, 60, value)) {
      given.set(node, (given.get(node) ?? 0) + record.length);
    }
    const [least = 0, , most = 0] = [...given.values()].sort((a, b) => a - b);
    expect(most - least).toBeLessThanOrEqual(2 * value.length);
  });

  test('pass over a node that is not well, as everything does', async () => {
    const cluster = new FakeCluster(3, 3);
    const kv = await cluster.connect();
    cluster.node('n2').behaviour = { kind: 'refuse', code: 'STORE_FAILED', outcome: 'none' };
    for (let turn = 0; turn < 3; turn++) await putTogether(cluster, kv, 10);
    const later: string[] = [];
    for (let turn = 0; turn < 6; turn++) {
      later.push(...nodesOf(await putTogether(cluster, kv, 10)));
    }
    expect(new Set(later)).toEqual(new Set(['n1', 'n3']));
  });
});
