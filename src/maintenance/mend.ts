import { compareFences, isAtOrBelow, NO_FENCE } from '../core/fence.js';
import { partitionOf, type Placement } from '../core/placement.js';
import { compareRecords, isIntact } from '../core/record.js';
import type { Clock } from '../io/clock.js';
import type { Log } from '../io/log.js';
import { isReplicaFailure, type Peer, type ReadAnswer, type ReadCall } from '../io/peer.js';
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
 * Mends records that cannot be read: asks the other replicas of the key, and puts the newest that they hold in its place. N−M+1
 * of them (M a majority of the N replicas) must answer, all others where those are fewer, for among so many is every write that
 * a majority has acknowledged, this replica counted in it. Until then the replica abstains on the key; one that is the only
 * replica abstains for ever, because nobody has what it has lost. Stops when what is given is called.
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
    let mended = 0;
    for (const key of keys) {
      if (await this.#mend(key)) mended += 1;
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

  async #mend(key: CorruptKey): Promise<boolean> {
    try {
      const isMended = await mendOne(key, this.#options);
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

async function mendOne({ key, keyHash }: CorruptKey, options: MendingOptions): Promise<boolean> {
  const { replica } = options;
  const placement = options.placement();
  const partition = partitionOf(keyHash);
  const others = (placement.preference[partition] as readonly number[])
    .map((index) => placement.members[index]?.id as string)
    .filter((id) => id !== replica.nodeId);
  const majority = Math.floor(placement.replicas / 2) + 1;
  const needed = Math.min(placement.replicas - majority + 1, others.length);
  if (needed === 0) return false;
  const answers = await Promise.all(
    others.flatMap((id) => {
      const peer = options.peerOf(id);
      return peer?.connected === true ? [readFrom(peer, key, keyHash, options)] : [];
    }),
  );
  const chosen = choose(answers, needed, keyHash);
  if (chosen === undefined) return false;
  return replica.sweeper.mend(key, keyHash, chosen.record);
}

function readFrom(
  peer: Peer,
  key: Uint8Array,
  keyHash: number,
  { clock, placement }: MendingOptions,
): Promise<ReadAnswer> {
  return new Promise((resolve) => {
    const deadlineMs = clock.monotonicMs() + READ_TIMEOUT_MS;
    peer.read(new MendRead(key, keyHash, deadlineMs, placement().version, resolve), 0, 'record');
  });
}

/**
 * What is to stand in the place of a record that cannot be read, given the answers of other replicas; undefined: too few of them
 * are answers. As in reads, a record that a fence has passed at a replica that has nothing is gone, unless its holder has
 * committed that fence as well.
 */
export function choose(
  answers: readonly ReadAnswer[],
  needed: number,
  keyHash: number,
): { readonly record: Uint8Array | undefined } | undefined {
  let answered = 0;
  let passed: Uint8Array = NO_FENCE;
  for (const answer of answers) {
    if (isReplicaFailure(answer)) continue;
    const { fence = NO_FENCE } = answer;
    if (answer.kind === 'absent' && compareFences(fence, passed) > 0) passed = fence;
  }
  let newest: Uint8Array | undefined;
  for (const answer of answers) {
    if (isReplicaFailure(answer)) continue;
    if (answer.kind === 'found') {
      const { record, fence = NO_FENCE } = answer;
      if (record === undefined || !isIntact(keyHash, record)) continue;
      const isGone = isAtOrBelow(record, passed) && compareFences(fence, passed) < 0;
      if (!isGone && (newest === undefined || compareRecords(record, newest) > 0)) newest = record;
    }
    answered += 1;
  }
  return answered < needed ? undefined : { record: newest };
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
