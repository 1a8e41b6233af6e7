import {
  combineDigests,
  HashTree,
  NARROW_DIGEST_BYTES,
  SEGMENTS_PER_GROUP,
  segmentOf,
  GROUPS,
  TREE_DIGEST_BYTES,
} from '../core/hash-tree.js';
import { countPartitions, hasPartition, type PartitionSet } from '../core/partition-set.js';
import { partitionOf, PARTITIONS } from '../core/placement.js';
import { hasExpiry, HEADER_BYTES, isTombstone, VERSION_AT } from '../core/record.js';
import { readWallMs } from '../core/version.js';

/** What the trees count of a partition beside its digests. */
export interface PartitionCounts {
  /** Records, tombstones included. */
  readonly records: number;
  readonly tombstones: number;
  /** Records that are no tombstones and carry an expiry. */
  readonly expiring: number;
  /** No tombstone or record with an expiry could be dropped by a fence below this wall ms; Infinity: there are none. */
  readonly droppableFromMs: number;
}

/**
 * The hash trees of a node, one for each partition that holds something, and what is counted along with them. They say what is
 * on disk: whoever has changed a record there tells `replace`, once the change is synced, and nobody else changes them.
 *
 * XOR telescopes. So after a crash they start empty, every change goes on taking the old record out and putting the new one in,
 * and once a walk has added what was on disk when it began, whatever order that comes in, they are right: `ready`.
 */
export class Trees {
  readonly #trees = Array.from({ length: PARTITIONS }, (): HashTree | undefined => undefined);
  readonly #records = new Int32Array(PARTITIONS);
  readonly #tombstones = new Int32Array(PARTITIONS);
  readonly #expiring = new Int32Array(PARTITIONS);
  readonly #droppableFromMs = new Float64Array(PARTITIONS).fill(Infinity);
  #ready = false;

  /** False: they are being rebuilt, and what they say means nothing yet. */
  get ready(): boolean {
    return this.#ready;
  }

  get sizeBytes(): number {
    return this.#trees.reduce((sum, tree) => sum + (tree?.sizeBytes ?? 0), 0);
  }

  /** All is added. */
  complete(): void {
    this.#ready = true;
    for (let partition = 0; partition < PARTITIONS; partition++) this.#settle(partition);
  }

  /** Empty, and not ready. */
  clear(): void {
    this.#ready = false;
    this.#trees.fill(undefined);
    for (const counts of [this.#records, this.#tombstones, this.#expiring]) counts.fill(0);
    this.#droppableFromMs.fill(Infinity);
  }

  /**
   * Of the key with this hash, `before` (a record or a header) is not on disk any more, and the record `after` is. Undefined:
   * there was, or is, none.
   */
  replace(keyHash: number, before: Uint8Array | undefined, after: Uint8Array | undefined): void {
    const partition = partitionOf(keyHash);
    const tree = (this.#trees[partition] ??= new HashTree());
    const segment = segmentOf(keyHash);
    if (before !== undefined) {
      tree.toggle(segment, before);
      this.#count(partition, before, -1);
    }
    if (after !== undefined) {
      tree.toggle(segment, after);
      this.#count(partition, after, 1);
      if (isTombstone(after) || hasExpiry(after)) {
        this.noteDroppable(partition, droppableFromMs(after));
      }
    }
    if (this.#ready) this.#settle(partition);
  }

  counts(partition: number): PartitionCounts {
    return {
      records: this.#records[partition] as number,
      tombstones: this.#tombstones[partition] as number,
      expiring: this.#expiring[partition] as number,
      droppableFromMs: this.#droppableFromMs[partition] as number,
    };
  }

  /** Something in the partition could be dropped by a fence from then on. */
  noteDroppable(partition: number, fromMs: number): void {
    if (fromMs < (this.#droppableFromMs[partition] as number)) {
      this.#droppableFromMs[partition] = fromMs;
    }
  }

  /** The digests of these partitions, 8 bytes each, in order. */
  digests(partitions: PartitionSet): Uint8Array {
    const digests = new Uint8Array(countPartitions(partitions) * TREE_DIGEST_BYTES);
    let at = 0;
    for (let partition = 0; partition < PARTITIONS; partition++) {
      if (!hasPartition(partitions, partition)) continue;
      this.#trees[partition]?.writeWhole(digests, at);
      at += TREE_DIGEST_BYTES;
    }
    return digests;
  }

  /** One digest for all these partitions. */
  combined(partitions: PartitionSet): Uint8Array {
    return combineDigests(partitions, this.digests(partitions));
  }

  /** The digests of all groups of a partition, 8 bytes each. */
  groupDigests(partition: number): Uint8Array {
    const digests = new Uint8Array(GROUPS * TREE_DIGEST_BYTES);
    const tree = this.#trees[partition];
    if (tree === undefined) return digests;
    for (let group = 0; group < GROUPS; group++) {
      tree.writeGroup(group, digests, group * TREE_DIGEST_BYTES);
    }
    return digests;
  }

  /** The digests of all segments of these groups, in order: 8 bytes each when `wide`, else the first 4 of them. */
  segmentDigests(partition: number, groups: Uint8Array, wide: boolean): Uint8Array {
    const width = wide ? TREE_DIGEST_BYTES : NARROW_DIGEST_BYTES;
    // The second half of the last narrow digest needs room to be written, too.
    const room = new Uint8Array(groups.length * SEGMENTS_PER_GROUP * width + TREE_DIGEST_BYTES);
    const tree = this.#trees[partition];
    let at = 0;
    for (const group of groups) {
      for (let i = 0; i < SEGMENTS_PER_GROUP; i++) {
        tree?.writeSegment(group * SEGMENTS_PER_GROUP + i, room, at);
        at += width;
      }
    }
    // The room behind a narrow digest is overwritten by the next; what is behind the last is cut off.
    return room.subarray(0, at);
  }

  /** The digest of one segment, 8 bytes. */
  segmentDigest(partition: number, segment: number): Uint8Array {
    const digest = new Uint8Array(TREE_DIGEST_BYTES);
    this.#trees[partition]?.writeSegment(segment, digest, 0);
    return digest;
  }

  #count(partition: number, record: Uint8Array, change: 1 | -1): void {
    this.#records[partition] = (this.#records[partition] as number) + change;
    if (isTombstone(record)) {
      this.#tombstones[partition] = (this.#tombstones[partition] as number) + change;
    } else if (hasExpiry(record)) {
      this.#expiring[partition] = (this.#expiring[partition] as number) + change;
    }
  }

  /** With nothing left to drop, the bound starts anew. */
  #settle(partition: number): void {
    if (this.#tombstones[partition] === 0 && this.#expiring[partition] === 0) {
      this.#droppableFromMs[partition] = Infinity;
    }
  }
}

/** From which wall ms on a fence may pass a tombstone, or a record with an expiry. The record, not only its header. */
function droppableFromMs(record: Uint8Array): number {
  const stampedMs = readWallMs(record, VERSION_AT);
  return isTombstone(record) ? stampedMs : Math.max(stampedMs, readWallMs(record, HEADER_BYTES));
}
