import { hash32 } from '../core/hash.js';
import {
  isReplicaFailure,
  type ApplyAnswer,
  type ApplyCall,
  type Peer,
  type ReplicaFailure,
  type ReplicaPage,
} from '../io/peer.js';

/** What copies that are applied together share. */
type SharedCall = Pick<ApplyCall, 'fence' | 'deadlineMs' | 'placementVersion'>;

const NO_BYTES = new Uint8Array(0);

/** Applies copies of records, and resolves when all of them are on disk; gives a failure, if there was one. */
export async function applyAll(
  replica: Peer,
  entries: ReplicaPage['entries'],
  shared: SharedCall,
): Promise<ReplicaFailure | undefined> {
  if (entries.length === 0) return undefined;
  return new Promise((resolve) => {
    const copies = new Copies(shared, entries.length, resolve);
    for (const { key, record } of entries) replica.apply(new Copy(copies, key, record), 0);
  });
}

class Copies {
  readonly fence: Uint8Array;
  readonly deadlineMs: number;
  readonly placementVersion: number;
  #left: number;
  #failure: ReplicaFailure | undefined;
  readonly #onDone: (failure: ReplicaFailure | undefined) => void;

  constructor(
    call: SharedCall,
    count: number,
    onDone: (failure: ReplicaFailure | undefined) => void,
  ) {
    this.fence = call.fence;
    this.deadlineMs = call.deadlineMs;
    this.placementVersion = call.placementVersion;
    this.#left = count;
    this.#onDone = onDone;
  }

  onApplied(answer: ApplyAnswer): void {
    if (isReplicaFailure(answer)) this.#failure = answer;
    this.#left -= 1;
    if (this.#left === 0) this.#onDone(this.#failure);
  }
}

class Copy implements ApplyCall {
  readonly source = 'copy';
  readonly traceparent = NO_BYTES;
  readonly keyHash: number;
  readonly fence: Uint8Array;
  readonly deadlineMs: number;
  readonly placementVersion: number;

  constructor(
    private readonly copies: Copies,
    readonly key: Uint8Array,
    readonly record: Uint8Array,
  ) {
    this.keyHash = hash32(key);
    this.fence = copies.fence;
    this.deadlineMs = copies.deadlineMs;
    this.placementVersion = copies.placementVersion;
  }

  onApplied(_slot: number, answer: ApplyAnswer): void {
    this.copies.onApplied(answer);
  }
}
