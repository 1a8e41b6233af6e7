import { invalidArgument } from '../core/errors.js';
import type { MemberStatus, Rumour } from '../core/membership.js';
import { PARTITION_SET_BYTES, type PartitionSet } from '../core/partition-set.js';
import { PARTITIONS } from '../core/placement.js';
import { VERSION_BYTES } from '../core/version.js';
import type { Lives } from '../io/peer.js';
import type { Progress } from '../io/peer-asks.js';
import { EMPTY_BYTES, v1 } from './messages.js';

export const INCARNATION_BYTES = 8;
export const FENCE_BYTES = VERSION_BYTES;

/** More members than any cluster has, and no more than a frame holds. */
const MAX_RUMOURS = 4_096;
/** Longer than any node id or `host:port`. */
const MAX_NAME_CHARACTERS = 300;

/** The bytes as they came, when there are as many as there must be. Throws INVALID_ARGUMENT naming the field. */
export function requireBytes(bytes: Uint8Array, length: number, field: string): Uint8Array {
  if (bytes.length === length) return bytes;
  throw invalidArgument(field, `${bytes.length} bytes, it must be ${length}`);
}

/** A copy: a fence or an incarnation is kept for long, and must not hold on to the frame that brought it. */
export function requireSmall(bytes: Uint8Array, length: number, field: string): Uint8Array {
  return new Uint8Array(requireBytes(bytes, length, field));
}

/** A copy of a fence; empty where there is none. */
export function requireFence(bytes: Uint8Array, field: string): Uint8Array {
  if (bytes.length === 0 || bytes.length === FENCE_BYTES) return new Uint8Array(bytes);
  throw invalidArgument(field, `${bytes.length} bytes, it must be ${FENCE_BYTES}, or 0 for none`);
}

export function requirePartition(partition: number): number {
  return requireBelow(partition, PARTITIONS, 'partition');
}

export function requirePartitions(set: Uint8Array): PartitionSet {
  return requireBytes(set, PARTITION_SET_BYTES, 'partitions');
}

export function requireBelow(number: number, bound: number, field: string): number {
  if (number < bound) return number;
  throw invalidArgument(field, `${number}, it must be below ${bound}`);
}

/** A 64-bit number as far as a JS number holds it exactly. */
export function requireCount(number: number, field: string): number {
  if (Number.isSafeInteger(number)) return number;
  throw invalidArgument(field, `${number}, the limit is ${Number.MAX_SAFE_INTEGER}`);
}

/** A node id or an address. */
export function requireName(name: string, field: string): string {
  if (name.length >= 1 && name.length <= MAX_NAME_CHARACTERS) return name;
  throw invalidArgument(
    field,
    `${name.length} characters, it must have 1 to ${MAX_NAME_CHARACTERS}`,
  );
}

export function progressToWire(progress: Progress): v1.NodeProgress.$Properties {
  const { incarnation, commitCounter } = progress;
  return { incarnation, commitCounter };
}

export function progressFromWire(
  progress: v1.NodeProgress.$Properties | null | undefined,
  field: string,
): Progress {
  return {
    incarnation: requireSmall(
      progress?.incarnation ?? EMPTY_BYTES,
      INCARNATION_BYTES,
      `${field}.incarnation`,
    ),
    commitCounter: requireCount(progress?.commitCounter ?? 0, `${field}.commit_counter`),
  };
}

/** Undefined for a frame that says nothing of lives. Copies: they are kept for as long as the node lives. */
export function livesFromWire({ incarnation, known }: v1.AnswerFrame): Lives | undefined {
  if (incarnation.length === 0) return undefined;
  return {
    incarnation: requireSmall(incarnation, INCARNATION_BYTES, 'incarnation'),
    known: known.map((life, index) => ({
      nodeId: requireName(life.nodeId ?? '', `known[${index}].node_id`),
      incarnation: requireSmall(
        life.incarnation ?? EMPTY_BYTES,
        INCARNATION_BYTES,
        `known[${index}].incarnation`,
      ),
    })),
  };
}

const STATUS_TO_WIRE: Readonly<Record<MemberStatus, v1.MemberStatus>> = {
  alive: v1.MemberStatus.MEMBER_ALIVE,
  suspect: v1.MemberStatus.MEMBER_SUSPECT,
  dead: v1.MemberStatus.MEMBER_DEAD,
};

/** Index: the number on the wire. */
const STATUSES: readonly MemberStatus[] = ['alive', 'suspect', 'dead'];

export function rumoursToWire(rumours: readonly Rumour[]): v1.Rumour.$Properties[] {
  return rumours.map(({ nodeId, address, generation, status }) => ({
    nodeId,
    address,
    generation,
    status: STATUS_TO_WIRE[status],
  }));
}

/** Throws INVALID_ARGUMENT naming the part of `field` that is out of bounds. */
export function rumoursFromWire(
  rumours: readonly v1.Rumour.$Properties[],
  field: string,
): Rumour[] {
  if (rumours.length > MAX_RUMOURS) {
    throw invalidArgument(field, `${rumours.length}, the limit is ${MAX_RUMOURS}`);
  }
  return rumours.map((rumour, index) => {
    const at = `${field}[${index}]`;
    const status = STATUSES[rumour.status ?? 0];
    if (status === undefined) {
      throw invalidArgument(
        `${at}.status`,
        `${rumour.status}, it must be below ${STATUSES.length}`,
      );
    }
    return {
      nodeId: requireName(rumour.nodeId ?? '', `${at}.node_id`),
      address: requireName(rumour.address ?? '', `${at}.address`),
      generation: requireCount(rumour.generation ?? 0, `${at}.generation`),
      status,
    };
  });
}
