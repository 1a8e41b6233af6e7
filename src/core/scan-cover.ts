import { addPartition, emptyPartitionSet, type PartitionSet } from './partition-set.js';
import { compareKeys } from './key-range.js';
import { PARTITIONS } from './placement.js';

/** One node's part of a scan. */
export interface CoverPart {
  /** An index into the member list. */
  readonly member: number;
  readonly partitions: PartitionSet;
  /** Of these partitions this node is the one that gives whole records; of the rest it gives headers. */
  readonly whole: PartitionSet;
}

export interface ScanCover {
  readonly kind: 'cover';
  readonly parts: readonly CoverPart[];
  /** For each partition the places in `parts` that answer for it; the first of them gives whole records. */
  readonly assigned: readonly (readonly number[])[];
  /** The first part is the node itself, for whole records, and all others are for headers of just the same partitions. */
  readonly isMirrored: boolean;
}

/** No set of the nodes that can be reached covers this partition as often as the level asks. */
export interface Uncovered {
  readonly kind: 'uncovered';
  readonly partition: number;
}

/**
 * Chooses few nodes that together hold every partition as often as the level asks: greedy multi-cover (Dobson 1982), which
 * takes the node that helps most until nothing is wanting; at most H(256) < 6.2 times the fewest, and the fewest where
 * nodes hold everything. The node itself comes first if it holds anything, because reading from it costs no network.
 *
 * `reachable[p]` are the members to choose from for partition p, `needed[p]` how many of them; `rank` is all members in the
 * order in which ties are decided, and `self` the member that is the node itself, or -1.
 */
export function coverPartitions(
  reachable: readonly (readonly number[])[],
  needed: readonly number[],
  rank: readonly number[],
  self: number,
): ScanCover | Uncovered {
  const wanting = [...needed];
  const short = wanting.findIndex(
    (count, partition) => (reachable[partition] ?? []).length < count,
  );
  if (short !== -1) return { kind: 'uncovered', partition: short };

  const holds = new Map<number, number[]>(rank.map((member) => [member, []]));
  for (let partition = 0; partition < PARTITIONS; partition++) {
    for (const member of reachable[partition] ?? []) holds.get(member)?.push(partition);
  }
  const parts: CoverPart[] = [];
  const assigned: number[][] = Array.from({ length: PARTITIONS }, () => []);
  const take = (member: number): void => {
    const partitions = emptyPartitionSet();
    for (const partition of holds.get(member) ?? []) {
      if (wanting[partition] === 0) continue;
      wanting[partition] = (wanting[partition] as number) - 1;
      assigned[partition]?.push(parts.length);
      addPartition(partitions, partition);
    }
    parts.push({ member, partitions, whole: emptyPartitionSet() });
    holds.delete(member);
  };
  const gain = (member: number): number =>
    (holds.get(member) ?? []).filter((partition) => wanting[partition] !== 0).length;

  if (self !== -1 && gain(self) > 0) take(self);
  for (;;) {
    let best = -1;
    let bestGain = 0;
    for (const member of rank) {
      const helps = gain(member);
      if (helps > bestGain) {
        best = member;
        bestGain = helps;
      }
    }
    if (best === -1) break;
    take(best);
  }
  chooseProviders(parts, assigned, self);
  return {
    kind: 'cover',
    parts,
    assigned,
    isMirrored: parts[0]?.member === self && areMirrors(parts),
  };
}

function areMirrors([first, ...others]: readonly CoverPart[]): boolean {
  const none = emptyPartitionSet();
  return others.every(
    ({ partitions, whole }) =>
      compareKeys(partitions, first?.partitions ?? none) === 0 && compareKeys(whole, none) === 0,
  );
}

/** Whole records come from the node itself where it can, and are shared evenly among the others. */
function chooseProviders(parts: readonly CoverPart[], assigned: number[][], self: number): void {
  const load = parts.map(() => 0);
  for (const [partition, places] of assigned.entries()) {
    places.sort(
      (a, b) =>
        Number(parts[b]?.member === self) - Number(parts[a]?.member === self) ||
        (load[a] as number) - (load[b] as number) ||
        a - b,
    );
    const provider = places[0];
    if (provider === undefined) continue;
    load[provider] = (load[provider] as number) + 1;
    addPartition((parts[provider] as CoverPart).whole, partition);
  }
}
