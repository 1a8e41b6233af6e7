import { compareRecords, HEADER_BYTES } from '../core/record.js';
import type { ApplyAnswer, ReplicaFailure } from '../io/peer.js';
import type { StoreBatch } from '../io/store.js';
import { segmentEntryKey, userKeyOf } from './layout.js';

const NO_VALUE = new Uint8Array(0);

/** A key of the group that is being committed: what is on disk, and what the group makes of it. */
export interface HeldKey {
  readonly storeKey: Buffer;
  readonly keyHash: number;
  /** Another key of the group with the same hash. */
  readonly sameHash: HeldKey | undefined;
  /** The record on disk, or its header; undefined: none. */
  stored: Uint8Array | undefined;
  /** Set when what is on disk cannot be told: the replica abstains on the key and takes no write to it. */
  failure: ReplicaFailure | undefined;
  /** The record of this group that will be on disk; undefined while none has won over `stored`. */
  winner: Uint8Array | undefined;
}

/**
 * The one `apply`: whatever brought the record (a write, a hint, read repair, anti-entropy, a rebalance), it is kept when it
 * wins over what the replica holds, by the merge rule of core/record.ts. Whoever adds a condition on writes adds it here.
 * True when the record has become the winner.
 */
export function applyRecord(held: HeldKey, record: Uint8Array): boolean {
  const holds = held.winner ?? held.stored;
  if (holds !== undefined && compareRecords(record, holds) <= 0) return false;
  held.winner = record;
  return true;
}

/** Everything that changes with a record goes into the batch here, so that it changes with it or not at all. */
export function writeApplied(batch: StoreBatch, held: HeldKey, winner: Uint8Array): void {
  batch.put(held.storeKey, winner);
  if (held.stored === undefined) {
    batch.put(segmentEntryKey(held.keyHash, userKeyOf(held.storeKey)), NO_VALUE);
  }
}

const APPLIED: ApplyAnswer = { kind: 'applied' };

/** What the caller of `record` hears once the group is synced: its record is on disk, or one that is as new is. */
export function answerTo(held: HeldKey, record: Uint8Array): ApplyAnswer {
  if (held.winner === record) return APPLIED;
  const kept = (held.winner ?? held.stored) as Uint8Array;
  // A copy: both may be views of memory that is used again.
  return { kind: 'kept', header: Uint8Array.prototype.slice.call(kept, 0, HEADER_BYTES) };
}
