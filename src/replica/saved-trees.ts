import { KvError } from '../core/errors.js';
import { addPartition, emptyPartitionSet, hasPartition } from '../core/partition-set.js';
import { PARTITIONS } from '../core/placement.js';
import { StoreError, type Store, type StoreBatch } from '../io/store.js';
import { readMeta, seal, treeKey, TREES_KEY } from './meta.js';
import type { Trees } from './trees.js';

const COUNTER_BYTES = 6;

/**
 * Puts the trees beside the mark of a clean stop, so that the next start need not read every record. Trees that are not ready
 * leave nothing to load. Each entry has a checksum, and all are tied to the commit that they describe.
 */
export function saveTrees(batch: StoreBatch, trees: Trees, commitCounter: number): void {
  if (!trees.ready) {
    batch.del(TREES_KEY);
    return;
  }
  const partitions = emptyPartitionSet();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const saved = trees.save(partition);
    if (saved === undefined) continue;
    addPartition(partitions, partition);
    batch.put(treeKey(partition), seal(treeKey(partition), saved));
  }
  batch.put(TREES_KEY, seal(TREES_KEY, Buffer.concat([counterBytes(commitCounter), partitions])));
}

/** Fills `trees`, which are empty, as they were at a clean stop at this commit. False: there are none to be trusted. */
export async function loadTrees(
  store: Store,
  trees: Trees,
  commitCounter: number,
): Promise<boolean> {
  try {
    const saved = await readMeta(store, TREES_KEY);
    if (saved === undefined) return false;
    if (!saved.subarray(0, COUNTER_BYTES).equals(counterBytes(commitCounter))) return false;
    const partitions = saved.subarray(COUNTER_BYTES);
    for (let partition = 0; partition < PARTITIONS; partition++) {
      if (!hasPartition(partitions, partition)) continue;
      const tree = await readMeta(store, treeKey(partition));
      if (tree === undefined) return false;
      trees.load(partition, tree);
    }
    trees.complete();
    return true;
  } catch (error) {
    // Damaged, and not more than a short cut.
    if (error instanceof StoreError || error instanceof KvError) return false;
    throw error;
  }
}

function counterBytes(commitCounter: number): Buffer {
  const bytes = Buffer.alloc(COUNTER_BYTES);
  bytes.writeUIntBE(commitCounter, 0, COUNTER_BYTES);
  return bytes;
}
