import { compareRecords, HEADER_BYTES } from '../core/record.js';
import type { ApplyAnswer, ApplyCall, ReplicaFailure } from '../io/peer.js';
import type { StoreBatch } from '../io/store.js';
import type { FenceTable } from './fence-table.js';
import { segmentEntryKey } from './layout.js';
import type { Promises } from './promises.js';

const NO_VALUE = new Uint8Array(0);

/** A key of the group that is being committed: what is on disk, and what the group makes of it. */
export interface HeldKey {
  readonly key: Uint8Array;
  readonly storeKey: Buffer;
  readonly keyHash: number;
  /** Another key of the group, in the same chain. */
  readonly next: HeldKey | undefined;
  /** The record on disk, or its header; undefined: none. */
  stored: Uint8Array | undefined;
  /** Set when what is on disk cannot be told: the replica abstains on the key and takes no write to it. */
  failure: ReplicaFailure | undefined;
  /** The record of this group that will be on disk; undefined while none has won over `stored`. */
  winner: Uint8Array | undefined;
}

/**
 * The one `apply`: whatever brought the record (a write, a hint, read repair, anti-entropy, a rebalance), it is kept when it
 * wins over what the replica holds, by the merge rule of core/record.ts, unless a fence is above it or a ballot that the replica
 * has promised. Whoever adds a condition on writes adds it here. What loses is only looked at, so a retry of what is held is
 * answered as before, whatever fences and promises say, unless what is held is in doubt.
 */
export function applyRecord(
  held: HeldKey,
  call: ApplyCall,
  fences: FenceTable,
  promises: Promises,
): 'taken' | 'kept' | ReplicaFailure {
  const { record, keyHash } = call;
  const holds = held.winner ?? held.stored;
  if (holds !== undefined && compareRecords(record, holds) <= 0) {
    return promises.judgeHeld(call) ?? 'kept';
  }
  if (call.source === 'copy' && fences.hides(keyHash, record)) {
    // It is equal to the absence that is here; nothing is gained by a tombstone that would be dropped again.
    if (holds === undefined || fences.hides(keyHash, holds)) return 'kept';
  }
  const refusal = fences.judge(call) ?? promises.judge(call, holds);
  if (refusal !== undefined) return refusal;
  fences.taken(call);
  held.winner = record;
  return 'taken';
}

/** Everything that changes with a record goes into the batch here, so that it changes with it or not at all. */
export function writeApplied(batch: StoreBatch, held: HeldKey, winner: Uint8Array): void {
  batch.put(held.storeKey, winner);
  if (held.stored === undefined) {
    batch.put(segmentEntryKey(held.keyHash, held.key), NO_VALUE);
  }
}

const APPLIED: ApplyAnswer = { kind: 'applied' };

/** What the caller of `record`, which was taken or kept, hears once the group is synced: it is on disk, or what is as new. */
export function answerTo(held: HeldKey, record: Uint8Array): ApplyAnswer {
  if (held.winner === record) return APPLIED;
  const holds = held.winner ?? held.stored;
  // What a fence hides is kept as well as it would be on disk.
  const kept = holds !== undefined && compareRecords(holds, record) >= 0 ? holds : record;
  // A copy: both may be views of memory that is used again.
  return { kind: 'kept', header: Uint8Array.prototype.slice.call(kept, 0, HEADER_BYTES) };
}
