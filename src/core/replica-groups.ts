import { addPartition, emptyPartitionSet, type PartitionSet } from './partition-set.js';
import type { Placement } from './placement.js';

/** Partitions of a node that have the same other replicas. */
export interface ReplicaGroup {
  readonly partitions: PartitionSet;
  /** The other replicas, by id. */
  readonly others: readonly string[];
  /** Those of them in the node's own zone. */
  readonly zoneOthers: readonly string[];
}

/** With whom a node shares what: one group for each set of other replicas that some of its partitions have. */
export function replicaGroups(placement: Placement, nodeId: string): readonly ReplicaGroup[] {
  const { members, preference } = placement;
  const zone = members.find(({ id }) => id === nodeId)?.zone;
  const groups = new Map<string, ReplicaGroup>();
  for (const [partition, list] of preference.entries()) {
    const replicas = list.map((index) => members[index] as (typeof members)[number]);
    if (!replicas.some(({ id }) => id === nodeId)) continue;
    const others = replicas.filter(({ id }) => id !== nodeId);
    const ids = others.map(({ id }) => id).sort();
    const name = ids.join(' ');
    let group = groups.get(name);
    if (group === undefined) {
      const zoneOthers = others.filter((other) => other.zone === zone).map(({ id }) => id);
      group = { partitions: emptyPartitionSet(), others: ids, zoneOthers };
      groups.set(name, group);
    }
    addPartition(group.partitions, partition);
  }
  return [...groups.values()];
}

/*
 * Of N replicas let M be a majority. What a replica said may be counted towards a quorum only together with what M - 1 others
 * said. So a replica that forgets finds all of it again at the others, and nobody counts what it said before beside what it
 * will say, if
 *
 * - M - 1 others record its life before it says anything in it, and N - M + 1 others tell it whether they remember one: of
 *   N - 1 others these are N together, so they share one;
 * - N - M + 1 others record its new life and then give it what they hold: they share one with the M - 1 whose answers were
 *   counted beside its own. That one took the record before it gave what it held, and the replica has it again; or after,
 *   and then its answer names the new life, and who counts answers discards the old one's.
 *
 * Within a zone the same holds for the majority of the zone's replicas.
 */

/** How many of the others must tell whether they remember the node, before it knows. All of them where there are fewer. */
export function witnessesNeeded({ others }: ReplicaGroup): number {
  return restOf(others.length);
}

/** How many of the others must have recorded the node's life before it says anything in it. */
export function recordersNeeded({ others }: ReplicaGroup): number {
  return majorityOf(others.length + 1) - 1;
}

/** Whether `sources` are enough to refill the node with what it may have said, at any level of consistency. */
export function refills(
  { others, zoneOthers }: ReplicaGroup,
  sources: ReadonlySet<string>,
): boolean {
  const count = (ids: readonly string[]): number => ids.filter((id) => sources.has(id)).length;
  return count(others) >= restOf(others.length) && count(zoneOthers) >= restOf(zoneOthers.length);
}

/** N - M + 1, or all N - 1 where those are fewer, as of two. */
function restOf(others: number): number {
  const replicas = others + 1;
  return Math.min(replicas - majorityOf(replicas) + 1, others);
}

function majorityOf(replicas: number): number {
  return (replicas >> 1) + 1;
}
