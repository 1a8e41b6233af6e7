import type { HistoryEntry } from '../history.js';

/** What the simulation knows of a run beside what its clients saw. */
export interface Evidence {
  /** Every key that the workload used. */
  readonly keys: readonly string[];
  /** Those of LINEARIZABLE workloads. */
  readonly roundKeys: readonly string[];
  /** The replicas of a key. */
  replicasOf(key: string): readonly ReplicaPlace[];
  /** Every record that reached a disk, once each. */
  readonly stored: readonly StoredRecord[];
  /** What is on the disks at the end, by node. */
  readonly copies: ReadonlyMap<string, ReadonlyMap<string, StoredRecord>>;
  /** Of each key the highest version that some node has dropped under a fence, or hides until it is dropped. */
  readonly dropped: ReadonlyMap<string, string>;
  /** Keys of which a disk has damaged a copy, mended since or not. */
  readonly everDamaged: ReadonlySet<string>;
  /** Keys that a replica holds in a form it cannot read. */
  readonly damaged: ReadonlySet<string>;
  /** Every stamp that a node took from its own clock, in order of time. */
  readonly nodeStamps: readonly NodeStamp[];
  /** False: a clock was further off than `maxDriftMs` for a time. */
  readonly clocksSane: boolean;
  /** What clocks that are right showed when the run began, and how far that of any node was off at the worst. */
  readonly startWallMs: number;
  readonly clockErrorMs: number;
  /** Fences that were committed while a replica had not what another one had. */
  readonly behindFences: readonly { readonly key: string; readonly problem: string }[];
  /** Trees that are, or were, not those of their disk. */
  readonly wrongTrees: readonly string[];
  /** Whether a disk was emptied or put back to an older state. */
  readonly forgot: boolean;
}

export interface NodeStamp {
  readonly node: string;
  /** Which of the disks that the node has had: another one knows nothing of the stamps before it. */
  readonly disk: number;
  readonly version: string;
}

export interface ReplicaPlace {
  readonly node: string;
  readonly zone: string;
}

export interface StoredRecord {
  readonly node: string;
  readonly key: string;
  readonly version: string;
  readonly digest: string;
  readonly tombstone: boolean;
  /** Absent for a tombstone. */
  readonly value: string | undefined;
  /** Wall ms; absent: it does not expire. */
  readonly expiresAtMs?: number;
}

/** The higher of the two versions. */
export function laterOf(a: string, b: string): string {
  return a > b ? a : b;
}

/** A promise that was not kept. */
export interface Violation {
  /** The law by its letter, and what it says in a few words. */
  readonly law: string;
  readonly key: string;
  readonly problem: string;
  /** The operations that show it. */
  readonly entries: readonly HistoryEntry[];
}

/**
 * Whether the record is what a refill has put in the place of one that a fence has passed, under the same version, so that the fence
 * takes it off the disk (maintenance/refill.ts). It says no more than the fence does.
 */
export function isGivenUp({ key, version, value }: StoredRecord, evidence: Evidence): boolean {
  return evidence.forgot && value === undefined && version <= (evidence.dropped.get(key) ?? '');
}
