import { compareRecords, encodeRecord } from '../../src/core/record.js';
import { memoryStoreOpener } from '../../src/io/memory-store.js';
import type { Peer } from '../../src/io/peer.js';
import type { StoreOpener } from '../../src/io/store.js';
import {
  exchange,
  type ExchangeOptions,
  type ExchangePorts,
  type ExchangeResult,
} from '../../src/maintenance/exchange.js';
import type { LocalReplica } from '../../src/replica/local-replica.js';
import {
  applyCall,
  bytes,
  IDENTITY,
  openTestReplica,
  scanOf,
  START_WALL_MS,
} from '../replica/fixtures.js';
import { createVirtualTime, type VirtualTime } from '../virtual-time.js';
import { FarPeer } from './far-peer.js';

export const NODES = ['n1', 'n2', 'n3'] as const;
export const ALL_PARTITIONS = new Uint8Array(32).fill(0xff);

/** A record that some replica holds: of equal versions, the writer says whose is newer. */
export interface Held {
  readonly key: string;
  readonly atMs: number;
  readonly writer: number;
  readonly tombstone: boolean;
  readonly valueBytes?: number;
}

export function put(key: string, atMs = 0, valueBytes = 8): Held {
  return { key, atMs, writer: 1, tombstone: false, valueBytes };
}

function recordFor({ key, atMs, writer, tombstone, valueBytes = 8 }: Held): Uint8Array {
  const version = { wallMs: START_WALL_MS + atMs, logical: 0, writerHi: 0, writerLo: writer };
  return encodeRecord(bytes(key), { version, tombstone, value: Buffer.alloc(valueBytes, writer) });
}

/** What each replica holds, by key; the same keys in the same order are equal. */
export type Contents = ReadonlyMap<string, Uint8Array>;

/** What all of them are to hold in the end. */
export function merged(contents: readonly Contents[]): Contents {
  const all = new Map<string, Uint8Array>();
  for (const [key, record] of contents.flatMap((held) => [...held])) {
    const before = all.get(key);
    if (before === undefined || compareRecords(record, before) > 0) all.set(key, record);
  }
  return new Map([...all].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Three replicas over memory stores under one virtual time, each of which holds what the test gives it. */
export class ThreeReplicas {
  readonly time: VirtualTime = createVirtualTime(START_WALL_MS);
  readonly #replicas: LocalReplica[] = [];

  /** `disk`: of the first of them. */
  static async open(disk: StoreOpener = memoryStoreOpener()): Promise<ThreeReplicas> {
    const three = new ThreeReplicas();
    for (const nodeId of NODES) {
      const identity = { ...IDENTITY, nodeId };
      const opener = nodeId === 'n1' ? disk : memoryStoreOpener();
      const { replica } = await openTestReplica(opener, { identity }, three.time);
      three.#replicas.push(replica);
    }
    return three;
  }

  of(node: number): LocalReplica {
    return this.#replicas[node] as LocalReplica;
  }

  /** A way to the replica over a network. */
  far(node: number): FarPeer {
    return new FarPeer(this.of(node), this.time);
  }

  /** Gives records to one replica behind the back of the others. */
  async hold(node: number, held: readonly Held[]): Promise<void> {
    for (const one of held) {
      this.of(node).apply(applyCall(bytes(one.key), recordFor(one), { source: 'copy' }), 0);
    }
    await this.time.settle();
  }

  async contents(node: number): Promise<Contents> {
    const scan = this.of(node).scan(
      scanOf({ limit: 10_000, maxBytes: 1e9 }),
      Number.POSITIVE_INFINITY,
    );
    await this.time.settle();
    const page = await scan;
    if (page.kind !== 'page') throw new Error(page.message);
    return new Map(
      page.entries.map(({ key, record }) => [Buffer.from(key).toString(), Buffer.from(record)]),
    );
  }

  ports(node: number): ExchangePorts {
    const { clock, timers } = this.time;
    return { self: this.of(node), clock, timers, placementVersion: () => 1 };
  }

  /** Runs until `work` is done. */
  async finish<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const done = work.finally(() => {
      isDone = true;
    });
    await this.time.until(() => isDone, 600_000);
    return done;
  }

  /** One exchange, and the moment for which the peer keeps others waiting after its last step. */
  async exchange(
    node: number,
    peer: Peer,
    options: Partial<ExchangeOptions> = {},
  ): Promise<ExchangeResult> {
    const deadlineMs = this.time.clock.monotonicMs() + 60_000;
    const all = { deadlineMs, ...options };
    const result = await this.finish(exchange(this.ports(node), peer, ALL_PARTITIONS, all));
    await this.time.advance(1_000);
    return result;
  }

  /** Begins an exchange as a node does: others hear that it is busy until it has ended. */
  async begin(node: number, peer: Peer): Promise<ExchangeResult> {
    const end = this.of(node).compared.beginExchange();
    const deadlineMs = this.time.clock.monotonicMs() + 60_000;
    const result = await exchange(this.ports(node), peer, ALL_PARTITIONS, { deadlineMs });
    end();
    return result;
  }
}
