import { KvError } from '../core/errors.js';
import {
  FENCE_STATE_BYTES,
  isAtOrBelow,
  isHidden,
  NO_FENCES,
  readFences,
  refusesCopy,
  writeFences,
  type FenceState,
} from '../core/fence.js';
import { partitionOf, PARTITIONS } from '../core/placement.js';
import type { ApplyCall, ReplicaFailure } from '../io/peer.js';
import type { Store } from '../io/store.js';
import { refused } from './failure.js';
import { ALL_FENCES, fenceKey } from './layout.js';
import { seal, unseal } from './meta.js';

const WRITE_FENCED = refused(
  'REFUSED',
  'the write is older than what the replica has promised to take no more: it came too late',
);
const COPY_FENCED = refused(
  'REFUSED',
  'the copy is older than a fence of the replica that its holder has not committed',
);

/**
 * The fences of all partitions as memory has them, which is what is enforced: the disk follows, and is never ahead. Also the
 * marks by which a comparison knows that nothing below a fence changed under it.
 */
export class FenceTable {
  readonly #states: FenceState[];
  readonly #marks: number[];
  /** For each partition how many commits there had been with its last one. */
  readonly #committedAt = new Float64Array(PARTITIONS);
  #commits = 0;

  /** `states` by partition. `firstMark` is drawn at every start: marks of different runs are different. */
  constructor(states: readonly FenceState[] = [], firstMark = 0) {
    this.#states = Array.from(
      { length: PARTITIONS },
      (_, partition) => states[partition] ?? NO_FENCES,
    );
    this.#marks = Array.from({ length: PARTITIONS }, () => firstMark);
  }

  of(partition: number): FenceState {
    return this.#states[partition] as FenceState;
  }

  /** How many fences have been committed since the start. */
  get commits(): number {
    return this.#commits;
  }

  /** Whether a fence of the partition was committed after that many. */
  isCommittedSince(partition: number, commits: number): boolean {
    return (this.#committedAt[partition] as number) > commits;
  }

  set(partition: number, state: FenceState): void {
    if (this.of(partition).committed !== state.committed) {
      this.#commits += 1;
      this.#committedAt[partition] = this.#commits;
    }
    this.#states[partition] = state;
  }

  mark(partition: number): number {
    return this.#marks[partition] as number;
  }

  /** Something at or below the promised fence has changed, and not by a fence: what was compared no longer counts. */
  disturb(partition: number): void {
    this.#marks[partition] = this.mark(partition) + 1;
  }

  /** Why the call is not taken whatever is held, by the rules of core/fence.ts; undefined when it may be. */
  judge(call: ApplyCall): ReplicaFailure | undefined {
    const state = this.of(partitionOf(call.keyHash));
    if (state === NO_FENCES) return undefined;
    if (call.source === 'copy') {
      return refusesCopy(state, call.record, call.fence) ? COPY_FENCED : undefined;
    }
    if (!isAtOrBelow(call.record, state.promised)) return undefined;
    // A write came too late, whoever brings it on; a round goes above the fence and looks again at what is there.
    return call.source === 'accept' ? { ...WRITE_FENCED, promised: state.promised } : WRITE_FENCED;
  }

  /** Whether this record is what the committed fence made of absence: there is nothing to be kept of it. */
  hides(keyHash: number, head: Uint8Array): boolean {
    const state = this.of(partitionOf(keyHash));
    return state !== NO_FENCES && isHidden(head, state.committed);
  }

  /** The record of the call will be on disk. */
  taken(call: ApplyCall): void {
    const partition = partitionOf(call.keyHash);
    const state = this.of(partition);
    if (state !== NO_FENCES && isAtOrBelow(call.record, state.promised)) this.disturb(partition);
  }
}

/** The fences on disk. Rejects with STORE_FAILED when one of them is not what was written. */
export async function loadFences(store: Store): Promise<FenceState[]> {
  const states = Array.from({ length: PARTITIONS }, () => NO_FENCES);
  const cursor = store.cursor(ALL_FENCES);
  try {
    for (;;) {
      const entries = await cursor.next(PARTITIONS);
      if (entries.length === 0) return states;
      for (const [key, sealed] of entries) {
        const partition = key.at(-1) as number;
        const bytes = unseal(key, sealed);
        if (bytes?.length !== FENCE_STATE_BYTES) throw damaged(partition);
        states[partition] = readFences(bytes, 0);
      }
    }
  } finally {
    await cursor.close();
  }
}

function damaged(partition: number): KvError {
  const what = `the fences of partition ${partition} fail their checksum`;
  return new KvError('STORE_FAILED', `the data folder is damaged: ${what}`);
}

/** The entry that holds the fences of a partition, with a checksum. */
export function encodeFenceEntry(partition: number, state: FenceState): Uint8Array {
  const bytes = Buffer.allocUnsafe(FENCE_STATE_BYTES);
  writeFences(state, bytes, 0);
  return seal(fenceKey(partition), bytes);
}
