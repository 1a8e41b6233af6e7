import { PARTITIONS } from './placement.js';

/** A set of partitions as it travels: 32 bytes, the lowest bit of the first byte first. */
export type PartitionSet = Uint8Array;

export const PARTITION_SET_BYTES = PARTITIONS / 8;

export function emptyPartitionSet(): PartitionSet {
  return new Uint8Array(PARTITION_SET_BYTES);
}

export function allPartitions(): PartitionSet {
  return emptyPartitionSet().fill(0xff);
}

export function addPartition(set: PartitionSet, partition: number): void {
  set[partition >>> 3] = (set[partition >>> 3] as number) | (1 << (partition & 7));
}

export function hasPartition(set: PartitionSet, partition: number): boolean {
  return ((set[partition >>> 3] as number) & (1 << (partition & 7))) !== 0;
}

export function countPartitions(set: PartitionSet): number {
  let count = 0;
  for (let partition = 0; partition < PARTITIONS; partition++) {
    if (hasPartition(set, partition)) count++;
  }
  return count;
}
