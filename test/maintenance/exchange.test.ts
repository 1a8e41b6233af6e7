import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareRecords, encodeRecord } from '../../src/core/record.js';
import { memoryStoreOpener } from '../../src/io/memory-store.js';
import type { Peer } from '../../src/io/peer.js';
import {
  exchange,
  type ExchangeOptions,
  type ExchangeResult,
} from '../../src/maintenance/exchange.js';
import {
  applyCall,
  bytes,
  IDENTITY,
  openTestReplica,
  scanOf,
  START_WALL_MS,
  type TestReplica,
} from '../replica/fixtures.js';
import { createVirtualTime, type VirtualTime } from '../virtual-time.js';
import { FarPeer } from './far-peer.js';

const ALL = new Uint8Array(32).fill(0xff);
const NODES = ['n1', 'n2', 'n3'] as const;

interface Held {
  readonly key: Uint8Array;
  readonly atMs: number;
  readonly writer: number;
  readonly tombstone: boolean;
}

function recordFor({ key, atMs, writer, tombstone }: Held): Uint8Array {
  const version = { wallMs: START_WALL_MS + atMs, logical: 0, writerHi: 0, writerLo: writer };
  return encodeRecord(key, { version, tombstone, value: bytes(`value ${writer}`) });
}

class Stage {
  readonly time: VirtualTime;
  readonly replicas: TestReplica[] = [];
  private constructor(time: VirtualTime) {
    this.time = time;
  }

  static async open(): Promise<Stage> {
    const stage = new Stage(createVirtualTime(START_WALL_MS));
    for (const nodeId of NODES) {
      const identity = { ...IDENTITY, nodeId };
      stage.replicas.push(await openTestReplica(memoryStoreOpener(), { identity }, stage.time));
    }
    return stage;
  }

  /** What the coordinator never brought: each goes to one replica only. */
  async hold(node: number, held: readonly Held[]): Promise<void> {
    for (const one of held) {
      const call = applyCall(one.key, recordFor(one), { source: 'copy' });
      this.of(node).apply(call, 0);
    }
    await this.time.settle();
  }

  of(node: number): Peer {
    return (this.replicas[node] as TestReplica).replica;
  }

  far(node: number): FarPeer {
    return new FarPeer(this.of(node), this.time);
  }

  async exchange(
    node: number,
    peer: Peer,
    options: Partial<ExchangeOptions> = {},
  ): Promise<ExchangeResult> {
    const { clock, timers } = this.time;
    const ports = { self: this.of(node), clock, timers, placementVersion: () => 1 };
    let result: ExchangeResult | undefined;
    const run = async (): Promise<void> => {
      result = await exchange(ports, peer, ALL, {
        deadlineMs: clock.monotonicMs() + 60_000,
        ...options,
      });
    };
    const running = run();
    await this.time.until(() => result !== undefined, 120_000);
    await running;
    // A node that was compared with keeps others waiting for a moment after the last step.
    await this.time.advance(1_000);
    return result as unknown as ExchangeResult;
  }

  /** All that a replica holds, by key. */
  async contents(node: number): Promise<Map<string, Uint8Array>> {
    const held = new Map<string, Uint8Array>();
    const page = this.of(node).scan(scanOf({ limit: 10_000 }), Number.POSITIVE_INFINITY);
    await this.time.settle();
    const answer = await page;
    if (answer.kind !== 'page') throw new Error(answer.message);
    for (const { key, record } of answer.entries) {
      held.set(Buffer.from(key).toString(), Buffer.from(record));
    }
    return held;
  }
}

function merged(contents: readonly Map<string, Uint8Array>[]): Map<string, Uint8Array> {
  const all = new Map<string, Uint8Array>();
  for (const held of contents) {
    for (const [key, record] of held) {
      const before = all.get(key);
      if (before === undefined || compareRecords(record, before) > 0) all.set(key, record);
    }
  }
  return new Map([...all].sort(([a], [b]) => (a < b ? -1 : 1)));
}

const held: fc.Arbitrary<Held> = fc.record({
  key: fc.integer({ min: 0, max: 40 }).map((i) => bytes(`key/${i}`)),
  atMs: fc.integer({ min: 0, max: 5 }),
  writer: fc.integer({ min: 1, max: 3 }),
  tombstone: fc.boolean(),
});
const divergence = fc.tuple(...NODES.map(() => fc.array(held, { maxLength: 40 })));

describe('an exchange', () => {
  test('leaves both replicas with the merge of what they held, and a round of them all replicas', async () => {
    await fc.assert(
      fc.asyncProperty(divergence, async (contents) => {
        const stage = await Stage.open();
        for (const [node, records] of contents.entries()) await stage.hold(node, records);
        const before = await Promise.all(NODES.map((_, node) => stage.contents(node)));
        const results = [
          await stage.exchange(0, stage.far(1)),
          await stage.exchange(1, stage.far(2)),
          await stage.exchange(0, stage.far(2)),
        ];
        expect(results.map(({ end }) => end)).toEqual(['complete', 'complete', 'complete']);
        const expected = merged(before);
        for (const node of NODES.keys()) expect(await stage.contents(node)).toEqual(expected);
      }),
      { numRuns: 40, seed: 4 },
    );
  });
});
