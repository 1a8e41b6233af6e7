import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GROUPS, SEGMENTS, segmentOf } from '../../src/core/hash-tree.js';
import { hash32 } from '../../src/core/hash.js';
import { partitionOf } from '../../src/core/placement.js';
import { headerOf } from '../../src/core/record.js';
import type { AskKind, AskReply, AskRequest, KeysReply } from '../../src/io/peer-asks.js';
import type { ReplicaFailure } from '../../src/io/peer.js';
import { recordKey } from '../../src/replica/layout.js';
import { createFaultyDisk } from './faulty-disk.js';
import { applyCall, bytes, openTestReplica, recordOf, type TestReplica } from './fixtures.js';
import { ALL_PARTITIONS } from './tree-fixtures.js';

const PARTITION = 7;
const UNEQUAL = new Uint8Array(8).fill(1);

const KEYS = Array.from({ length: 100_000 }, (_, i) => bytes(`key/${i}`)).filter(
  (key) => partitionOf(hash32(key)) === PARTITION,
);

async function ask<K extends AskKind>(
  { replica, time }: TestReplica,
  kind: K,
  request: AskRequest<K>,
): Promise<AskReply<K> | ReplicaFailure> {
  const answer = replica.ask(kind, request, Number.POSITIVE_INFINITY);
  await time.settle();
  return answer;
}

async function fill({ replica, time }: TestReplica, keys: readonly Buffer[]): Promise<void> {
  for (const key of keys) replica.apply(applyCall(key, recordOf(key, 1)), 0);
  await time.settle();
}

/** Takes a lease, by the smallest step of a comparison. */
const step = (node: TestReplica, from: string) =>
  ask(node, 'segments', { from, partition: PARTITION, groups: new Uint8Array(0), wide: false });

const look = (node: TestReplica, from: string, combined = UNEQUAL) =>
  ask(node, 'digests', { from, partitions: ALL_PARTITIONS, combined });

async function list(node: TestReplica, segments: readonly number[]): Promise<KeysReply> {
  const reply = await ask(node, 'keys', { from: 'n2', partition: PARTITION, segments });
  if (reply.kind !== 'reply') throw new Error(reply.message);
  return reply;
}

const nameOf = (key: Uint8Array) => Buffer.from(key).toString();

describe('a replica that is compared with', () => {
  test('says so when all is equal, and gives the digests when it is not', async () => {
    const node = await openTestReplica(createFaultyDisk());
    await fill(node, KEYS.slice(0, 5));
    const { trees } = node.replica;
    expect(await look(node, 'n2')).toMatchObject({
      ready: true,
      equal: false,
      busy: false,
      digests: trees.digests(ALL_PARTITIONS),
    });
    const equal = await look(node, 'n2', Buffer.from(trees.combined(ALL_PARTITIONS)));
    expect(equal).toMatchObject({ equal: true, busy: false, digests: new Uint8Array(0) });
  });

  test('keeps others waiting from the first step of one until a second after its last, unless they are equal', async () => {
    const node = await openTestReplica(createFaultyDisk());
    await fill(node, KEYS.slice(0, 5));
    await step(node, 'n2');
    await node.time.advance(999);
    expect(await look(node, 'n3')).toMatchObject({ busy: true, digests: new Uint8Array(0) });
    expect(await look(node, 'n2')).toMatchObject({ busy: false });
    const combined = Buffer.from(node.replica.trees.combined(ALL_PARTITIONS));
    expect(await look(node, 'n3', combined)).toMatchObject({ equal: true, busy: false });
    await step(node, 'n2');
    await node.time.advance(999);
    expect(await look(node, 'n3')).toMatchObject({ busy: true });
    await node.time.advance(1);
    expect(await look(node, 'n3')).toMatchObject({ busy: false });
  });

  test('keeps nobody waiting who takes and brings nothing', async () => {
    const node = await openTestReplica(createFaultyDisk());
    await fill(node, KEYS.slice(0, 5));
    await step(node, 'n2');
    const request = { from: 'n3', partitions: ALL_PARTITIONS, combined: UNEQUAL, takes: true };
    expect(await ask(node, 'digests', request)).toMatchObject({
      busy: false,
      digests: node.replica.trees.digests(ALL_PARTITIONS),
    });
  });

  test('keeps all waiting while it compares itself with another', async () => {
    const node = await openTestReplica(createFaultyDisk());
    await fill(node, KEYS.slice(0, 5));
    const endFirst = node.replica.compared.beginExchange();
    const endSecond = node.replica.compared.beginExchange();
    endFirst();
    endFirst();
    expect(await look(node, 'n2')).toMatchObject({ busy: true });
    expect(await look(node, 'n1')).toMatchObject({ busy: false });
    endSecond();
    expect(await look(node, 'n2')).toMatchObject({ busy: false });
  });

  test('says nothing while its trees are rebuilt', async () => {
    const disk = createFaultyDisk();
    await fill(await openTestReplica(disk), KEYS.slice(0, 5));
    await disk.store.close();
    disk.walkGate = new Promise(() => {});
    const node = await openTestReplica(disk);
    expect(await look(node, 'n2')).toMatchObject({ kind: 'reply', ready: false });
    expect(await step(node, 'n2')).toMatchObject({ kind: 'refused', code: 'UNAVAILABLE' });
    const listed = await ask(node, 'keys', { from: 'n2', partition: PARTITION, segments: [1] });
    expect(listed).toMatchObject({ kind: 'refused', code: 'UNAVAILABLE' });
  });

  test('refuses what is out of bounds and names the field', async () => {
    const node = await openTestReplica(createFaultyDisk());
    const from = 'n2';
    const none = new Uint8Array(0);
    const answers = await Promise.all([
      ask(node, 'digests', { from, partitions: new Uint8Array(31), combined: UNEQUAL }),
      ask(node, 'segments', { from, partition: 256, groups: none, wide: false }),
      ask(node, 'segments', { from, partition: 0, groups: Uint8Array.of(GROUPS), wide: false }),
      ask(node, 'keys', { from, partition: -1, segments: [0] }),
      ask(node, 'keys', { from, partition: 0, segments: [SEGMENTS] }),
      ask(node, 'keys', { from, partition: 0, segments: [2, 1] }),
      ask(node, 'keys', { from, partition: 0, segments: [] }),
    ]);
    expect(answers.map((answer) => 'message' in answer && answer.message.split(':')[0])).toEqual([
      'partitions',
      'partition',
      'groups',
      'partition',
      'segments',
      'segments',
      'segments',
    ]);
  });
});

describe('the keys of segments', () => {
  test('are those of the records on disk, with their headers, whichever segments are asked for', async () => {
    const node = await openTestReplica(createFaultyDisk());
    await fill(node, KEYS);
    const segments = fc.uniqueArray(fc.nat(SEGMENTS - 1), { minLength: 1, maxLength: 200 });
    const spread = fc.oneof(segments, fc.constant(Array.from({ length: SEGMENTS }, (_, i) => i)));
    await fc.assert(
      fc.asyncProperty(spread, async (some) => {
        const asked = some.toSorted((a, b) => a - b);
        const reply = await list(node, asked);
        const wanted = KEYS.filter((key) => asked.includes(segmentOf(hash32(key))));
        expect(reply.listed).toBe(asked.length);
        expect(reply.keys.map(nameOf).sort()).toEqual(wanted.map(nameOf).sort());
        const headers = reply.keys.map((key) => Uint8Array.from(headerOf(recordOf(key, 1))));
        expect(reply.headers.map((header) => Uint8Array.from(header))).toEqual(headers);
      }),
      { seed: 5, numRuns: 20 },
    );
  });

  test('come of fewer segments where records are large, for all of them are read', async () => {
    const node = await openTestReplica(createFaultyDisk());
    const value = 'x'.repeat(1024 * 1024);
    const keys = KEYS.slice(0, 40);
    for (const key of keys) {
      node.replica.apply(applyCall(key, recordOf(key, 1, value)), 0);
      await node.time.settle();
    }
    const listed = new Set<string>();
    let asked = Array.from({ length: SEGMENTS }, (_, i) => i);
    const counts: number[] = [];
    while (asked.length > 0) {
      const reply = await list(node, asked);
      for (const key of reply.keys) listed.add(nameOf(key));
      asked = asked.slice(reply.listed);
      counts.push(reply.keys.length);
    }
    expect(listed).toEqual(new Set(keys.map(nameOf)));
    expect(counts).toEqual([16, 16, 8]);
  });

  test('come in whole segments, as many as there is room for', async () => {
    const node = await openTestReplica(createFaultyDisk());
    const long = Array.from({ length: 60_000 }, (_, i) => Buffer.alloc(4_000, `${i}/`)).filter(
      (key) => partitionOf(hash32(key)) === PARTITION,
    );
    await fill(node, long);
    const listed = new Set<string>();
    let asked = Array.from({ length: SEGMENTS }, (_, i) => i);
    let replies = 0;
    while (asked.length > 0) {
      const reply = await list(node, asked);
      expect(reply.keys.reduce((sum, key) => sum + key.length, 0)).toBeLessThan(200_000);
      expect(reply.listed).toBeGreaterThan(0);
      for (const key of reply.keys) listed.add(Buffer.from(key).toString());
      asked = asked.slice(reply.listed);
      replies += 1;
    }
    expect(listed.size).toBe(long.length);
    expect(replies).toBeGreaterThan(4);
  });

  test('name those that cannot be read', async () => {
    const disk = createFaultyDisk();
    const node = await openTestReplica(disk);
    const key = KEYS[0] as Buffer;
    await fill(node, KEYS.slice(0, 3));
    await disk.store.batch().put(recordKey(key), Buffer.alloc(40, 1)).commit({ sync: true });
    const { corrupt, keys } = await list(node, [segmentOf(hash32(key))]);
    expect(corrupt.map((one) => Buffer.from(one))).toEqual([key]);
    expect(keys).toEqual([]);
    expect(node.replica.corruptKeys).toHaveLength(1);
  });
});
