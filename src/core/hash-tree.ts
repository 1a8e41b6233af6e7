import { writeHash64 } from './hash.js';
import { hasPartition, type PartitionSet } from './partition-set.js';
import { PARTITIONS } from './placement.js';
import { DIGEST_BYTES } from './record.js';
import { readU32, writeU32 } from './version.js';

/** The leaves of a tree. */
export const SEGMENTS = 2_048;
/** The inner nodes of a tree. */
export const GROUPS = 128;
export const SEGMENTS_PER_GROUP = SEGMENTS / GROUPS;
/** A digest as it travels. */
export const TREE_DIGEST_BYTES = DIGEST_BYTES;
/** The first half of a digest, where a rough look is enough. */
const NARROW_DIGEST_BYTES = 4;

/** How long a digest is as it travels: whole when `wide`, else half of it. */
export function digestBytes(wide: boolean): number {
  return wide ? TREE_DIGEST_BYTES : NARROW_DIGEST_BYTES;
}

/** The segment of a key, given `hash32(key)`: the eleven bits below those that name its partition. */
export function segmentOf(keyHash: number): number {
  return (keyHash >>> 13) & (SEGMENTS - 1);
}

const FIRST_GROUP = 1;
const FIRST_SEGMENT = FIRST_GROUP + GROUPS;

/**
 * The hash tree of one partition (Merkle 1987) in three levels of fixed size. The digest of a segment is the XOR of the digests
 * of its records, that of a group the XOR of its segments, that of the whole the XOR of its groups: so a record goes in and out
 * in O(1), in any order, and what is empty is zero. XOR is not safe against somebody who chooses digests; it is among nodes
 * that trust each other, over 64-bit digests of keys and versions, each record in one segment at most once.
 */
export class HashTree {
  /** Two words for each digest: of the whole, then of the groups, then of the segments. */
  readonly #words = new Uint32Array(2 * (FIRST_SEGMENT + SEGMENTS));

  get sizeBytes(): number {
    return this.#words.byteLength;
  }

  /** Puts a record (or its header) in, or takes it out again: XOR is its own inverse. */
  toggle(segment: number, record: Uint8Array): void {
    this.#toggle(segment, readU32(record, 0), readU32(record, 4));
  }

  /** Takes one record (or its header) out and puts another of the same segment in. */
  exchange(segment: number, out: Uint8Array, put: Uint8Array): void {
    this.#toggle(segment, readU32(out, 0) ^ readU32(put, 0), readU32(out, 4) ^ readU32(put, 4));
  }

  /** Makes the digest of a segment what stands at `at` of `digests`. */
  readSegment(segment: number, digests: Uint8Array, at: number): void {
    this.#setSegment(segment, readU32(digests, at), readU32(digests, at + 4));
  }

  /** Makes the digest of a segment that of another tree. */
  copySegment(segment: number, from: HashTree): void {
    const word = 2 * (FIRST_SEGMENT + segment);
    this.#setSegment(segment, from.#words[word] as number, from.#words[word + 1] as number);
  }

  equalsSegment(segment: number, other: HashTree): boolean {
    const word = 2 * (FIRST_SEGMENT + segment);
    return (
      this.#words[word] === other.#words[word] && this.#words[word + 1] === other.#words[word + 1]
    );
  }

  isSegmentEmpty(segment: number): boolean {
    const word = 2 * (FIRST_SEGMENT + segment);
    return this.#words[word] === 0 && this.#words[word + 1] === 0;
  }

  writeWhole(out: Uint8Array, at: number): void {
    this.#write(0, out, at);
  }

  writeGroup(group: number, out: Uint8Array, at: number): void {
    this.#write(FIRST_GROUP + group, out, at);
  }

  writeSegment(segment: number, out: Uint8Array, at: number): void {
    this.#write(FIRST_SEGMENT + segment, out, at);
  }

  #setSegment(segment: number, hi: number, lo: number): void {
    const word = 2 * (FIRST_SEGMENT + segment);
    this.#toggle(
      segment,
      hi ^ (this.#words[word] as number),
      lo ^ (this.#words[word + 1] as number),
    );
  }

  #toggle(segment: number, hi: number, lo: number): void {
    this.#toggleOne(0, hi, lo);
    this.#toggleOne(FIRST_GROUP + Math.floor(segment / SEGMENTS_PER_GROUP), hi, lo);
    this.#toggleOne(FIRST_SEGMENT + segment, hi, lo);
  }

  #toggleOne(node: number, hi: number, lo: number): void {
    const words = this.#words;
    const word = 2 * node;
    words[word] = (words[word] as number) ^ hi;
    words[word + 1] = (words[word + 1] as number) ^ lo;
  }

  #write(node: number, out: Uint8Array, at: number): void {
    writeU32(out, at, this.#words[2 * node] as number);
    writeU32(out, at + 4, this.#words[2 * node + 1] as number);
  }
}

/**
 * One digest for a set of partitions, given the digest of each, in order. The number of each partition is hashed along, so two
 * partitions that have swapped what they hold are seen.
 */
export function combineDigests(partitions: PartitionSet, digests: Uint8Array): Uint8Array {
  const numbered = new Uint8Array((1 + TREE_DIGEST_BYTES) * (digests.length / TREE_DIGEST_BYTES));
  let to = 0;
  let from = 0;
  for (let partition = 0; partition < PARTITIONS; partition++) {
    if (!hasPartition(partitions, partition)) continue;
    numbered[to] = partition;
    numbered.set(digests.subarray(from, from + TREE_DIGEST_BYTES), to + 1);
    to += 1 + TREE_DIGEST_BYTES;
    from += TREE_DIGEST_BYTES;
  }
  const combined = new Uint8Array(TREE_DIGEST_BYTES);
  writeHash64(numbered, 0, combined, 0);
  return combined;
}
