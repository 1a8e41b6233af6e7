import { HashChains, type Chained } from '../core/hash-chains.js';
import { hash32 } from '../core/hash.js';
import { lastOfLease, leasedUntilMs, leaseRefuses, leaseRefusesBallot } from '../core/lease.js';
import { compareKeys } from '../core/key-range.js';
import { hasPartition, type PartitionSet } from '../core/partition-set.js';
import { partitionOf } from '../core/placement.js';
import { isLeased, VERSION_AT } from '../core/record.js';
import { compareBytesAt, readWallMs, VERSION_BYTES } from '../core/version.js';
import type { ApplyCall, PrepareCall, ReplicaFailure } from '../io/peer.js';
import type { Store, StoreBatch } from '../io/store.js';
import { KvError } from '../core/errors.js';
import { compareFences } from '../core/fence.js';
import type { HeldKey } from './apply.js';
import { refused } from './failure.js';
import { ALL_PROMISES, promiseKey, userKeyOf } from './layout.js';
import { seal, unseal } from './meta.js';

/** Beyond that many keys nothing more is promised: one takes about 200 bytes of memory. */
const MAX_PROMISES = 262_144;
const MAX_KEPT_OUT = 10_000;
/** On disk after a ballot below which a copy is held. */
const IN_DOUBT = Uint8Array.of(1);
const LOADED_AT_ONCE = 1_000;

const OVERLOADED = refused(
  'OVERLOADED',
  'too many ballots that were promised have come to nothing yet',
);

/** Why a ballot is not taken from its coordinator; `nearMs` is how far its key has come already, on some replica. */
type JudgeBallot = (ballot: Uint8Array, nearMs: number) => ReplicaFailure | undefined;

interface Promised extends Chained<Promised> {
  readonly key: Uint8Array;
  /** 16 bytes. */
  ballot: Uint8Array;
  /** Whether it was as it is at the last look at what is unsettled. */
  isOld: boolean;
  /** What is held came as a copy from below the promise: {@link Promises.doubt}. */
  isInDoubt: boolean;
}

/**
 * The ballots that this replica has promised and that no record at or above them has followed: those of rounds under way, and of
 * rounds that were given up. Memory has them all, and is what is enforced; the disk follows before anybody is told. A promise
 * goes when a record at or above it is on disk, in the same batch, or when a fence has passed it.
 *
 * Beside them every record on disk is a promise of its own version, and a leased one of more (core/lease.ts). So a key that never
 * saw a round costs a look into a map that is empty of it.
 */
export class Promises {
  readonly #promised = new HashChains<Promised>();
  /** Of copies that a lease kept out, by the key as text. */
  readonly #keptOut = new Map<string, UnsettledKey>();

  readonly #judgeBallot: JudgeBallot;
  #isEnforced = true;

  constructor(stored: readonly StoredPromise[] = [], judgeBallot: JudgeBallot = () => undefined) {
    this.#judgeBallot = judgeBallot;
    for (const { key, ballot, isInDoubt } of stored) {
      const keyHash = hash32(key);
      this.raise(key, keyHash, ballot);
      if (isInDoubt === true) this.doubt(key, keyHash);
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

  /** All of a partition. */
  *list(partition: number): Iterable<StoredPromise> {
    for (const one of this.#promised) if (partitionOf(one.keyHash) === partition) yield one;
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
    promised.isInDoubt = true;
    promised.isOld = true;
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
    const before = this.of(key, keyHash);
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
    this.raise(key, keyHash, ballot);
    return undefined;
  }

  /** Promises at least this ballot, whatever is held; copies what it keeps. */
  raise(key: Uint8Array, keyHash: number, ballot: Uint8Array): void {
    const known = this.#find(key, keyHash);
    if (known === undefined) {
      this.#promised.add({
        key: new Uint8Array(key),
        keyHash,
        ballot: new Uint8Array(ballot),
        next: undefined,
        isOld: false,
        isInDoubt: false,
      });
    } else if (compareBytesAt(ballot, 0, known.ballot, 0, VERSION_BYTES) > 0) {
      known.ballot = new Uint8Array(ballot);
      known.isOld = false;
    }
  }

  /** What memory has of the key goes into the batch. */
  write(batch: StoreBatch, key: Uint8Array, keyHash: number): void {
    const promised = this.#find(key, keyHash);
    if (promised === undefined) return;
    const at = promiseKey(key);
    const { ballot, isInDoubt } = promised;
    batch.put(at, seal(at, isInDoubt ? Buffer.concat([ballot, IN_DOUBT]) : ballot));
  }

  /** In the batch with a record, the promise that it fulfils goes. */
  writeFulfilled(batch: StoreBatch, held: HeldKey, record: Uint8Array): void {
    if (this.#promised.size === 0) return;
    const { key, keyHash } = held;
    if (isFulfilled(this.of(key, keyHash), record)) batch.del(promiseKey(key));
  }

  /** The batch is on disk: only now is the promise not needed any more. */
  fulfilled(held: HeldKey, record: Uint8Array): void {
    if (this.#promised.size === 0) return;
    const { key, keyHash } = held;
    if (isFulfilled(this.of(key, keyHash), record)) this.#remove(key, keyHash);
  }

  /** The keys of promises at or below a fence that the partition has committed: nothing below it is taken anyway. */
  passed(partition: number, fence: Uint8Array): readonly Uint8Array[] {
    return [...this.list(partition)]
      .filter(({ ballot }) => compareFences(ballot, fence) <= 0)
      .map(({ key }) => key);
  }

  /** Takes them off the disk, unless they have been raised above the fence since. */
  writePassed(batch: StoreBatch, keys: readonly Uint8Array[], fence: Uint8Array): void {
    for (const key of keys) {
      if (this.#isPassed(key, fence)) batch.del(promiseKey(key));
    }
  }

  /** They are off the disk: {@link writePassed}. */
  drop(keys: readonly Uint8Array[], fence: Uint8Array): void {
    for (const key of keys) {
      if (this.#isPassed(key, fence)) this.#remove(key, hash32(key));
    }
  }

  #isPassed(key: Uint8Array, fence: Uint8Array): boolean {
    const ballot = this.of(key, hash32(key));
    return ballot !== undefined && compareFences(ballot, fence) <= 0;
  }

  #find(key: Uint8Array, keyHash: number): Promised | undefined {
    let one = this.#promised.chain(keyHash);
    while (one !== undefined && (one.keyHash !== keyHash || Buffer.compare(one.key, key) !== 0)) {
      one = one.next;
    }
    return one;
  }

  #remove(key: Uint8Array, keyHash: number): void {
    const one = this.#find(key, keyHash);
    if (one !== undefined) this.#promised.delete(one);
  }
}

export interface UnsettledKey {
  readonly key: Uint8Array;
  /** 16 bytes: a round settles it here if its ballot is above this. */
  readonly above: Uint8Array;
}

export interface StoredPromise {
  readonly key: Uint8Array;
  readonly ballot: Uint8Array;
  /** {@link Promises.doubt}; absent: no. */
  readonly isInDoubt?: boolean;
}

/** The promises on disk. Rejects with STORE_FAILED when one of them is not what was written. */
export async function loadPromises(store: Store): Promise<StoredPromise[]> {
  const promises: StoredPromise[] = [];
  const cursor = store.cursor(ALL_PROMISES);
  try {
    for (;;) {
      const entries = await cursor.next(LOADED_AT_ONCE);
      if (entries.length === 0) return promises;
      for (const [storeKey, sealed] of entries) {
        const stored = unseal(storeKey, sealed);
        const doubtBytes = (stored?.length ?? 0) - VERSION_BYTES;
        if (stored === undefined || (doubtBytes !== 0 && doubtBytes !== IN_DOUBT.length)) {
          throw new KvError(
            'STORE_FAILED',
            'the data folder is damaged: a promise of a ballot fails its checksum',
          );
        }
        const ballot = stored.subarray(0, VERSION_BYTES);
        promises.push({ key: userKeyOf(storeKey), ballot, isInDoubt: doubtBytes > 0 });
      }
    }
  } finally {
    await cursor.close();
  }
}

function wallOf(ballot: Uint8Array | undefined): number {
  return ballot === undefined || ballot.length === 0 ? 0 : readWallMs(ballot, 0);
}

/** How far a key has come with this record: ballots of others begin after its lease. */
function reachOf(holds: Uint8Array | undefined): number {
  if (holds === undefined) return 0;
  return isLeased(holds) ? leasedUntilMs(holds) : readWallMs(holds, VERSION_AT);
}

function isFulfilled(ballot: Uint8Array | undefined, record: Uint8Array): boolean {
  return ballot !== undefined && compareBytesAt(record, VERSION_AT, ballot, 0, VERSION_BYTES) >= 0;
}

function beaten(promised: Uint8Array): ReplicaFailure {
  return {
    kind: 'refused',
    code: 'REFUSED',
    message: 'a higher ballot of the key has been promised to another round',
    promised,
  };
}
