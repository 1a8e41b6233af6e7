import type { NodeCoordinator } from '../../src/coordinator/coordinator.js';
import type { Operation } from '../../src/coordinator/operation.js';
import { hash32 } from '../../src/core/hash.js';
import { decodeRecord, encodeRecord, versionOf } from '../../src/core/record.js';
import { encodeVersion, type Version } from '../../src/core/version.js';
import type { NodeAnswer } from '../../src/io/link.js';
import { memoryStoreOpener } from '../../src/io/memory-store.js';
import type {
  ApplyAnswer,
  ApplyCall,
  Peer,
  PrepareAnswer,
  PrepareCall,
  ReplicaFailure,
} from '../../src/io/peer.js';
import type { LocalReplica } from '../../src/replica/local-replica.js';
import { IDENTITY, openTestReplica, readOne, START_WALL_MS } from '../replica/fixtures.js';
import { seededRandom } from '../seeded-random.js';
import { createVirtualTime, type VirtualClock } from '../virtual-time.js';
import { bytes, createWorld, getOf, NO_BYTES, operationOf, placementOf, putOf } from './fixture.js';

export const NODES = ['n1', 'n2', 'n3'].map((id) => ({ id, zone: 'a' }));
const CUT: ReplicaFailure = { kind: 'unreachable', code: 'UNAVAILABLE', message: 'cut off' };
export const KEY = bytes('k');
/** Many rounds of one key at once take about a second, by chance more or less. */
const PATIENT_MS = 60_000;

/** Three replicas, and on each node a coordinator with its clock; whoever is cut off is reached by nobody but itself. */
export class Cluster {
  readonly time = createVirtualTime(START_WALL_MS);
  readonly clocks = NODES.map(() => this.time.clockWithSkew(0));
  readonly cut = new Set<string>();
  prepares = 0;
  /** Of the prepares those that were answered with a whole record. */
  sent = 0;
  reads = 0;
  /** Runs before the next call that brings a record to a replica. */
  beforeApply: (() => void) | undefined;
  /** Runs before a round hears that its record was taken. */
  beforeApplied: () => void = () => {};
  readonly replicas: LocalReplica[] = [];
  readonly #coordinators: NodeCoordinator[] = [];
  #logical = 0;

  static async start(): Promise<Cluster> {
    const cluster = new Cluster();
    for (const [i, { id }] of NODES.entries()) {
      const identity = { ...IDENTITY, nodeId: id };
      const clock = cluster.clocks[i] as VirtualClock;
      const choices = { identity, clock, random: seededRandom(i + 1), fenceLagMs: 0 };
      const { replica } = await openTestReplica(memoryStoreOpener(), choices, cluster.time);
      cluster.replicas.push(replica);
    }
    const placement = placementOf(NODES, () => [0, 1, 2]);
    for (const [i, { id }] of NODES.entries()) {
      const own = cluster.replicas[i] as LocalReplica;
      const { coordinator } = createWorld({
        placement,
        self: id,
        time: { ...cluster.time, clock: cluster.clocks[i] as VirtualClock },
        peerOf: (to) => cluster.#way(id, to),
        stamp: () => own.stamp(),
        observe: (version) => void own.hlc.observe(version),
      });
      cluster.#coordinators.push(coordinator);
    }
    return cluster;
  }

  /** A stamp of a client whose clock is right. */
  id(): Version {
    this.#logical += 1;
    const wallMs = this.time.clock.wallMs();
    return { wallMs, logical: this.#logical, writerHi: 9, writerLo: 9 };
  }

  async run(node: number, operation: Operation & { answers: NodeAnswer[] }): Promise<NodeAnswer> {
    this.#coordinators[node]?.execute(operation);
    await this.time.until(() => operation.answers.length > 0, 60_000);
    return operation.answers[0] as NodeAnswer;
  }

  put(node: number, value: string, expected: Uint8Array = NO_BYTES, id = this.id()) {
    return this.run(node, linear(value, expected, id));
  }

  outcome(node: number, id: Version): Promise<NodeAnswer> {
    const asked = { level: 'LINEARIZABLE', minVersion: encodeVersion(id) } as const;
    return this.run(node, operationOf('outcome', KEY, NO_BYTES, asked));
  }

  plain(node: number, value: string, version = this.id()): Promise<NodeAnswer> {
    return this.run(node, putOf('k', recordFor(value, version), { receipt: true }));
  }

  async settle(node: number): Promise<NodeAnswer> {
    let answer: NodeAnswer | undefined;
    const deadlineMs = this.time.clock.monotonicMs() + 10_000;
    const above = this.replicas[node]?.promises.of(KEY, hash32(KEY)) ?? NO_BYTES;
    void this.#coordinators[node]?.settle(KEY, above, deadlineMs).then((given) => (answer = given));
    await this.time.until(() => answer !== undefined, 60_000);
    return answer as unknown as NodeAnswer;
  }

  /** Of what each replica holds. */
  async versions(): Promise<Version[]> {
    const versions: Version[] = [];
    for (const replica of this.replicas) {
      const held = await readOne({ replica, time: this.time }, KEY, 'header');
      if (held?.kind !== 'found') throw new Error(`${replica.nodeId} holds nothing`);
      versions.push(versionOf(held.header));
    }
    return versions;
  }

  async get(node: number): Promise<string | undefined> {
    const { code, record } = await this.run(
      node,
      getOf('k', { level: 'LINEARIZABLE', deadlineMs: PATIENT_MS }),
    );
    if (code !== undefined) return code;
    return valueOf(record);
  }

  promise(node: number, ballot: Version): Promise<PrepareAnswer> {
    return new Promise((resolve) => {
      const call = {
        key: KEY,
        keyHash: hash32(KEY),
        ballot: encodeVersion(ballot),
        above: NO_BYTES,
        known: NO_BYTES,
        deadlineMs: Infinity,
        placementVersion: 1,
        traceparent: NO_BYTES,
        onPrepared: (_: number, answer: PrepareAnswer): void => resolve(answer),
      };
      this.replicas[node]?.prepare(call, 0);
      void this.time.settle();
    });
  }

  #overheard(call: ApplyCall): ApplyCall {
    const onApplied = (slot: number, answer: ApplyAnswer): void => {
      this.beforeApplied();
      call.onApplied(slot, answer);
    };
    return Object.create(call, { onApplied: { value: onApplied } }) as ApplyCall;
  }

  #counting(call: PrepareCall): PrepareCall {
    const onPrepared = (slot: number, answer: PrepareAnswer): void => {
      if (answer.kind === 'promised' && answer.record !== undefined) this.sent += 1;
      call.onPrepared(slot, answer);
    };
    return Object.create(call, { onPrepared: { value: onPrepared } }) as PrepareCall;
  }

  #way(from: string, to: string): Peer {
    const peer = this.replicas[NODES.findIndex(({ id }) => id === to)] as LocalReplica;
    const { cut, time } = this;
    const isCut = (): boolean => from !== to && (cut.has(from) || cut.has(to));
    return {
      nodeId: to,
      get connected() {
        return !isCut();
      },
      apply: (call, slot) => {
        this.beforeApply?.();
        this.beforeApply = undefined;
        if (isCut()) time.timers.turn(() => call.onApplied(slot, CUT));
        else peer.apply(call.source === 'accept' ? this.#overheard(call) : call, slot);
      },
      read: (call, slot, part) => {
        this.reads += 1;
        if (isCut()) time.timers.turn(() => call.onRead(slot, CUT));
        else peer.read(call, slot, part);
      },
      prepare: (call, slot) => {
        this.prepares += 1;
        if (isCut()) time.timers.turn(() => call.onPrepared(slot, CUT));
        else peer.prepare(this.#counting(call), slot);
      },
      scan: () => Promise.resolve(CUT),
      ping: () => Promise.resolve(CUT),
      ask: () => Promise.resolve(CUT),
    };
  }
}

export function recordFor(value: string, version: Version): Uint8Array {
  return encodeRecord(KEY, { version, tombstone: false, value: bytes(value) });
}

function linear(value: string, expected: Uint8Array, id: Version) {
  const choices = { level: 'LINEARIZABLE', expect: expected, deadlineMs: PATIENT_MS } as const;
  return operationOf('put', KEY, recordFor(value, id), choices);
}

export function valueOf(record: Uint8Array | undefined): string | undefined {
  const fields = record === undefined ? undefined : decodeRecord(record);
  if (fields === undefined || fields.tombstone) return undefined;
  return Buffer.from(fields.value).toString();
}
