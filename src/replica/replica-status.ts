import { allPartitions } from '../core/partition-set.js';
import { PARTITIONS } from '../core/placement.js';
import type { GroupCommit } from './group-commit.js';
import type { KnownRecords } from './known-records.js';
import type { Sweeper } from './sweep.js';

/** What `kvctl node status` and metrics show of a replica. */
export interface ReplicaStatus {
  readonly commitCounter: number;
  /** Records that have become the newest of their key on disk. */
  readonly applied: number;
  /** Calls that found an equal or a newer record on disk. */
  readonly kept: number;
  /** Calls refused because their stamp was too far ahead. */
  readonly driftRefusals: number;
  /** Times that a stored record failed its checksum when it was read or looked up. */
  readonly corrupt: number;
  /** Calls that wait for a commit. */
  readonly waiting: number;
  /** Bytes on disk, roughly; undefined when the disk does not say. */
  readonly storeBytes: number | undefined;
  /** Keys looked up in the store and cursors opened. */
  readonly storeReads: number;
  readonly filterComplete: boolean;
  readonly stoppedCleanly: boolean;
  /** Partitions of this replica can be compared with others; false while the trees are rebuilt after a crash. */
  readonly treesReady: boolean;
  /** Of all records, 8 bytes; empty until the trees are ready. */
  readonly digest: Uint8Array;
  /** Tombstones included. These three mean nothing until the trees are ready. */
  readonly records: number;
  readonly tombstones: number;
  readonly expiring: number;
  /** Keys on which it abstains now, because what is on disk of them cannot be read. */
  readonly corruptKeys: number;
  /** Keys that could be read again since the start. */
  readonly mended: number;
  /** Passes of the scrub over all partitions since the start, with fractions. */
  readonly scrubPasses: number;
  /** Segments of the trees that were found to differ from the disk since the start. */
  readonly treesDiffered: number;
}

/** Those of the figures that these three keep. */
export function statusOf(
  commit: GroupCommit,
  known: KnownRecords,
  sweeper: Sweeper,
): Omit<
  ReplicaStatus,
  'driftRefusals' | 'corrupt' | 'storeBytes' | 'storeReads' | 'stoppedCleanly'
> {
  const { records, tombstones, expiring } = known.trees.totals();
  return {
    commitCounter: commit.commitCounter,
    applied: commit.applied,
    kept: commit.kept,
    waiting: commit.waiting,
    filterComplete: known.filterComplete,
    treesReady: known.trees.ready,
    digest: known.trees.ready ? known.trees.combined(allPartitions()) : new Uint8Array(0),
    records,
    tombstones,
    expiring,
    corruptKeys: known.corrupt.size,
    mended: known.corrupt.mended,
    scrubPasses: sweeper.swept / PARTITIONS,
    treesDiffered: sweeper.differed,
  };
}
