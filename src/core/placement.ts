import { hash32 } from './hash.js';

/** A node that may store data, as the agreed member list names it. */
export interface Member {
  /** 1 to 64 characters of `[a-zA-Z0-9._-]`; never reused for another node. */
  readonly id: string;
  /** `host:port` at which nodes and SDKs reach it. Not part of placement: a node may move. */
  readonly address: string;
  /** The failure domain. Replicas are spread over as many zones as there are. */
  readonly zone: string;
}

/** Chosen once: keys hash to a partition, partitions are placed on members. */
export const PARTITIONS = 256;

export interface Placement {
  /** Grows with every change of the member list. A replica refuses a request that names an older one. */
  readonly version: number;
  /** Ordered by id. */
  readonly members: readonly Member[];
  /** min(replication factor, members). */
  readonly replicas: number;
  /** For each partition its preference list: indexes into `members`, best first, `replicas` long. */
  readonly preference: readonly (readonly number[])[];
}

/** The partition of a key, given `hash32(key)`: its top eight bits. */
export function partitionOf(keyHash: number): number {
  return keyHash >>> 24;
}

/**
 * Which members replicate which partition, computed alike on every node from the same list. Rendezvous hashing (Thaler and
 * Ravishankar 1998): every member scores every partition by a hash; the best of each zone not yet used come first. When a
 * member joins or leaves, only partitions it wins or held change.
 */
export function createPlacement(
  members: readonly Member[],
  replicationFactor: number,
  version = 1,
): Placement {
  const ordered = [...members].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  const replicas = Math.min(replicationFactor, ordered.length);
  const preference = Array.from({ length: PARTITIONS }, (_, partition) =>
    preferenceList(ordered, replicas, partition),
  );
  return { version, members: ordered, replicas, preference };
}

function preferenceList(members: readonly Member[], replicas: number, partition: number): number[] {
  const ranked = members
    .map((member, index) => ({ index, zone: member.zone, score: score(member.id, partition) }))
    .sort((a, b) => b.score - a.score || a.index - b.index);
  const chosen: number[] = [];
  const perZone = new Map<string, number>();
  // Round by round, at most one more replica from each zone than before: zones stay as even as their members allow.
  for (let round = 0; chosen.length < replicas; round++) {
    for (const { index, zone } of ranked) {
      if (chosen.length === replicas) break;
      if (chosen.includes(index) || (perZone.get(zone) ?? 0) > round) continue;
      chosen.push(index);
      perZone.set(zone, (perZone.get(zone) ?? 0) + 1);
    }
  }
  return chosen;
}

function score(id: string, partition: number): number {
  return hash32(Buffer.from(`${id}/${partition}`, 'utf8'));
}
