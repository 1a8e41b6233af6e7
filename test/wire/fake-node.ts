import type {
  Coordinator,
  CoordinatorCounters,
  Operation,
  ReplicaCopy,
} from '../../src/coordinator/operation.js';
import { clusterIdOf } from '../../src/core/cluster-id.js';
import { DEFAULT_LIMITS, DEFAULT_MAX_DRIFT_MS, type Limits } from '../../src/core/limits.js';
import type { Rumour } from '../../src/core/membership.js';
import type { Member } from '../../src/core/placement.js';
import {
  compareRecords,
  encodeRecord,
  haveSameHeader,
  headerOf,
  versionOf,
} from '../../src/core/record.js';
import { compareVersions, readVersion, type Version } from '../../src/core/version.js';
import { systemClock } from '../../src/io/clock.js';
import type { NodeAnswer, NodeFailure, NodePage, NodeScan, Welcome } from '../../src/io/link.js';
import { silentLog } from '../../src/io/log.js';
import type {
  ApplyCall,
  Lives,
  Peer,
  PingAnswer,
  PingRequest,
  PrepareCall,
  ReadCall,
  ReplicaFailure,
  ReplicaPage,
  ReplicaScan,
} from '../../src/io/peer.js';
import type { AskKind, AskReply, AskRequest } from '../../src/io/peer-asks.js';
import { FakeRegister } from '../client/fake-register.js';
import { systemTimers } from '../../src/io/timers.js';
import { startServer } from '../../src/server.js';
import type { NodeRepairs } from '../../src/wire/cluster-service.js';
import type { GrpcServer } from '../../src/wire/grpc-server.js';
import type { InjectedFaults } from '../../src/wire/link-faults.js';
import type { NodeStatusReport } from '../../src/wire/reports.js';
import { HEALTH_SERVICES } from '../../src/wire/services.js';

export const MEMBERS: readonly Member[] = [
  { id: 'n1', address: '127.0.0.1:1', zone: 'z1' },
  { id: 'n2', address: '127.0.0.1:2', zone: 'z2' },
];

export function text(characters: string): Uint8Array {
  return Buffer.from(characters);
}

export function version(wallMs: number, writerLo = 1): Version {
  return { wallMs, logical: 0, writerHi: 0, writerLo };
}

export function recordOf(key: string, value: string, wallMs: number): Uint8Array {
  return encodeRecord(text(key), {
    version: version(wallMs),
    tombstone: false,
    value: text(value),
  });
}

function answerWith(part: Partial<NodeAnswer> = {}): NodeAnswer {
  return {
    code: undefined,
    outcome: 'none',
    message: '',
    record: undefined,
    shadow: undefined,
    receipt: undefined,
    ...part,
  };
}

export function refusedWith(
  code: NonNullable<NodeAnswer['code']>,
  message: string,
  outcome: NodeAnswer['outcome'] = 'none',
): NodeAnswer {
  return answerWith({ code, message, outcome });
}

/** A coordinator of one map. `hold` keeps operations unanswered until they are released, in any order. */
export class FakeCoordinator implements Coordinator {
  readonly records = new Map<string, Uint8Array>();
  readonly held: Operation[] = [];
  readonly cancelled: Operation[] = [];
  readonly executed: Operation[] = [];
  readonly scans: NodeScan[] = [];
  hold = false;
  /** What every operation is answered, while it is set. */
  failure: NodeAnswer | undefined;
  page: NodePage | NodeFailure = { kind: 'page', entries: [], token: new Uint8Array(0) };
  copies: readonly ReplicaCopy[] = [];
  /** Of keys that are LINEARIZABLE, apart from the others. */
  readonly #register = new FakeRegister(new Map(), { wallMs: () => 1_000, monotonicMs: () => 0 });
  #stamps = 1_000;

  execute(operation: Operation): void {
    this.executed.push(operation);
    if (this.hold) this.held.push(operation);
    else operation.onAnswer(this.answerOf(operation));
  }

  answerOf(operation: Operation): NodeAnswer {
    if (this.failure !== undefined) return this.failure;
    const key = Buffer.from(operation.key).toString('latin1');
    const stored = this.records.get(key);
    if (operation.level === 'LINEARIZABLE') return this.#register.carryOut(operation, 1_000);
    if (operation.kind === 'get') {
      const { minVersion } = operation;
      if (
        minVersion.length > 0 &&
        (stored === undefined || compareVersions(versionOf(stored), readVersion(minVersion, 0)) < 0)
      ) {
        return refusedWith('STALE', 'nothing as new');
      }
      return answerWith(stored === undefined ? {} : { record: stored });
    }
    if (stored !== undefined && compareRecords(stored, operation.record) > 0) {
      return answerWith({ shadow: headerOf(stored) });
    }
    this.records.set(key, operation.record);
    return answerWith(
      operation.receipt
        ? { receipt: { coordinator: 'n1', needed: 2, answered: 2, replicas: [] } }
        : {},
    );
  }

  release(): void {
    for (const operation of this.held.splice(0)) operation.onAnswer(this.answerOf(operation));
  }

  cancel(operation: Operation): void {
    this.cancelled.push(operation);
    const at = this.held.indexOf(operation);
    if (at < 0) return;
    this.held.splice(at, 1);
    operation.onAnswer(refusedWith('CANCELLED', 'cancelled', 'unknown'));
  }

  scan(request: NodeScan): Promise<NodePage | NodeFailure> {
    this.scans.push(request);
    return Promise.resolve(this.page);
  }

  explain(): Promise<readonly ReplicaCopy[]> {
    return Promise.resolve(this.copies);
  }

  stamp(): Promise<Version> {
    return Promise.resolve(version(this.#stamps++));
  }

  readonly counters: CoordinatorCounters = {
    inFlight: 0,
    writes: 0,
    reads: 0,
    scans: 0,
    rounds: 0,
    repairs: 0,
    hedges: 0,
    shed: 0,
    driftRefusals: 0,
  };

  drain(): Promise<void> {
    return Promise.resolve();
  }
}

/** A replica of one map. `hold` keeps applies unanswered until they are released. */
export class FakeReplica implements Peer {
  readonly nodeId = 'n1';
  readonly connected = true;
  readonly records = new Map<string, Uint8Array>();
  readonly applied: ApplyCall[] = [];
  readonly held: ApplyCall[] = [];
  readonly scans: ReplicaScan[] = [];
  readonly ballots: Pick<PrepareCall, 'ballot' | 'above'>[] = [];
  hold = false;
  failure: ReplicaFailure | undefined;
  lives: Lives = { incarnation: Buffer.from('12345678'), known: [] };
  commitCounter = 9;
  readonly pings: PingRequest[] = [];
  readonly asked: { readonly kind: AskKind; readonly request: object }[] = [];
  rumours: readonly Rumour[] = [];
  reply: object = { kind: 'refused', code: 'UNAVAILABLE', message: 'not ready' };
  fence: Uint8Array | undefined;
  page: ReplicaPage = { kind: 'page', entries: [], corrupt: [] };

  apply(call: ApplyCall, slot: number): void {
    this.applied.push(call);
    if (this.hold) this.held.push(call);
    else queueMicrotask(() => this.#apply(call, slot));
  }

  release(): void {
    for (const call of this.held.splice(0)) this.#apply(call, 0);
  }

  #apply(call: ApplyCall, slot: number): void {
    if (this.failure !== undefined) {
      call.onApplied(slot, this.failure);
      return;
    }
    const key = Buffer.from(call.key).toString('latin1');
    const stored = this.records.get(key);
    if (stored !== undefined && compareRecords(stored, call.record) >= 0) {
      call.onApplied(slot, { kind: 'kept', header: headerOf(stored) });
      return;
    }
    this.records.set(key, call.record);
    call.onApplied(slot, { kind: 'applied' });
  }

  read(call: ReadCall, slot: number, part: 'record' | 'header'): void {
    queueMicrotask(() => {
      if (this.failure !== undefined) {
        call.onRead(slot, this.failure);
        return;
      }
      const record = this.records.get(Buffer.from(call.key).toString('latin1'));
      const fence = this.fence === undefined ? {} : { fence: this.fence };
      if (record === undefined) call.onRead(slot, { kind: 'absent', ...fence });
      else {
        const header = headerOf(record);
        call.onRead(slot, {
          kind: 'found',
          header,
          ...fence,
          ...(part === 'record' ? { record } : {}),
        });
      }
    });
  }

  prepare(call: PrepareCall, slot: number): void {
    const { ballot, above } = call;
    this.ballots.push({ ballot: Buffer.from(ballot), above: Uint8Array.from(above) });
    queueMicrotask(() => {
      const record = this.records.get(Buffer.from(call.key).toString('latin1'));
      call.onPrepared(
        slot,
        this.failure ?? {
          kind: 'promised',
          ...(record === undefined
            ? {}
            : haveSameHeader(record, call.known)
              ? { header: call.known }
              : { record }),
          ...(this.fence === undefined ? {} : { fence: this.fence }),
        },
      );
    });
  }

  scan(request: ReplicaScan): Promise<ReplicaPage | ReplicaFailure> {
    this.scans.push(request);
    return Promise.resolve(this.failure ?? this.page);
  }

  ping(request: PingRequest): Promise<PingAnswer | ReplicaFailure> {
    this.pings.push(request);
    return Promise.resolve(
      this.failure ?? {
        kind: 'pong',
        nodeId: 'n1',
        wallMs: 1_234,
        hlc: version(77),
        quarantined: true,
        commitCounter: 9,
        incarnation: Buffer.from('12345678'),
        placementVersion: 1,
        rumours: this.rumours,
      },
    );
  }

  ask<K extends AskKind>(kind: K, request: AskRequest<K>): Promise<AskReply<K> | ReplicaFailure> {
    this.asked.push({ kind, request });
    return Promise.resolve(this.reply as AskReply<K> | ReplicaFailure);
  }
}

export interface FakeNode {
  readonly server: GrpcServer;
  readonly coordinator: FakeCoordinator;
  readonly replica: FakeReplica;
  readonly endpoint: string;
}

export interface FakeNodeOptions {
  readonly clusterName?: string;
  readonly members?: readonly Member[];
  readonly faults?: InjectedFaults;
  readonly limits?: Limits;
  readonly listen?: string;
  readonly repairs?: NodeRepairs;
}

/** Nothing differs, and nobody is there. */
const NO_REPAIRS: NodeRepairs = {
  verify: () =>
    Promise.resolve({
      partitions: 256,
      compared: 256,
      differingPartitions: 0,
      differing: 0,
      uncompared: [],
      durationMs: 1,
    }),
  repair: () => Promise.resolve(),
  local: () => ({ node: 'n1', hintsOwed: [], rounds: [] }),
};

export function welcomeOf(clusterName = 'test', members = MEMBERS): Welcome {
  return {
    nodeId: 'n1',
    clusterName,
    clusterId: clusterIdOf(clusterName, members, 2),
    members,
    replicationFactor: 2,
    placementVersion: 1,
    wallMs: 1_000,
    quarantined: false,
    maxDriftMs: DEFAULT_MAX_DRIFT_MS,
    maxKeyBytes: DEFAULT_LIMITS.maxKeyBytes,
    maxValueBytes: DEFAULT_LIMITS.maxValueBytes,
  };
}

/** A real gRPC server before a coordinator and a replica that only pretend. */
export async function startFakeNode(options: FakeNodeOptions = {}): Promise<FakeNode> {
  const coordinator = new FakeCoordinator();
  const replica = new FakeReplica();
  const welcome = welcomeOf(options.clusterName, options.members);
  const server = await startServer({
    listen: options.listen ?? '127.0.0.1:0',
    coordinator,
    replica,
    welcome: () => welcome,
    release: '0.1.0',
    status: () => STATUS,
    repairs: options.repairs ?? NO_REPAIRS,
    ...(options.faults === undefined ? {} : { faults: options.faults }),
    limits: options.limits ?? DEFAULT_LIMITS,
    clock: systemClock,
    timers: systemTimers,
    log: silentLog,
  });
  for (const service of HEALTH_SERVICES) server.setServing(service, true);
  return { server, coordinator, replica, endpoint: server.address };
}

export const STATUS: NodeStatusReport = {
  nodeId: 'n1',
  clusterName: 'test',
  clusterId: 'id',
  release: '0.1.0',
  state: 'quarantined',
  reason: 'its clock is off',
  uptimeMs: 5,
  wallMs: 2 ** 41 + 1,
  hlc: version(2 ** 41 + 1, 0xffffffff),
  offsetMs: -12.5,
  driftRefusals: 1,
  commitCounter: 2,
  storeBytes: 3,
  storeReads: 4,
  digest: '00112233445566ff',
  inFlight: 4,
  memoryBytes: 5,
  peers: [
    {
      nodeId: 'n2',
      address: '127.0.0.1:2',
      state: 'tripped',
      reason: 'failing',
      roundTripMs: 0.5,
      offsetMs: -3,
      quarantined: false,
    },
  ],
  faults: ['delays by 5 ms'],
  writes: 6,
  reads: 7,
  repairs: 8,
  shed: 9,
  writer: 'aabbccdd00112233',
  incarnation: '0123456789abcdef',
  hints: { owed: [{ target: 'n2', keys: 3 }], delivered: 4, dropped: 5 },
  repair: {
    treesReady: true,
    partitionsDiffering: 1,
    keys: 2,
    bytes: 2 ** 40,
    corruptKeys: 3,
    rounds: [
      {
        peer: 'n2',
        result: 'incomplete',
        reason: 'it went away',
        agoMs: 5_000,
        durationMs: 1.5,
        keys: 6,
        bytes: 7,
      },
    ],
  },
  members: [
    { nodeId: 'n2', address: '127.0.0.1:2', status: 'suspect', generation: 2 ** 41, forMs: 9 },
  ],
};

/** Waits for what must come about, checking each turn of the event loop; vitest's timeout ends what never does. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
