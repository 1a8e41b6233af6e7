import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Consistency } from '../../src/core/consistency.js';
import { compareRecords } from '../../src/core/record.js';
import { seededRandom } from '../seeded-random.js';
import { createVirtualTime } from '../virtual-time.js';
import {
  createWorld,
  getOf,
  placementOf,
  putOf,
  recordAt,
  START_MS,
  type TestOperation,
} from './fixture.js';
import { MemoryPeer, type Fate } from './memory-peer.js';

const LEVELS: readonly Consistency[] = ['ONE', 'TWO', 'QUORUM', 'ALL'];

interface Done {
  readonly operation: TestOperation;
  readonly startedMs: number;
  readonly answeredMs: number;
}

/** What it says of the key: what was written, or what was read. */
function recordOf({ operation }: Done): Uint8Array | undefined {
  return operation.kind === 'put' ? operation.record : operation.answers[0]?.record;
}

/**
 * One history on one key: three replicas behind three coordinators of one network that delays, refuses and loses, with a
 * share of the calls going wrong.
 */
async function history(seed: number, faultShare: number, levels: readonly Consistency[]) {
  const random = seededRandom(seed);
  const time = createVirtualTime(START_MS);
  const nodes = ['n1', 'n2', 'n3'].map((id) => ({ id, zone: 'a' }));
  const peers = new Map(nodes.map(({ id }) => [id, new MemoryPeer(id, time)]));
  const fates: readonly Fate[] = ['refuses', 'is lost before', 'is lost after'];
  for (const peer of peers.values()) {
    peer.delayMs = () => random.fraction() * 12;
    peer.fate = () =>
      random.fraction() < faultShare
        ? (fates[Math.floor(random.fraction() * fates.length)] as Fate)
        : 'works';
  }
  const placement = placementOf(nodes, () => [0, 1, 2]);
  const worlds = nodes.map(({ id }) =>
    createWorld({
      placement,
      self: id,
      time,
      peerOf: (nodeId) => peers.get(nodeId) as MemoryPeer,
    }),
  );
  const done: Done[] = [];
  const begun: TestOperation[] = [];
  for (let i = 0; i < 30; i++) {
    const world = worlds[Math.floor(random.fraction() * 3)];
    const level = levels[Math.floor(random.fraction() * levels.length)] as Consistency;
    const startedMs = time.clock.monotonicMs();
    const input = { level, deadlineMs: startedMs + 60, receipt: true };
    const operation =
      random.fraction() < 0.5
        ? getOf('k', input)
        : putOf('k', recordAt('k', `v${i}`, i, { tombstone: i % 7 === 0 }), input);
    operation.onAnswer = (answer) => {
      operation.answers.push(answer);
      done.push({ operation, startedMs, answeredMs: time.clock.monotonicMs() });
    };
    begun.push(operation);
    world?.coordinator.execute(operation);
    await time.advance(random.fraction() * 20);
  }
  await time.advance(1_000);
  return { begun, done, peers: [...peers.values()], worlds, time };
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 });

test('every operation is answered once, and leaves nothing behind', async () => {
  await fc.assert(
    fc.asyncProperty(seeds, async (seed) => {
      const { begun, worlds, time } = await history(seed, 0.2, LEVELS);
      for (const { answers } of begun) expect(answers).toHaveLength(1);
      for (const { coordinator } of worlds) expect(coordinator.counters.inFlight).toBe(0);
      expect(time.waiting, 'no timer runs while nothing is under way').toBe(0);
    }),
    { seed: 21, numRuns: 20 },
  );
});

test('a write is on as many disks as its level needs, and one answered `none` is on no disk', async () => {
  await fc.assert(
    fc.asyncProperty(seeds, async (seed) => {
      const { done, peers } = await history(seed, 0.3, LEVELS);
      for (const { operation } of done) {
        if (operation.kind !== 'put') continue;
        const answer = operation.answers[0];
        const holders = peers.filter((peer) => {
          const held = peer.records.get('k');
          return held !== undefined && compareRecords(held, operation.record) >= 0;
        });
        if (answer?.code === undefined) {
          expect(holders.length).toBeGreaterThanOrEqual(answer?.receipt?.needed ?? 3);
        } else if (answer.outcome === 'none') {
          const same = peers.some((peer) => peer.records.get('k') === operation.record);
          expect(same).toBe(false);
        }
      }
    }),
    { seed: 22, numRuns: 20 },
  );
});

test('QUORUM reads see every write acknowledged before them, and successive ones never go backwards', async () => {
  let answeredReads = 0;
  await fc.assert(
    fc.asyncProperty(seeds, async (seed) => {
      const { done } = await history(seed, 0.15, ['QUORUM']);
      const good = done.filter(({ operation }) => operation.answers[0]?.code === undefined);
      for (const read of good) {
        if (read.operation.kind !== 'get') continue;
        answeredReads++;
        for (const before of good) {
          const known = recordOf(before);
          if (before.answeredMs > read.startedMs || known === undefined) continue;
          const record = recordOf(read);
          expect(record, 'what was acknowledged is there').toBeDefined();
          if (record !== undefined) {
            expect(compareRecords(record, known)).toBeGreaterThanOrEqual(0);
          }
        }
      }
    }),
    { seed: 23, numRuns: 30 },
  );
  expect(answeredReads, 'the network is not so bad that nothing is shown').toBeGreaterThan(100);
});

test('a read at ONE sees every write acknowledged at ALL before it', async () => {
  await fc.assert(
    fc.asyncProperty(seeds, async (seed) => {
      const { done } = await history(seed, 0.05, ['ONE', 'ALL']);
      const all = done.filter(
        ({ operation }) =>
          operation.kind === 'put' &&
          operation.level === 'ALL' &&
          operation.answers[0]?.code === undefined,
      );
      for (const read of done) {
        const [answer] = read.operation.answers;
        if (read.operation.kind !== 'get' || answer?.code !== undefined) continue;
        for (const write of all) {
          if (write.answeredMs > read.startedMs) continue;
          expect(
            compareRecords(answer?.record as Uint8Array, write.operation.record),
          ).toBeGreaterThanOrEqual(0);
        }
      }
    }),
    { seed: 24, numRuns: 20 },
  );
});

test('whoever may lack a write that some disk may have is owed its key', async () => {
  await fc.assert(
    fc.asyncProperty(seeds, async (seed) => {
      const { begun, peers, worlds } = await history(seed, 0.2, ['ALL']);
      const written = begun.filter(({ kind }) => kind === 'put');
      const newest = written
        .map(({ record }) => record)
        .sort(compareRecords)
        .at(-1);
      const owed = new Set(worlds.flatMap((world) => world.owed));
      const holds = (peer: MemoryPeer): boolean => peer.records.get('k') === newest;
      if (newest === undefined || !peers.some(holds)) return;
      for (const peer of peers) {
        if (holds(peer)) continue;
        expect(owed.has(`${peer.nodeId} k`)).toBe(true);
      }
    }),
    { seed: 25, numRuns: 20 },
  );
});
