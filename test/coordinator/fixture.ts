import { seededRandom } from '../seeded-random.js';
import type { Lives } from '../../src/coordinator/context.js';
import { createCoordinator, type NodeCoordinator } from '../../src/coordinator/coordinator.js';
import type { InFlightBounds } from '../../src/coordinator/in-flight.js';
import type { Operation } from '../../src/coordinator/operation.js';
import type { Consistency } from '../../src/core/consistency.js';
import { DEFAULT_LIMITS } from '../../src/core/limits.js';
import { PARTITIONS, type Placement } from '../../src/core/placement.js';
import { encodeRecord, type RecordFields } from '../../src/core/record.js';
import type { Version } from '../../src/core/version.js';
import type { CallKind, NodeAnswer } from '../../src/io/link.js';
import type { Peer } from '../../src/io/peer.js';
import { createVirtualTime, type VirtualTime } from '../virtual-time.js';

export const START_MS = 1_700_000_000_000;
export const NO_BYTES = new Uint8Array(0);

export function bytes(text: string): Uint8Array {
  return Buffer.from(text, 'utf8');
}

/** The version `atMs` after the start of virtual time. */
export function versionAt(atMs: number, writer = 1): Version {
  return { wallMs: START_MS + atMs, logical: 0, writerHi: 0, writerLo: writer };
}

export function recordAt(
  key: string,
  value: string,
  atMs: number,
  fields: Partial<RecordFields> = {},
): Uint8Array {
  return encodeRecord(bytes(key), {
    version: versionAt(atMs),
    tombstone: false,
    value: bytes(value),
    ...fields,
  });
}

/** A placement in which every key has the preference list that `lists` gives its partition. */
export function placementOf(
  nodes: readonly { readonly id: string; readonly zone: string }[],
  listOf: (partition: number) => readonly number[],
): Placement {
  const preference = Array.from({ length: PARTITIONS }, (_, partition) => listOf(partition));
  return {
    version: 1,
    members: nodes.map(({ id, zone }) => ({ id, zone, address: `${id}:1` })),
    replicas: preference[0]?.length ?? 0,
    preference,
  };
}

export interface World {
  readonly time: VirtualTime;
  readonly coordinator: NodeCoordinator;
  /** `n2 owed k` and so on, in order. */
  readonly owed: string[];
  readonly observed: Version[];
  /** Nodes that answered while they were believed to be suspect or dead. */
  readonly alive: string[];
  quarantined: boolean;
}

export interface WorldOptions {
  readonly placement: Placement;
  readonly self?: string;
  readonly peerOf: (nodeId: string) => Peer;
  readonly time?: VirtualTime;
  readonly inFlight?: InFlightBounds;
  readonly lives?: Lives;
  readonly stamp?: () => Promise<Version>;
  readonly observe?: (version: Version) => void;
}

export function createWorld(options: WorldOptions): World {
  const time = options.time ?? createVirtualTime(START_MS);
  const owed: string[] = [];
  const observed: Version[] = [];
  const alive: string[] = [];
  const world: World = {
    time,
    owed,
    observed,
    alive,
    quarantined: false,
    coordinator: createCoordinator({
      nodeId: options.self ?? 'n1',
      clusterId: 'test',
      placement: () => options.placement,
      peerOf: options.peerOf,
      clock: time.clock,
      timers: time.timers,
      random: seededRandom(1),
      limits: DEFAULT_LIMITS,
      maxDriftMs: 500,
      stamp: options.stamp ?? (() => Promise.resolve(versionAt(time.clock.monotonicMs()))),
      observe: options.observe ?? ((version) => observed.push(version)),
      quarantined: () => world.quarantined,
      owed: (nodeId, key) => owed.push(`${nodeId} ${Buffer.from(key).toString('utf8')}`),
      onAlive: (nodeId) => alive.push(nodeId),
      ...(options.inFlight === undefined ? {} : { inFlight: options.inFlight }),
      ...(options.lives === undefined ? {} : { lives: options.lives }),
    }),
  };
  return world;
}

export interface OperationInput {
  readonly level?: Consistency;
  readonly zone?: string;
  readonly deadlineMs?: number;
  readonly receipt?: boolean;
  readonly minVersion?: Uint8Array;
  readonly expect?: Uint8Array;
}

/** An operation and the answers that it was given: there must be one. */
export interface TestOperation extends Operation {
  readonly answers: NodeAnswer[];
}

export function getOf(key: string, input: OperationInput = {}): TestOperation {
  return operationOf('get', bytes(key), NO_BYTES, input);
}

export function putOf(key: string, record: Uint8Array, input: OperationInput = {}): TestOperation {
  return operationOf('put', bytes(key), record, input);
}

export function operationOf(
  kind: CallKind,
  key: Uint8Array,
  record: Uint8Array,
  input: OperationInput = {},
): TestOperation {
  const answers: NodeAnswer[] = [];
  return {
    kind,
    key,
    record,
    minVersion: input.minVersion ?? NO_BYTES,
    expect: input.expect ?? NO_BYTES,
    level: input.level ?? 'QUORUM',
    zone: input.zone ?? '',
    deadlineMs: input.deadlineMs ?? 1_000,
    receipt: input.receipt ?? false,
    traceparent: NO_BYTES,
    answers,
    onAnswer: (answer) => {
      answers.push(answer);
    },
  };
}
