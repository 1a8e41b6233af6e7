import { compareFences, isAtOrBelow, readFences } from '../../src/core/fence.js';
import { hash32 } from '../../src/core/hash.js';
import { partitionOf } from '../../src/core/placement.js';
import { compareRecords, formatDigest, isTombstone, versionOf } from '../../src/core/record.js';
import { isExpired } from '../../src/core/expiry.js';
import { formatVersion, readVersion, readWallMs } from '../../src/core/version.js';
import { ALL_FENCES, recordKey } from '../../src/replica/layout.js';
import type { ReplicaPlace } from './check/evidence.js';
import type { SimDisk } from './disk.js';

/** The checksum before what is sealed. */
const SEAL_BYTES = 4;

/** What a watch over fences must know of the world. */
export interface FenceSight {
  readonly keys: readonly string[];
  replicasOf(key: string): readonly ReplicaPlace[];
  /** The disk of a node, unless it was lost and has not been refilled. */
  diskOf(node: string): SimDisk | undefined;
}

/** Looks at all disks whenever a fence is committed somewhere for the first time. */
export class FenceWatch {
  readonly behind: { readonly key: string; readonly problem: string }[] = [];
  readonly #sight: FenceSight;
  /** By partition. */
  readonly #highest = new Map<number, Uint8Array>();

  constructor(sight: FenceSight) {
    this.#sight = sight;
  }

  /** The highest fence that any replica of the key has committed, as text; empty: none. */
  committedFor(key: string): string {
    const fence = this.#highest.get(partitionOf(hash32(Buffer.from(key))));
    return fence === undefined ? '' : formatVersion(readVersion(fence, 0));
  }

  /** An entry of a disk changes. */
  onStored(node: string, storeKey: Uint8Array, value: Uint8Array | undefined): void {
    if (storeKey[0] !== ALL_FENCES.gte[0] || value === undefined) return;
    const partition = storeKey.at(-1) as number;
    const { committed } = readFences(value, SEAL_BYTES);
    const highest = this.#highest.get(partition) ?? new Uint8Array(0);
    if (compareFences(committed, highest) <= 0) return;
    this.#highest.set(partition, committed);
    for (const key of this.#sight.keys) {
      if (partitionOf(hash32(Buffer.from(key))) === partition) this.#look(node, key, committed);
    }
  }

  #look(node: string, key: string, fence: Uint8Array): void {
    const storeKey = recordKey(Buffer.from(key));
    const held: { readonly node: string; readonly record: Uint8Array | undefined }[] = [];
    for (const place of this.#sight.replicasOf(key)) {
      const disk = this.#sight.diskOf(place.node);
      if (disk === undefined || disk.isFlipped(storeKey)) continue;
      const record = disk.holds(storeKey);
      if (record === undefined || isAtOrBelow(record, fence)) {
        held.push({ node: place.node, record });
      }
    }
    const fenceMs = readWallMs(fence, 0);
    const alive = held.find(
      ({ record }) => record !== undefined && !isTombstone(record) && !isExpired(record, fenceMs),
    );
    if (alive === undefined) return;
    const other = held.find(
      ({ record }) =>
        record === undefined || compareRecords(record, alive.record as Uint8Array) !== 0,
    );
    if (other === undefined) return;
    this.behind.push({
      key,
      problem: `${node} committed the fence ${formatVersion(readVersion(fence, 0))} while ${alive.node} has ${says(alive.record)} and ${other.node} has ${says(other.record)}`,
    });
  }
}

function says(record: Uint8Array | undefined): string {
  if (record === undefined) return 'nothing';
  const what = isTombstone(record) ? 'the tombstone' : formatDigest(record);
  return `${formatVersion(versionOf(record))} ${what}`;
}
