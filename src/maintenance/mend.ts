import { compareFences, isAtOrBelow, NO_FENCE } from '../core/fence.js';
import { compareKeys } from '../core/key-range.js';
import { leaseRefuses } from '../core/lease.js';
import { addPartition, emptyPartitionSet, hasPartition } from '../core/partition-set.js';
import { partitionOf, type Placement } from '../core/placement.js';
import { compareRecords, isIntact, VERSION_AT } from '../core/record.js';
import { refills, replicaGroups, type ReplicaGroup } from '../core/replica-groups.js';
import { compareBytesAt, VERSION_BYTES } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { Log } from '../io/log.js';
import type { AskReply } from '../io/peer-asks.js';
import {
  isReplicaFailure,
  type Peer,
  type ReadAnswer,
  type ReadCall,
  type ReplicaFailure,
} from '../io/peer.js';
import { StoreError } from '../io/store.js';
import type { Timers } from '../io/timers.js';
import type { CorruptKey } from '../replica/corrupt-keys.js';
import type { LocalReplica } from '../replica/local-replica.js';

const READ_TIMEOUT_MS = 2_000;
/** The rest waits for the next round. */
const KEYS_A_ROUND = 256;

export interface MendingOptions {
  readonly replica: LocalReplica;
  readonly placement: () => Placement;
  readonly peerOf: (nodeId: string) => Peer | undefined;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Log;
  /** Between two looks for what is to be mended; without any, a look costs nothing. */
  readonly everyMs: number;
}

/**
 * Mends records that cannot be read: asks the other replicas of the key, and puts the newest that they hold in its place. Until then
 * the replica abstains on the key; one that is the only replica abstains for ever, because nobody has what it has lost. Stops when
 * what is given is called.
 *
 * Nothing is forgotten by it that somebody relies on:
 *
 * - *What was counted.* As many must answer as refill a replica that forgot (core/replica-groups.ts): among so many is every
 *   record that a majority holds, this replica counted in it.
 * - *What is being counted.* A request may have this replica's answer (to a write, a proposal, a read, a copy) and wait for the one
 *   that makes it a majority. It counts nothing after its deadline, and this replica has heard of that deadline with the call; so
 *   it waits for the latest of them, as of the moment when it began to abstain. After that a request has its majority, of which one
 *   is asked here, or never has. Of the process before this one nothing is known but how long a request may take.
 * - *What was promised.* Ballots that nothing has followed are kept apart from records. What the lost record itself promised, as the
 *   one that fulfilled a promise, is found as with values: a majority promised that ballot, and one of it is asked, which tells it or
 *   holds a record that followed it. And nothing is put in below a promise, neither one that others tell nor the own, nor what a
 *   lease of theirs keeps out (core/lease.ts): a round has counted on that this replica would not take it. That round, or the one
 *   that settles the promise, brings what can be put in.
 *   Of two replicas the other one is in every majority: it has told each round what is now put in here, and itself refuses what is
 *   below its promise; and no round can be settled without this one. So there promises are not looked at.
 */
export function startMending(options: MendingOptions): () => void {
  const { replica, timers, log } = options;
  const mending = new Mending(options);
  let isBusy = false;
  let isStopped = false;
  const cancel = timers.every(options.everyMs, () => {
    if (isBusy || !replica.trees.ready) return;
    isBusy = true;
    mending
      .round()
      .catch((error: unknown) => {
        if (isStopped) return;
        log.warn({ err: error }, 'records that cannot be read are not mended yet');
      })
      .finally(() => {
        isBusy = false;
      });
  });
  return () => {
    isStopped = true;
    cancel();
  };
}

class Mending {
  readonly #options: MendingOptions;
  /** Keys before this place have been tried in this pass, so that those which cannot be mended yet hold up no others. */
  #next = 0;
  /** Partitions with mended records: what was counted of a record that could not be read is not known. */
  readonly #uncounted = new Set<number>();
  /** How many keys the log has been told of. */
  #told = 0;

  constructor(options: MendingOptions) {
    this.#options = options;
  }

  async round(): Promise<void> {
    const { replica, log } = this.#options;
    const { corruptKeys } = replica;
    this.#tell(corruptKeys.length);
    if (this.#next >= corruptKeys.length) this.#next = 0;
    const keys = corruptKeys.slice(this.#next, this.#next + KEYS_A_ROUND);
    if (keys.length === 0) return;
    const groups = replicaGroups(this.#options.placement(), replica.nodeId);
    let mended = 0;
    for (const key of keys) {
      if (await this.#mend(key, groups)) mended += 1;
      else this.#next += 1;
    }
    if (mended === 0) return;
    log.info({ mended }, 'records that could not be read were mended from other replicas');
    await this.#count();
  }

  #tell(keys: number): void {
    if (keys > this.#told) {
      this.#options.log.warn(
        { keys },
        `records that fail their checksums: ${keys}; the other replicas are asked for them; look at the health of the disk`,
      );
    }
    this.#told = keys;
  }

  async #mend(key: CorruptKey, groups: readonly ReplicaGroup[]): Promise<boolean> {
    try {
      const isMended = await mendOne(key, groups, this.#options);
      if (isMended) this.#uncounted.add(partitionOf(key.keyHash));
      return isMended;
    } catch (error) {
      // What lies around this key on the disk cannot be read either.
      if (error instanceof StoreError) return false;
      throw error;
    }
  }

  /** Counts partitions anew in which nothing is left to be mended: each costs a look at all of its records. */
  async #count(): Promise<void> {
    const { replica } = this.#options;
    const corrupt = new Set(replica.corruptKeys.map(({ keyHash }) => partitionOf(keyHash)));
    for (const partition of this.#uncounted) {
      if (corrupt.has(partition)) continue;
      await replica.sweeper.sweep(partition, { rests: true });
      this.#uncounted.delete(partition);
    }
  }
}

async function mendOne(
  { key, keyHash, uncountedFromMs }: CorruptKey,
  groups: readonly ReplicaGroup[],
  options: MendingOptions,
): Promise<boolean> {
  const { replica, clock } = options;
  const group = groups.find(({ partitions }) => hasPartition(partitions, partitionOf(keyHash)));
  if (group === undefined || group.others.length === 0) return false;
  if (clock.monotonicMs() < uncountedFromMs) return false;
  const asked = group.others.flatMap((id) => {
    const peer = options.peerOf(id);
    return peer?.connected === true ? [hear(peer, key, keyHash, options)] : [];
  });
  const heard = (await Promise.all(asked)).filter((one) => one !== undefined);
  if (!refills(group, new Set(heard.map(({ nodeId }) => nodeId)))) return false;
  const record = choose(heard.map(({ answer }) => answer));
  if (group.others.length === 1) return replica.sweeper.mend(key, keyHash, record);
  const promises = [replica.promises.of(key, keyHash), ...heard.map(({ promised }) => promised)];
  if (promises.some((ballot) => ballot !== undefined && isBelow(record, ballot))) return false;
  if (heard.some(({ answer }) => isLeasedFrom(answer, record))) return false;
  return replica.sweeper.mend(key, keyHash, record);
}

function isBelow(record: Uint8Array | undefined, ballot: Uint8Array): boolean {
  return record === undefined || compareBytesAt(record, VERSION_AT, ballot, 0, VERSION_BYTES) < 0;
}

/** Whether what the replica holds keeps the record out there, and this one may have held the same. */
function isLeasedFrom(answer: ReadAnswer, record: Uint8Array | undefined): boolean {
  if (answer.kind !== 'found' || record === undefined) return false;
  return compareRecords(record, answer.header) > 0 && leaseRefuses(answer.header, record);
}

/** What another replica of a key says. */
interface Heard {
  readonly nodeId: string;
  /** No failure, and whole. */
  readonly answer: ReadAnswer;
  /** The ballot that it has promised and that nothing has followed. */
  readonly promised: Uint8Array | undefined;
}

async function hear(
  peer: Peer,
  key: Uint8Array,
  keyHash: number,
  { clock, placement }: MendingOptions,
): Promise<Heard | undefined> {
  const deadlineMs = clock.monotonicMs() + READ_TIMEOUT_MS;
  // Before the record is read: what was promised is told, or is followed by a record that is read.
  const promised = await promiseOf(peer, key, keyHash, deadlineMs);
  if (promised === 'failed') return undefined;
  const answer = await new Promise<ReadAnswer>((resolve) => {
    peer.read(new MendRead(key, keyHash, deadlineMs, placement().version, resolve), 0, 'record');
  });
  return isWhole(answer, keyHash) ? { nodeId: peer.nodeId, answer, promised } : undefined;
}

async function promiseOf(
  peer: Peer,
  key: Uint8Array,
  keyHash: number,
  deadlineMs: number,
): Promise<Uint8Array | undefined | 'failed'> {
  const partitions = emptyPartitionSet();
  addPartition(partitions, partitionOf(keyHash));
  // Keys come in order, so this one is among the first of those after what it begins with.
  let after: Uint8Array | undefined = key.subarray(0, -1);
  while (after !== undefined) {
    const reply: AskReply<'promises'> | ReplicaFailure = await peer.ask(
      'promises',
      { partitions, after },
      deadlineMs,
    );
    if (isReplicaFailure(reply)) return 'failed';
    const at = reply.keys.findIndex((one) => compareKeys(one, key) >= 0);
    if (at !== -1) {
      return compareKeys(reply.keys[at] as Uint8Array, key) === 0 ? reply.ballots[at] : undefined;
    }
    after = reply.more ? reply.keys.at(-1) : undefined;
  }
  return undefined;
}

/** Neither a failure nor damaged on its way. */
export function isWhole(answer: ReadAnswer, keyHash: number): boolean {
  if (isReplicaFailure(answer)) return false;
  return (
    answer.kind === 'absent' || (answer.record !== undefined && isIntact(keyHash, answer.record))
  );
}

/**
 * What is to stand in the place of a record that cannot be read, given the answers of enough other replicas; undefined: nothing.
 * As in reads, a record that a fence has passed at a replica that has nothing is gone, unless its holder has committed that
 * fence as well.
 */
export function choose(answers: readonly ReadAnswer[]): Uint8Array | undefined {
  let passed: Uint8Array = NO_FENCE;
  for (const answer of answers) {
    if (answer.kind !== 'absent') continue;
    const { fence = NO_FENCE } = answer;
    if (compareFences(fence, passed) > 0) passed = fence;
  }
  let newest: Uint8Array | undefined;
  for (const answer of answers) {
    if (answer.kind !== 'found') continue;
    const { record, fence = NO_FENCE } = answer;
    if (record === undefined) continue;
    const isGone = isAtOrBelow(record, passed) && compareFences(fence, passed) < 0;
    if (!isGone && (newest === undefined || compareRecords(record, newest) > 0)) newest = record;
  }
  return newest;
}

class MendRead implements ReadCall {
  readonly traceparent = new Uint8Array(0);

  readonly #resolve: (answer: ReadAnswer) => void;

  constructor(
    readonly key: Uint8Array,
    readonly keyHash: number,
    readonly deadlineMs: number,
    readonly placementVersion: number,
    resolve: (answer: ReadAnswer) => void,
  ) {
    this.#resolve = resolve;
  }

  onRead(_slot: number, answer: ReadAnswer): void {
    this.#resolve(answer);
  }
}
