import { addPartition, emptyPartitionSet, type PartitionSet } from './partition-set.js';
import { PARTITIONS, type Placement } from './placement.js';

/** The partitions of which every one of these members is a replica. */
export function sharedPartitions(
  placement: Placement,
  ...nodeIds: readonly string[]
): PartitionSet {
  const indexes = nodeIds.map((nodeId) => placement.members.findIndex(({ id }) => id === nodeId));
  const shared = emptyPartitionSet();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const replicas = placement.preference[partition] as readonly number[];
    if (indexes.every((index) => replicas.includes(index))) addPartition(shared, partition);
  }
  return shared;
}
