import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { partitionOf } from '../../src/core/placement.js';
import type { AskRequest } from '../../src/io/peer-asks.js';
import type { ReplicaFailure } from '../../src/io/peer.js';
import type { ExchangeResult } from '../../src/maintenance/exchange.js';
import { bytes } from '../replica/fixtures.js';
import { merged, NODES, put, ThreeReplicas, type Held } from './three-replicas.js';

const BUSY: ReplicaFailure = { kind: 'refused', code: 'OVERLOADED', message: 'too much to do' };
const TORN: ReplicaFailure = {
  kind: 'refused',
  code: 'STORE_FAILED',
  message: 'a block is damaged',
};
const FENCED: ReplicaFailure = { kind: 'refused', code: 'REFUSED', message: 'below the fence' };

const held: fc.Arbitrary<Held> = fc.record({
  key: fc.integer({ min: 0, max: 40 }).map((i) => `key/${i}`),
  atMs: fc.integer({ min: 0, max: 5 }),
  writer: fc.integer({ min: 1, max: 3 }),
  tombstone: fc.boolean(),
});
const divergence = fc.tuple(...NODES.map(() => fc.array(held, { maxLength: 40 })));

/** `count` records of different keys. */
function many(count: number, name = 'key', valueBytes = 8): Held[] {
  return Array.from({ length: count }, (_, i) => put(`${name}/${i}`, 0, valueBytes));
}

/** How many records one exchange has brought where. */
function copies({ differences }: ExchangeResult): { pulled: number; pushed: number } {
  let [pulled, pushed] = [0, 0];
  for (const found of differences) {
    pulled += found.pulled;
    pushed += found.pushed;
  }
  return { pulled, pushed };
}

describe('an exchange', () => {
  test('leaves both with the merge of what they held, so a round of them leaves all replicas equal', async () => {
    await fc.assert(
      fc.asyncProperty(divergence, async (contents) => {
        const three = await ThreeReplicas.open();
        for (const [node, records] of contents.entries()) await three.hold(node, records);
        const before = await Promise.all(NODES.map((_, node) => three.contents(node)));
        const results = [
          await three.exchange(0, three.far(1)),
          await three.exchange(1, three.far(2)),
          await three.exchange(0, three.far(2)),
        ];
        expect(results.map(({ end }) => end)).toEqual(['complete', 'complete', 'complete']);
        expect(results.map(({ partitionsLeft }) => partitionsLeft)).toEqual([0, 0, 0]);
        const expected = merged(before);
        for (const node of NODES.keys()) expect(await three.contents(node)).toEqual(expected);
      }),
      { numRuns: 15, seed: 4 },
    );
  });

  test('costs one short ask where nothing differs, however much there is', async () => {
    for (const count of [0, 600]) {
      const three = await ThreeReplicas.open();
      for (const node of [0, 1]) await three.hold(node, many(count));
      const { asks, bytesSent, bytesReceived, end } = await three.exchange(0, three.far(1));
      expect({ asks, bytesSent, bytesReceived, end }).toEqual({
        asks: 1,
        bytesSent: 80,
        bytesReceived: 40,
        end: 'complete',
      });
    }
  });

  test('costs what differs, and not what there is', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 400 }),
        fc.integer({ min: 0, max: 60 }),
        fc.integer({ min: 0, max: 60 }),
        async (same, onlyOwn, onlyTheirs) => {
          const three = await ThreeReplicas.open();
          for (const node of [0, 1]) await three.hold(node, many(same, 'same'));
          await three.hold(0, many(onlyOwn, 'own', 100));
          await three.hold(1, many(onlyTheirs, 'theirs', 100));
          const result = await three.exchange(0, three.far(1));
          const differing = onlyOwn + onlyTheirs;
          expect(copies(result)).toEqual({ pulled: onlyTheirs, pushed: onlyOwn });
          // Two looks at all partitions; of each that differs its groups, its segments and a list of keys.
          expect(result.asks).toBeLessThanOrEqual(2 + 3 * differing);
          const traffic = result.bytesSent + result.bytesReceived;
          expect(result.recordBytes).toBe(differing * (25 + 100));
          expect(traffic).toBeLessThanOrEqual(6_000 + result.recordBytes + differing * 1_200);
        },
      ),
      { numRuns: 8, seed: 4 },
    );
  });

  test('only pulls, or only looks, where it is told to', async () => {
    const three = await ThreeReplicas.open();
    await three.hold(0, [put('a', 1), put('b', 2), put('both', 1)]);
    await three.hold(1, [put('b', 1), put('c', 1), put('both', 1)]);
    const [before, theirs] = [await three.contents(0), await three.contents(1)];
    const looked = await three.exchange(0, three.far(1), { copies: 'look' });
    expect(await three.contents(0)).toEqual(before);
    expect(looked).toMatchObject({ end: 'complete', partitionsLeft: 3, recordBytes: 0 });
    const pulled = await three.exchange(0, three.far(1), { copies: 'pull' });
    expect(copies(pulled)).toEqual({ pulled: 1, pushed: 0 });
    expect(pulled.partitionsLeft).toBe(2);
    expect(await three.contents(0)).toEqual(merged([before, theirs]));
    expect(await three.contents(1)).toEqual(theirs);
  });

  test('finds again what the peer said it took and did not', async () => {
    const three = await ThreeReplicas.open();
    await three.hold(0, many(20));
    const liar = three.far(1);
    liar.dropsApplies = true;
    expect(copies(await three.exchange(0, liar)).pushed).toBe(20);
    expect((await three.contents(1)).size).toBe(0);
    expect(copies(await three.exchange(0, three.far(1))).pushed).toBe(20);
    expect((await three.contents(1)).size).toBe(20);
  });

  test('looks at whole digests where halves of them hide the difference', async () => {
    const three = await ThreeReplicas.open();
    await three.hold(0, [put('hidden', 1)]);
    const peer = three.far(1);
    let hidden = 0;
    peer.twist = (kind, request, reply) => {
      const { groups, partition, wide } = request as AskRequest<'segments'>;
      if (kind !== 'segments' || groups.length === 0 || wide) return reply;
      hidden += 1;
      return { ...reply, digests: three.of(0).trees.segmentDigests(partition, groups, false) };
    };
    expect(copies(await three.exchange(0, peer)).pushed).toBe(1);
    expect(hidden).toBe(1);
  });

  test('does not go into what a write under way is about to make equal', async () => {
    const three = await ThreeReplicas.open();
    for (const node of [0, 1]) await three.hold(node, many(200));
    await three.hold(0, [put('on its way', 1), put('key/7', 1), put('missed', 1)]);
    const peer = three.far(1);
    let looks = 0;
    peer.twist = (kind, _, reply) => {
      // The rest of the write comes between the two looks.
      if (kind === 'segments' && (looks += 1) === 1) {
        void three.hold(1, [put('on its way', 1), put('key/7', 1)]);
      }
      return reply;
    };
    const result = await three.exchange(0, peer);
    expect(copies(result)).toEqual({ pulled: 0, pushed: 1 });
    expect(peer.asked.filter((kind) => kind === 'keys')).toHaveLength(1);
    expect(await three.contents(1)).toEqual(await three.contents(0));
  });

  test.each(['own', 'their'])(
    'goes on where %s disk cannot be read in one partition',
    async (whose) => {
      const three = await ThreeReplicas.open();
      await three.hold(0, many(20, 'here'));
      await three.hold(1, many(20, 'there'));
      const torn = partitionOf(hash32(bytes('here/3')));
      const peer = three.far(1);
      const self = three.of(0);
      const ask = self.ask.bind(self);
      const isTorn = (kind: string, request: object): boolean =>
        kind === 'keys' && (request as AskRequest<'keys'>).partition === torn;
      if (whose === 'own') {
        self.ask = (kind, request, deadlineMs) =>
          isTorn(kind, request) ? Promise.resolve(TORN) : ask(kind, request, deadlineMs);
      } else {
        peer.twist = (kind, request, reply) => (isTorn(kind, request) ? TORN : reply);
      }
      const result = await three.exchange(0, peer);
      const node = whose === 'own' ? 'n1' : 'n2';
      expect(result).toMatchObject({
        end: 'complete',
        partitionsLeft: 1,
        reason: `${node}: its keys of partition ${torn} cannot be read (a block is damaged); if that goes on, stop ${node} and empty its data folder, and the others refill it`,
      });
      const found = result.differences.find(({ partition }) => partition === torn);
      expect(found).toMatchObject({ corrupt: 1, pulled: 0, pushed: 0 });
      expect(copies(result)).toEqual({ pulled: 20, pushed: 19 });
    },
  );

  test('counts what differs at or below a fence, on either side', async () => {
    const three = await ThreeReplicas.open();
    await three.hold(0, [put('old here', 1), put('older there', 9), put('new', 9)]);
    await three.hold(1, [put('older there', 1)]);
    const fence = new Uint8Array(16);
    new DataView(fence.buffer).setBigUint64(0, BigInt(1_700_000_000_005) << 16n);
    const { differences } = await three.exchange(0, three.far(1), { fenceOf: () => fence });
    const sum = (pick: (one: (typeof differences)[number]) => number): number =>
      differences.reduce((total, one) => total + pick(one), 0);
    expect([sum((one) => one.differing), sum((one) => one.belowFence)]).toEqual([3, 2]);
  });

  test('takes it for no failure when a replica refuses a copy because of a fence', async () => {
    const three = await ThreeReplicas.open();
    await three.hold(0, many(3));
    const peer = three.far(1);
    peer.failing = (kind) => (kind === 'apply' ? FENCED : undefined);
    const result = await three.exchange(0, peer);
    expect(result).toMatchObject({ end: 'complete', partitionsLeft: 3 });
    expect(result.differences.map(({ fenced }) => fenced)).toEqual([1, 1, 1]);
  });

  test('asks again who had too much to do, and with fewer at once', async () => {
    const three = await ThreeReplicas.open();
    await three.hold(0, many(300));
    const peer = three.far(1);
    let refusals = 100;
    peer.failing = (kind) => (kind === 'apply' && refusals-- > 0 ? BUSY : undefined);
    const result = await three.exchange(0, peer);
    expect(result).toMatchObject({ end: 'complete', partitionsLeft: 0 });
    expect(await three.contents(1)).toEqual(await three.contents(0));
    expect(peer.applies).toBe(400);
  });

  test('has a bounded number of records under way, few where they are large', async () => {
    const three = await ThreeReplicas.open();
    await three.hold(1, many(2_000));
    const small = three.far(1);
    await three.exchange(0, small);
    expect(small.reads).toBe(2_000);
    expect(small.mostReadsAtOnce).toBeGreaterThan(64);
    expect(small.mostReadsAtOnce).toBeLessThanOrEqual(256);
    await three.hold(1, many(40, 'large', 1_000_000));
    const large = three.far(1);
    await three.exchange(0, large);
    expect(large.reads).toBe(40);
    expect(large.mostReadsAtOnce).toBeLessThanOrEqual(16);
  });

  test('compares many partitions at once: a far peer costs a few round trips, not a few for each', async () => {
    const three = await ThreeReplicas.open();
    await three.hold(1, many(1_000));
    const peer = three.far(1);
    peer.delayMs = 50;
    const { durationMs, differences } = await three.exchange(0, peer);
    expect(differences.length).toBeGreaterThan(240);
    // One after the other, 250 partitions would take four round trips of 100 ms each: 100 s.
    expect(durationMs).toBeLessThan(20_000);
  });

  test('takes longer while the node has other work', async () => {
    const durations: number[] = [];
    for (const busy of [false, true]) {
      const three = await ThreeReplicas.open();
      await three.hold(1, many(400));
      const { durationMs, end } = await three.exchange(0, three.far(1), { busy: () => busy });
      expect(end).toBe('complete');
      durations.push(durationMs);
    }
    const [quiet, busy] = durations as [number, number];
    expect(busy / quiet).toBeGreaterThan(1.7);
  });
});

describe('an exchange ends by itself', () => {
  const cases = fc.record({
    step: fc.integer({ min: 0, max: 60 }),
    how: fc.constantFrom('cut' as const, 'stop' as const, 'deadline' as const, 'silence' as const),
  });

  test('when the peer goes away, when it is stopped, or at its deadline, wherever it is', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ step, how }) => {
        const three = await ThreeReplicas.open();
        await three.hold(0, many(30, 'own'));
        await three.hold(1, many(30, 'theirs'));
        const peer = three.far(1);
        const stop = new AbortController();
        const atMs = three.time.clock.monotonicMs() + step;
        three.time.timers.after(step, () => {
          if (how === 'cut') peer.cut = true;
          if (how === 'silence') peer.delayMs = 1e9;
          if (how === 'stop') stop.abort();
        });
        const deadlineMs = how === 'deadline' ? atMs : atMs + 20_000;
        const { end, durationMs } = await three.exchange(0, peer, {
          deadlineMs,
          signal: stop.signal,
        });
        const expected = { cut: 'failed', stop: 'stopped', deadline: 'late', silence: 'late' }[how];
        expect(['complete', expected]).toContain(end);
        // One that waits for writes under way sees at the next ask that the peer has gone.
        const atMostMs = { cut: 55, stop: 0, deadline: 0, silence: 20_000 }[how];
        expect(durationMs).toBeLessThanOrEqual(step + atMostMs);
        // Whatever it did not do, another one does.
        await three.time.advance(30_000);
        expect((await three.exchange(0, three.far(1))).end).toBe('complete');
        expect(await three.contents(0)).toEqual(await three.contents(1));
        expect((await three.contents(0)).size).toBe(60);
      }),
      { numRuns: 15, seed: 4 },
    );
  });

  test('where one of the two compares with somebody else, or has no trees, or answers nonsense', async () => {
    const three = await ThreeReplicas.open();
    await three.hold(0, [put('a')]);
    const end = three.of(1).compared.beginExchange();
    expect((await three.exchange(0, three.far(1))).end).toBe('busy');
    end();
    const first = three.far(1);
    first.twist = (kind, _, reply) => (kind === 'digests' ? { ...reply, ready: false } : reply);
    expect((await three.exchange(0, first)).end).toBe('not-ready');
    const second = three.far(1);
    second.twist = (kind, _, reply) =>
      kind === 'segments' ? { ...reply, digests: bytes('short') } : reply;
    expect((await three.exchange(0, second)).end).toBe('failed');
    const third = three.far(1);
    third.twist = (kind, _, reply) => (kind === 'keys' ? { ...reply, listed: 0 } : reply);
    expect((await three.exchange(0, third)).end).toBe('failed');
    expect((await three.exchange(0, three.far(1))).end).toBe('complete');
  });

  test('only one of two that begin with each other at once goes on, or neither', async () => {
    const three = await ThreeReplicas.open();
    await three.hold(0, many(50, 'own'));
    await three.hold(1, many(50, 'theirs'));
    for (let lagMs = 0; lagMs < 12; lagMs++) {
      const fresh = put(`again/${lagMs}`);
      await three.hold(0, [fresh]);
      const later = new Promise((resolve) => {
        three.time.timers.after(lagMs, () => resolve(undefined));
      }).then(() => three.begin(1, three.far(0)));
      const [here, there] = await three.finish(Promise.all([three.begin(0, three.far(1)), later]));
      const went = [here, there].filter(({ recordBytes }) => recordBytes > 0);
      expect(went.length).toBeLessThanOrEqual(1);
      await three.time.advance(2_000);
      await three.exchange(0, three.far(1));
    }
  });
});
