import {
  combineDigests,
  HashTree,
  digestBytes,
  SEGMENTS,
  SEGMENTS_PER_GROUP,
  segmentOf,
  GROUPS,
  TREE_DIGEST_BYTES,
} from '../core/hash-tree.js';
import { countPartitions, hasPartition, type PartitionSet } from '../core/partition-set.js';
import { partitionOf, PARTITIONS } from '../core/placement.js';
import { hasExpiry, HEADER_BYTES, isTombstone, VERSION_AT } from '../core/record.js';
import { MAX_WALL_MS, readWallMs } from '../core/version.js';

const COUNTS_BYTES = 3 * 4 + 6;
const SAVED_SEGMENT_BYTES = 2 + TREE_DIGEST_BYTES;

/** What is known of the records of a partition beside their digests. */
export interface PartitionCounts {
  /** Tombstones included. */
  readonly records: number;
  readonly tombstones: number;
  /** Records that are no tombstones and carry an expiry. */
  readonly expiring: number;
  /** No fence below this wall ms could drop anything; Infinity: there is nothing to drop. */
  readonly droppableFromMs: number;
}

class Counts implements PartitionCounts {
  records = 0;
  tombstones = 0;
  expiring = 0;
  droppableFromMs = Infinity;

  /** A whole record. */
  add(record: Uint8Array): void {
    this.#count(record, 1);
    if (isTombstone(record) || hasExpiry(record)) {
      this.droppableFromMs = Math.min(this.droppableFromMs, droppableFromMs(record));
    }
  }

  /** A record or a header. The bound of what could be dropped stays: it is a lower one. */
  subtract(header: Uint8Array): void {
    this.#count(header, -1);
  }

  /** With nothing left to drop, the bound starts anew. */
  settle(): void {
    if (this.tombstones === 0 && this.expiring === 0) this.droppableFromMs = Infinity;
  }

  #count(record: Uint8Array, by: 1 | -1): void {
    this.records += by;
    if (isTombstone(record)) this.tombstones += by;
    else if (hasExpiry(record)) this.expiring += by;
  }
}

/** Counts one partition anew, segment by segment, while it changes: see {@link Trees.recount}. */
export interface Recount {
  /** A record of a segment that is not counted yet. */
  add(record: Uint8Array): void;
  /** All segments below this one have been counted: from now on their changes count. */
  countedTo(segment: number): void;
  /** False: the trees were cleared meanwhile, or another count was begun, and this one comes to nothing. */
  readonly isValid: boolean;
  /** All are. Nothing changes when it is not valid any more. */
  end(): void;
}

interface RecountUnderWay {
  readonly partition: number;
  readonly counts: Counts;
  countedTo: number;
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
  #counts = Array.from({ length: PARTITIONS }, () => new Counts());
  #recount: RecountUnderWay | undefined;
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
    for (const counts of this.#counts) counts.settle();
  }

  /** Empty, and not ready. */
  clear(): void {
    this.#ready = false;
    this.#trees.fill(undefined);
    this.#counts = Array.from({ length: PARTITIONS }, () => new Counts());
    this.#recount = undefined;
  }

  /**
   * Of the key with this hash, `before` (a record or a header) is not on disk any more, and the record `after` is. Undefined:
   * there was, or is, none.
   */
  replace(keyHash: number, before: Uint8Array | undefined, after: Uint8Array | undefined): void {
    const partition = partitionOf(keyHash);
    const tree = (this.#trees[partition] ??= new HashTree());
    const segment = segmentOf(keyHash);
    if (before !== undefined && after !== undefined) tree.exchange(segment, before, after);
    else if (before !== undefined) tree.toggle(segment, before);
    else if (after !== undefined) tree.toggle(segment, after);
    const counts = this.#counts[partition] as Counts;
    change(counts, before, after);
    // While they are rebuilt, what is still to be added may be what the bound is of.
    if (this.#ready) counts.settle();
    const recount = this.#recount;
    if (recount !== undefined && recount.partition === partition && segment < recount.countedTo) {
      change(recount.counts, before, after);
    }
  }

  counts(partition: number): PartitionCounts {
    return this.#counts[partition] as Counts;
  }

  /** Of all partitions together. */
  totals(): PartitionCounts {
    const totals = new Counts();
    for (const counts of this.#counts) {
      totals.records += counts.records;
      totals.tombstones += counts.tombstones;
      totals.expiring += counts.expiring;
      totals.droppableFromMs = Math.min(totals.droppableFromMs, counts.droppableFromMs);
    }
    return totals;
  }

  /** Begins to count a partition anew; one at a time. */
  recount(partition: number): Recount {
    const recount: RecountUnderWay = { partition, counts: new Counts(), countedTo: 0 };
    this.#recount = recount;
    const isValid = (): boolean => this.#recount === recount;
    return {
      get isValid() {
        return isValid();
      },
      add: (record) => recount.counts.add(record),
      countedTo: (segment) => {
        recount.countedTo = segment;
      },
      end: () => {
        if (!isValid()) return;
        this.#recount = undefined;
        recount.counts.settle();
        this.#counts[partition] = recount.counts;
      },
    };
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

  /** The digests of all groups of a partition, in order: 8 bytes each when `wide`, else the first 4 of them. */
  groupDigests(partition: number, wide: boolean): Uint8Array {
    const tree = this.#trees[partition];
    return written(GROUPS, wide, (group, out, at) => tree?.writeGroup(group, out, at));
  }

  /** The digests of all segments of these groups, in order: 8 bytes each when `wide`, else the first 4 of them. */
  segmentDigests(partition: number, groups: Uint8Array, wide: boolean): Uint8Array {
    const tree = this.#trees[partition];
    return written(groups.length * SEGMENTS_PER_GROUP, wide, (i, out, at) => {
      const group = groups[Math.floor(i / SEGMENTS_PER_GROUP)] as number;
      tree?.writeSegment(group * SEGMENTS_PER_GROUP + (i % SEGMENTS_PER_GROUP), out, at);
    });
  }

  /** Makes the digest of a segment what it is in `disk`, which was computed from the disk. */
  setSegment(partition: number, segment: number, disk: HashTree): void {
    (this.#trees[partition] ??= new HashTree()).copySegment(segment, disk);
  }

  /** Whether the digest of a segment is that of `disk`. */
  hasSegment(partition: number, segment: number, disk: HashTree): boolean {
    return this.#trees[partition]?.equalsSegment(segment, disk) ?? disk.isSegmentEmpty(segment);
  }

  /** What {@link load} reads: the segments that hold something, and the counts. Undefined: it has never held anything. */
  save(partition: number): Uint8Array | undefined {
    const tree = this.#trees[partition];
    const counts = this.#counts[partition] as Counts;
    if (tree === undefined) return undefined;
    const saved = Buffer.alloc(COUNTS_BYTES + SEGMENTS * SAVED_SEGMENT_BYTES);
    // Below zero where a disk gave back what was not counted: no reason not to stop cleanly, and the scrub counts anew.
    saved.writeUInt32BE(Math.max(counts.records, 0), 0);
    saved.writeUInt32BE(Math.max(counts.tombstones, 0), 4);
    saved.writeUInt32BE(Math.max(counts.expiring, 0), 8);
    saved.writeUIntBE(Math.min(counts.droppableFromMs, MAX_WALL_MS), 12, 6);
    let at = COUNTS_BYTES;
    for (let segment = 0; segment < SEGMENTS; segment++) {
      if (tree.isSegmentEmpty(segment)) continue;
      saved.writeUInt16BE(segment, at);
      tree.writeSegment(segment, saved, at + 2);
      at += SAVED_SEGMENT_BYTES;
    }
    return saved.subarray(0, at);
  }

  /** The partition as it was when it was saved; it is empty before. */
  load(partition: number, saved: Buffer): void {
    const counts = this.#counts[partition] as Counts;
    counts.records = saved.readUInt32BE(0);
    counts.tombstones = saved.readUInt32BE(4);
    counts.expiring = saved.readUInt32BE(8);
    counts.droppableFromMs = saved.readUIntBE(12, 6);
    const tree = new HashTree();
    this.#trees[partition] = tree;
    for (let at = COUNTS_BYTES; at < saved.length; at += SAVED_SEGMENT_BYTES) {
      tree.readSegment(saved.readUInt16BE(at), saved, at + 2);
    }
  }
}

function change(
  counts: Counts,
  before: Uint8Array | undefined,
  after: Uint8Array | undefined,
): void {
  if (before !== undefined) counts.subtract(before);
  if (after !== undefined) counts.add(after);
}

/** From which wall ms on a fence may pass a tombstone, or a record with an expiry. The record, not only its header. */
function droppableFromMs(record: Uint8Array): number {
  const stampedMs = readWallMs(record, VERSION_AT);
  return isTombstone(record) ? stampedMs : Math.max(stampedMs, readWallMs(record, HEADER_BYTES));
}

/** So many digests, of which `write` puts down 8 bytes each. Narrow: only the first 4 of each stay. */
function written(
  count: number,
  wide: boolean,
  write: (index: number, out: Uint8Array, at: number) => void,
): Uint8Array {
  const width = digestBytes(wide);
  // The second half of the last narrow digest needs room to be written, too; those of the others are overwritten by the next.
  const room = new Uint8Array(count * width + TREE_DIGEST_BYTES);
  for (let i = 0; i < count; i++) write(i, room, i * width);
  return room.subarray(0, count * width);
}
