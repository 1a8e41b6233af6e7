import { hash32 } from '../../src/core/hash.js';
import { encodeRecord, isIntact } from '../../src/core/record.js';
import type { Store } from '../../src/io/store.js';
import { ALL_RECORDS, userKeyOf } from '../../src/replica/layout.js';
import { Trees } from '../../src/replica/trees.js';
import type { FaultyDisk } from './faulty-disk.js';
import { bytes, START_WALL_MS } from './fixtures.js';

export const ALL_PARTITIONS = new Uint8Array(32).fill(0xff);

/** The trees as they should be: computed from what lies on the disk. */
export async function treesOnDisk(store: Store): Promise<Trees> {
  const trees = new Trees();
  const cursor = store.cursor(ALL_RECORDS);
  for (const [storeKey, record] of await cursor.next(100_000)) {
    const keyHash = hash32(userKeyOf(storeKey));
    if (isIntact(keyHash, record)) trees.replace(keyHash, undefined, record);
  }
  await cursor.close();
  trees.complete();
  return trees;
}

/** All that trees say, but the lower bounds. */
export function said(trees: Trees): unknown {
  return Array.from({ length: 256 }, (_, partition) => {
    const { records, tombstones, expiring } = trees.counts(partition);
    const groups = Buffer.from(trees.groupDigests(partition, true)).toString('hex');
    return [groups, records, tombstones, expiring];
  });
}

/** A write, a delete, or a record that expires ten times as long after the start as it is stamped. */
export function recordFor({ key, atMs, kind }: { key: Uint8Array; atMs: number; kind: string }) {
  const version = { wallMs: START_WALL_MS + atMs, logical: 0, writerHi: 1, writerLo: 1 };
  return encodeRecord(key, {
    version,
    tombstone: kind === 'delete',
    value: bytes('value'),
    ...(kind === 'expire' ? { expiresAtMs: START_WALL_MS + 10 * atMs } : {}),
  });
}

/** The process dies: what is on disk stays, and nobody writes any more. */
export async function crash(disk: FaultyDisk): Promise<void> {
  await disk.store.close();
}
