import { isHidden } from '../core/fence.js';
import { partitionOf } from '../core/placement.js';
import { haveSameHeader, isIntact } from '../core/record.js';
import type { PrepareAnswer, PrepareCall, ReplicaFailure } from '../io/peer.js';
import { StoreError, type Store } from '../io/store.js';
import type { CommitRound } from './commit-round.js';
import { CORRUPT, describeStoreError, LATE, refused } from './failure.js';
import type { FenceTable } from './fence-table.js';
import type { KnownRecords } from './known-records.js';
import { recordKey } from './layout.js';
import { lookUp, type Lookup } from './lookup.js';
import type { Promises } from './promises.js';

/** Prepares that wait for a commit. Parallel arrays: nothing is allocated for a call. */
export class PrepareQueue {
  #calls: PrepareCall[] = [];
  #slots: number[] = [];

  constructor(private readonly bound: number) {}

  get length(): number {
    return this.#calls.length;
  }

  /** False when it is full, and the call was not taken. */
  add(call: PrepareCall, slot: number): boolean {
    if (this.#calls.length >= this.bound) return false;
    this.#calls.push(call);
    this.#slots.push(slot);
    return true;
  }

  /** All of them, as a round; undefined: none waits. */
  take(): PrepareRound | undefined {
    if (this.#calls.length === 0) return undefined;
    const round = new PrepareRound(this.#calls, this.#slots);
    this.#calls = [];
    this.#slots = [];
    return round;
  }
}

/**
 * The prepares of one group commit. They come after its applies: what is answered along with a promise is what is on disk with
 * it, and whatever comes later is judged by it.
 */
export class PrepareRound {
  /** By place what is on disk of the key: the whole record, or the header that the call knows. */
  readonly #found: Lookup[] = [];
  readonly #answers: PrepareAnswer[] = [];

  constructor(
    private readonly calls: readonly PrepareCall[],
    private readonly slots: readonly number[],
  ) {}

  /** Finds out what is on disk. No batch may be under way. */
  async lookUp(store: Store, known: KnownRecords): Promise<void> {
    const keys: Uint8Array[] = [];
    const places: number[] = [];
    for (let i = 0; i < this.calls.length; i++) {
      const call = this.calls[i] as PrepareCall;
      this.#found.push(undefined);
      if (!known.mayHave(call.keyHash)) continue;
      const storeKey = recordKey(call.key);
      if (known.isOnDisk(storeKey, call.keyHash, call.known)) this.#found[i] = call.known;
      else {
        keys.push(storeKey);
        places.push(i);
      }
    }
    if (keys.length === 0) return;
    for (const [at, found] of (await lookUp(store, keys)).entries()) {
      this.#found[places[at] as number] = found;
    }
  }

  /** To be called once it is decided what the applies of the group make of their keys. */
  decide(
    nowMs: number,
    applies: CommitRound,
    fences: FenceTable,
    promises: Promises,
    known: KnownRecords,
  ): void {
    for (let i = 0; i < this.calls.length; i++) {
      const call = this.calls[i] as PrepareCall;
      const answer =
        call.deadlineMs <= nowMs
          ? LATE
          : this.#decide(call, this.#found[i], applies, fences, promises);
      if (answer === CORRUPT) known.foundCorrupt(call.key, call.keyHash);
      this.#answers.push(answer);
    }
  }

  /** What was decided is on disk. */
  answer(): void {
    for (let i = 0; i < this.calls.length; i++) {
      const call = this.calls[i] as PrepareCall;
      call.onPrepared(this.slots[i] as number, this.#answers[i] as PrepareAnswer);
    }
  }

  /** It is not, or perhaps. */
  answerFailure(failure: ReplicaFailure): void {
    for (const [i, call] of this.calls.entries()) {
      const answer = this.#answers[i];
      const told = answer === undefined || answer.kind === 'promised' ? failure : answer;
      call.onPrepared(this.slots[i] as number, told);
    }
  }

  #decide(
    call: PrepareCall,
    found: Lookup,
    applies: CommitRound,
    fences: FenceTable,
    promises: Promises,
  ): PrepareAnswer {
    const applied = applies.find(call);
    if (applied?.failure !== undefined) return applied.failure;
    const holds = applied?.winner ?? found;
    if (holds instanceof StoreError) return refused('STORE_FAILED', describeStoreError(holds));
    if (holds !== undefined && holds !== call.known && !isIntact(call.keyHash, holds)) {
      return CORRUPT;
    }
    const { promised, committed } = fences.of(partitionOf(call.keyHash));
    const refusal = promises.prepare(call, holds, promised);
    if (refusal !== undefined) return refusal;
    const fence = committed.length === 0 ? undefined : committed;
    if (holds === undefined || isHidden(holds, committed)) return { kind: 'promised', fence };
    return haveSameHeader(holds, call.known)
      ? { kind: 'promised', header: call.known, fence }
      : { kind: 'promised', record: holds, fence };
  }
}
