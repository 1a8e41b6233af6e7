import { HashChains, type Chained } from '../core/hash-chains.js';
import { hash32 } from '../core/hash.js';
import { lastOfLease, leasedUntilMs, leaseRefuses, leaseRefusesBallot } from '../core/lease.js';
import { compareKeys } from '../core/key-range.js';
import { hasPartition, type PartitionSet } from '../core/partition-set.js';
import { partitionOf } from '../core/placement.js';
import { isLeased, VERSION_AT } from '../core/record.js';
import { compareBytesAt, readWallMs, VERSION_BYTES } from '../core/version.js';
import type { ApplyCall, PrepareCall, ReplicaFailure } from '../io/peer.js';
import type { StoreBatch } from '../io/store.js';
import { compareFences } from '../core/fence.js';
import type { HeldKey } from './apply.js';
import { refused } from './failure.js';
import { PromiseEntries, type KeptPromise } from './promise-entries.js';
import type { StoredEntry, StoredPromise } from './stored-promises.js';

/** Beyond that many keys nothing more is promised: one takes 600 to 800 bytes of memory. */
const MAX_PROMISES = 262_144;
const MAX_KEPT_OUT = 10_000;
const NO_BALLOT = new Uint8Array(0);

const OVERLOADED = refused(
  'OVERLOADED',
  'too many ballots that were promised have come to nothing yet',
);

/** Why a ballot is not taken from its coordinator; `nearMs` is how far its key has come already, on some replica. */
type JudgeBallot = (ballot: Uint8Array, nearMs: number) => ReplicaFailure | undefined;

interface Promised extends Chained<Promised>, KeptPromise {
  /** 16 bytes. */
  ballot: Uint8Array;
  /** Whether it was as it is at the last look at what is unsettled. */
  isOld: boolean;
  /** What is held came as a copy from below the promise: {@link Promises.doubt}. */
  isInDoubt: boolean;
}

/**
 * The ballots that this replica has promised and that no record at or above them has followed: those of rounds under way, and of
 * rounds that were given up. Memory has them all, and is what is enforced; the disk follows before anybody is told
 * (promise-entries.ts). A promise is over when a record at or above it is on disk, or a fence that has passed it.
 *
 * The disk may have it for longer. A restart finds out that it is over, and where it cannot, because the record is damaged, the
 * promise is there once more. That is safe, for a promise only ever refuses, and a round settles its key as any other.
 *
 * Beside them every record on disk is a promise of its own version, and a leased one of more (core/lease.ts). So a key that never
 * saw a round costs a look into a map that is empty of it.
 */
export class Promises {
  readonly #promised = new HashChains<Promised>();
  readonly #entries = new PromiseEntries();
  /** Of copies that a lease kept out, by the key as text. */
  readonly #keptOut = new Map<string, UnsettledKey>();

  readonly #judgeBallot: JudgeBallot;
  #isEnforced = true;

  constructor(stored: readonly StoredEntry[] = [], judgeBallot: JudgeBallot = () => undefined) {
    this.#judgeBallot = judgeBallot;
    for (const { number, size, promises } of stored) {
      const taken = promises.flatMap((promise) => this.#take(promise) ?? []);
      this.#entries.found(number, size, taken);
    }
  }

  get size(): number {
    return this.#promised.size;
  }

  /** 16 bytes, not to be changed; undefined: none beside what the record says. */
  of(key: Uint8Array, keyHash: number): Uint8Array | undefined {
    if (this.#promised.size === 0) return undefined;
    return this.#find(key, keyHash)?.ballot;
  }

  /** All of these partitions with keys after that one, in the order of keys. */
  sorted(partitions: PartitionSet, after: Uint8Array): readonly StoredPromise[] {
    const found: StoredPromise[] = [];
    for (const one of this.#promised) {
      if (!hasPartition(partitions, partitionOf(one.keyHash))) continue;
      if (compareKeys(one.key, after) > 0) found.push(one);
    }
    return found.sort((a, b) => compareKeys(a.key, b.key));
  }

  /** Nothing is kept out for them until {@link enforce}: the replica has forgotten, and takes what others hold. */
  setAside(): void {
    this.#isEnforced = false;
  }

  enforce(): void {
    this.#isEnforced = true;
  }

  /**
   * A copy of what is held may have been taken in spite of the promise, by a replica that had forgotten it. Then this replica has not
   * accepted what it holds, and a round that relies on the promise may not have seen it: it must not be counted among those that
   * hold it. Lasts, over restarts too, until a record at or above the promise is taken; a round is due.
   */
  doubt(key: Uint8Array, keyHash: number): void {
    const promised = this.#find(key, keyHash);
    if (promised === undefined) return;
    promised.isOld = true;
    if (promised.isInDoubt) return;
    promised.isInDoubt = true;
    this.#entries.changed(promised);
  }

  /** Why what is held of the key cannot be answered, nor said to be held; undefined: it can. */
  judgeHeld(call: {
    readonly key: Uint8Array;
    readonly keyHash: number;
  }): ReplicaFailure | undefined {
    if (this.#promised.size === 0 || !this.#isEnforced) return undefined;
    const promised = this.#find(call.key, call.keyHash);
    return promised?.isInDoubt === true ? beaten(promised.ballot) : undefined;
  }

  /** Why a record that would win over what is held (`holds`, a header or more) is not taken; undefined: it may be. */
  judge(call: ApplyCall, holds: Uint8Array | undefined): ReplicaFailure | undefined {
    if (!this.#isEnforced) return undefined;
    if (this.#promised.size > 0) {
      const ballot = this.of(call.key, call.keyHash);
      if (
        ballot !== undefined &&
        compareBytesAt(call.record, VERSION_AT, ballot, 0, VERSION_BYTES) < 0
      ) {
        return beaten(ballot);
      }
    }
    if (holds === undefined || !leaseRefuses(holds, call.record)) return undefined;
    const above = lastOfLease(holds);
    if (call.source === 'copy' && this.#keptOut.size < MAX_KEPT_OUT) {
      const key = Uint8Array.from(call.key);
      this.#keptOut.set(Buffer.from(key).toString('latin1'), { key, above });
    }
    return beaten(above);
  }

  /**
   * Keys whose promise has not changed since the last call, or of which a copy was kept out: their rounds were given up, and
   * only another round makes their replicas equal. A key may be told again and again until one has.
   */
  unsettled(most: number): readonly UnsettledKey[] {
    const keys: UnsettledKey[] = [];
    for (const [name, unsettled] of this.#keptOut) {
      if (keys.length === most) return keys;
      this.#keptOut.delete(name);
      keys.push(unsettled);
    }
    for (const one of this.#promised) {
      if (one.isOld && keys.length < most) keys.push({ key: one.key, above: one.ballot });
      one.isOld = true;
    }
    return keys;
  }

  /**
   * Promises the ballot, unless something is above it: an earlier promise, what is held, or a fence. From now on it is enforced;
   * whoever asked is told when it is on disk.
   */
  prepare(
    call: PrepareCall,
    holds: Uint8Array | undefined,
    promisedFence: Uint8Array,
  ): ReplicaFailure | undefined {
    const { key, keyHash, ballot, above } = call;
    const known = this.#find(key, keyHash);
    const before = known?.ballot;
    if (before !== undefined && compareBytesAt(ballot, 0, before, 0, VERSION_BYTES) <= 0) {
      return beaten(before);
    }
    if (holds !== undefined) {
      if (compareBytesAt(ballot, 0, holds, VERSION_AT, VERSION_BYTES) <= 0) {
        return beaten(Uint8Array.from(holds.subarray(VERSION_AT, VERSION_AT + VERSION_BYTES)));
      }
      if (leaseRefusesBallot(holds, ballot)) return beaten(lastOfLease(holds));
    }
    if (compareFences(ballot, promisedFence) <= 0) return beaten(promisedFence);
    const nearMs = Math.max(wallOf(before), reachOf(holds), wallOf(above));
    const refusal = this.#judgeBallot(ballot, nearMs);
    if (refusal !== undefined) return refusal;
    if (before === undefined && this.#promised.size >= MAX_PROMISES) return OVERLOADED;
    this.#keep(known ?? this.#add(key, keyHash), ballot);
    return undefined;
  }

  /** Promises at least this ballot, whatever is held; copies what it keeps. */
  raise(key: Uint8Array, keyHash: number, ballot: Uint8Array): void {
    const known = this.#find(key, keyHash);
    if (known === undefined) this.#keep(this.#add(key, keyHash), ballot);
    else if (compareBytesAt(ballot, 0, known.ballot, 0, VERSION_BYTES) > 0) {
      this.#keep(known, ballot);
    }
  }

  /** Whether there is something that the next batch must bring before anybody is told of it. */
  get hasDue(): boolean {
    return this.#entries.hasDue;
  }

  /** What the disk lacks goes into the batch. */
  write(batch: StoreBatch): void {
    this.#entries.write(batch);
  }

  /** The batch of the last {@link write} is on disk. Where this is not said of it, the next one does its work again. */
  written(): void {
    this.#entries.written();
  }

  /** The record is on disk: now the promise that it fulfils is not needed any more. */
  fulfilled({ key, keyHash }: HeldKey, record: Uint8Array): void {
    if (this.#promised.size === 0) return;
    const promised = this.#find(key, keyHash);
    if (promised === undefined) return;
    if (compareBytesAt(record, VERSION_AT, promised.ballot, 0, VERSION_BYTES) >= 0) {
      this.#over(promised);
    }
  }

  /** The partition has committed this fence, and that is on disk: no ballot at or below it is taken any more anyway. */
  drop(partition: number, fence: Uint8Array): void {
    const passed: Promised[] = [];
    for (const one of this.#promised) {
      if (partitionOf(one.keyHash) === partition && compareFences(one.ballot, fence) <= 0) {
        passed.push(one);
      }
    }
    for (const one of passed) this.#over(one);
  }

  /** Undefined where what an earlier entry has is above it. */
  #take({ key, ballot, isInDoubt }: StoredPromise): Promised | undefined {
    const keyHash = hash32(key);
    const known = this.#find(key, keyHash);
    if (known !== undefined && compareBytesAt(ballot, 0, known.ballot, 0, VERSION_BYTES) < 0) {
      return undefined;
    }
    const taken = known ?? this.#add(key, keyHash);
    taken.ballot = new Uint8Array(ballot);
    taken.isInDoubt = isInDoubt === true;
    taken.isOld = taken.isInDoubt;
    return taken;
  }

  #find(key: Uint8Array, keyHash: number): Promised | undefined {
    let one = this.#promised.chain(keyHash);
    while (one !== undefined && (one.keyHash !== keyHash || Buffer.compare(one.key, key) !== 0)) {
      one = one.next;
    }
    return one;
  }

  /** Its ballot is for the caller to say. */
  #add(key: Uint8Array, keyHash: number): Promised {
    const promised: Promised = {
      key: new Uint8Array(key),
      keyHash,
      ballot: NO_BALLOT,
      next: undefined,
      isOld: false,
      isInDoubt: false,
      entry: undefined,
      isDue: false,
      isOver: false,
    };
    this.#promised.add(promised);
    return promised;
  }

  #keep(promised: Promised, ballot: Uint8Array): void {
    promised.ballot = new Uint8Array(ballot);
    promised.isOld = false;
    this.#entries.changed(promised);
  }

  #over(promised: Promised): void {
    this.#promised.delete(promised);
    this.#entries.over(promised);
  }
}

export interface UnsettledKey {
  readonly key: Uint8Array;
  /** 16 bytes: a round settles it here if its ballot is above this. */
  readonly above: Uint8Array;
}

function wallOf(ballot: Uint8Array | undefined): number {
  return ballot === undefined || ballot.length === 0 ? 0 : readWallMs(ballot, 0);
}

/** How far a key has come with this record: ballots of others begin after its lease. */
function reachOf(holds: Uint8Array | undefined): number {
  if (holds === undefined) return 0;
  return isLeased(holds) ? leasedUntilMs(holds) : readWallMs(holds, VERSION_AT);
}

function beaten(promised: Uint8Array): ReplicaFailure {
  return {
    kind: 'refused',
    code: 'REFUSED',
    message: 'a higher ballot of the key has been promised to another round',
    promised,
  };
}
