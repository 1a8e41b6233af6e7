import { CONSISTENCY_LEVELS, DEFAULT_CONSISTENCY, type Consistency } from '../core/consistency.js';
import { invalidArgument } from '../core/errors.js';
import type { Receipt, ReplicaOutcome } from '../core/receipt.js';
import { MAX_LOGICAL, MAX_WALL_MS, readU32, writeU32, type Version } from '../core/version.js';
import type { Welcome } from '../io/link.js';
import { v1, PROTOCOL_VERSION } from './messages.js';

const WRITER_BYTES = 8;

/** Index: the number on the wire. 0 is "not said", which is the default. */
const LEVEL_OF_NUMBER: readonly Consistency[] = [DEFAULT_CONSISTENCY, ...CONSISTENCY_LEVELS];

const NUMBER_OF_LEVEL: Readonly<Record<Consistency, v1.Consistency>> = {
  ONE: v1.Consistency.ONE,
  TWO: v1.Consistency.TWO,
  THREE: v1.Consistency.THREE,
  QUORUM: v1.Consistency.QUORUM,
  ALL: v1.Consistency.ALL,
  LOCAL_ONE: v1.Consistency.LOCAL_ONE,
  LOCAL_QUORUM: v1.Consistency.LOCAL_QUORUM,
  LINEARIZABLE: v1.Consistency.LINEARIZABLE,
};

export function consistencyToWire(level: Consistency): v1.Consistency {
  return NUMBER_OF_LEVEL[level];
}

/** Throws INVALID_ARGUMENT for a number that is no level. */
export function requireConsistency(number: number): Consistency {
  const level = LEVEL_OF_NUMBER[number];
  if (level !== undefined) return level;
  throw invalidArgument(
    'consistency',
    `${number} is not a level; known are 1 to ${CONSISTENCY_LEVELS.length} (${CONSISTENCY_LEVELS.join(', ')})`,
  );
}

export function versionToWire(version: Version): v1.Version.$Properties {
  const writer = new Uint8Array(WRITER_BYTES);
  writeU32(writer, 0, version.writerHi);
  writeU32(writer, 4, version.writerLo);
  return { wallMs: version.wallMs, logical: version.logical, writer };
}

/** Throws INVALID_ARGUMENT naming the part of `field` that is out of bounds. */
export function versionFromWire(version: v1.Version.$Properties, field: string): Version {
  const wallMs = version.wallMs ?? 0;
  const logical = version.logical ?? 0;
  const writer = version.writer;
  if (wallMs > MAX_WALL_MS) {
    throw invalidArgument(`${field}.wall_ms`, `${wallMs}, the limit is ${MAX_WALL_MS}`);
  }
  if (logical > MAX_LOGICAL) {
    throw invalidArgument(`${field}.logical`, `${logical}, the limit is ${MAX_LOGICAL}`);
  }
  if (writer?.length !== WRITER_BYTES) {
    throw invalidArgument(
      `${field}.writer`,
      `${writer?.length ?? 0} bytes, it must be ${WRITER_BYTES}`,
    );
  }
  return { wallMs, logical, writerHi: readU32(writer, 0), writerLo: readU32(writer, 4) };
}

export function receiptToWire(receipt: Receipt): v1.Receipt.$Properties {
  return {
    coordinator: receipt.coordinator,
    needed: receipt.needed,
    answered: receipt.answered,
    replicas: receipt.replicas.map((replica) => ({
      node: replica.node,
      result: replica.result,
      ...(replica.version === undefined ? {} : { version: versionToWire(replica.version) }),
      ...(replica.reason === undefined ? {} : { reason: replica.reason }),
    })),
    ...(receipt.shadowedBy === undefined ? {} : { shadowedBy: versionToWire(receipt.shadowedBy) }),
  };
}

/** Throws INVALID_ARGUMENT for a receipt that no node writes. */
export function receiptFromWire(receipt: v1.Receipt.$Properties): Receipt {
  return {
    coordinator: receipt.coordinator ?? '',
    needed: receipt.needed ?? 0,
    answered: receipt.answered ?? 0,
    replicas: (receipt.replicas ?? []).map((replica, index) => {
      const field = `receipt.replicas[${index}]`;
      return {
        node: replica.node ?? '',
        result: replicaResult(replica.result ?? '', field),
        ...(replica.version
          ? { version: versionFromWire(replica.version, `${field}.version`) }
          : {}),
        ...(replica.reason ? { reason: replica.reason } : {}),
      };
    }),
    ...(receipt.shadowedBy
      ? { shadowedBy: versionFromWire(receipt.shadowedBy, 'receipt.shadowed_by') }
      : {}),
  };
}

const REPLICA_RESULTS: Readonly<Record<ReplicaOutcome['result'], true>> = {
  ok: true,
  repaired: true,
  refused: true,
  failed: true,
  unreachable: true,
  pending: true,
  'not-asked': true,
};

function replicaResult(text: string, field: string): ReplicaOutcome['result'] {
  if (Object.hasOwn(REPLICA_RESULTS, text)) return text as ReplicaOutcome['result'];
  throw invalidArgument(`${field}.result`, `"${text}" is none of the known results`);
}

export function welcomeToWire(welcome: Welcome, release: string): v1.Welcome.$Properties {
  const { members, ...rest } = welcome;
  return {
    ...rest,
    members: members.map(({ id, address, zone }) => ({ id, address, zone })),
    protocol: PROTOCOL_VERSION,
    release,
  };
}

export function welcomeFromWire(welcome: v1.Welcome.$Properties): Welcome {
  return {
    nodeId: welcome.nodeId ?? '',
    clusterName: welcome.clusterName ?? '',
    clusterId: welcome.clusterId ?? '',
    members: membersFromWire(welcome.members ?? []),
    replicationFactor: welcome.replicationFactor ?? 0,
    placementVersion: welcome.placementVersion ?? 0,
    wallMs: welcome.wallMs ?? 0,
    quarantined: welcome.quarantined ?? false,
    maxDriftMs: welcome.maxDriftMs ?? 0,
    maxKeyBytes: welcome.maxKeyBytes ?? 0,
    maxValueBytes: welcome.maxValueBytes ?? 0,
  };
}

export function membersFromWire(members: readonly v1.Member.$Properties[]): Welcome['members'] {
  return members.map((member) => ({
    id: member.id ?? '',
    address: member.address ?? '',
    zone: member.zone ?? '',
  }));
}
