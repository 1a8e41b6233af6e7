import {
  commitFence,
  compareFences,
  FENCE_BYTES,
  FENCE_STATE_BYTES,
  joinFences,
  NO_FENCE,
  NO_FENCES,
  promiseFence,
  releaseFence,
  sealFence,
  writeFences,
  type FenceState,
} from '../core/fence.js';
import { KvError } from '../core/errors.js';
import { countPartitions, hasPartition, PARTITION_SET_BYTES } from '../core/partition-set.js';
import { partitionOf, PARTITIONS } from '../core/placement.js';
import { readWallMs } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { Log } from '../io/log.js';
import { DONE, type AskReply, type AskRequest, type FenceRequest } from '../io/peer-asks.js';
import type { ReplicaFailure } from '../io/peer.js';
import type { StoreBatch } from '../io/store.js';
import type { AnsweringReplica } from './ask-handlers.js';
import { refused } from './failure.js';
import { encodeFenceEntry, type FenceTable } from './fence-table.js';
import type { GroupCommit } from './group-commit.js';
import { HiddenRecords } from './hidden-records.js';
import type { KnownRecords } from './known-records.js';
import { fenceKey } from './layout.js';
import type { Promises } from './promises.js';
import type { Sweeper } from './sweep.js';

export interface FencesOptions {
  readonly table: FenceTable;
  readonly promises: Promises;
  readonly commit: GroupCommit;
  readonly known: KnownRecords;
  readonly sweeper: Sweeper;
  readonly clock: Clock;
  readonly log: Log;
  /** How far fences stay behind the clock (Tempo.fenceLagMs). */
  readonly fenceLagMs: number;
}

const OTHER_PROMISE = refused('REFUSED', 'another fence has been promised since');
const NOT_SEALED = refused('REFUSED', 'that fence is not sealed here');
const DISTURBED = refused(
  'REFUSED',
  'a copy at or below the fence was taken since it was promised: it is to be compared again',
);

/**
 * The fences of this replica: the steps of core/fence.ts, each enforced at once and durable before it is answered, and what a
 * committed fence hides taken off the disk.
 */
export class Fences {
  readonly #options: FencesOptions;
  readonly #table: FenceTable;
  readonly #hidden: HiddenRecords;
  /** Fences of a replica that has forgotten, not enforced meanwhile. */
  readonly #aside: (FenceState | undefined)[] = [];
  /** What is known to be on disk. The same object as in the table when nothing has to be written. */
  readonly #stored: FenceState[];

  constructor(options: FencesOptions) {
    this.#options = options;
    this.#table = options.table;
    this.#hidden = new HiddenRecords({ ...options, trees: options.known.trees });
    this.#stored = Array.from({ length: PARTITIONS }, (_, partition) =>
      options.table.of(partition),
    );
  }

  /** Has the replica answer with this what is asked of fences. */
  answerOn(replica: AnsweringReplica): void {
    replica.answer('fences', (request) => this.list(request));
    replica.answer('promise-fence', (request) => this.promise(request));
    replica.answer('seal-fence', (request) => this.seal(request));
    replica.answer('commit-fence', (request) => this.commit(request));
    replica.answer('release-fence', (request) => this.release(request));
  }

  /**
   * The fence of the partition that is committed; empty: none. Whoever sends a copy takes it before it reads the record: what is
   * read later may be older than what a later fence hides, but never than this one.
   */
  committed(partition: number): Uint8Array {
    return this.#table.of(partition).committed;
  }

  of(partition: number): FenceState {
    return this.#table.of(partition);
  }

  async list({ partitions }: AskRequest<'fences'>): Promise<AskReply<'fences'> | ReplicaFailure> {
    if (partitions.length !== PARTITION_SET_BYTES) return outOfBounds('partitions');
    const fences = new Uint8Array(countPartitions(partitions) * FENCE_STATE_BYTES);
    let at = 0;
    for (let partition = 0; partition < PARTITIONS; partition++) {
      if (!hasPartition(partitions, partition)) continue;
      writeFences(this.#table.of(partition), fences, at);
      at += FENCE_STATE_BYTES;
    }
    return { kind: 'reply', fences };
  }

  async promise(
    request: AskRequest<'promise-fence'>,
  ): Promise<AskReply<'promise-fence'> | ReplicaFailure> {
    const problem = checkRequest(request) ?? this.#checkClock(request.fence);
    if (problem !== undefined) return problem;
    const { partition, fence } = request;
    this.#table.set(partition, promiseFence(this.#table.of(partition), fence));
    // Copies that are taken while it is being written are no part of what will be compared.
    const mark = this.#mark(partition);
    // Even where there is nothing to write: copies that the mark counts are on disk then, and in the trees that are compared.
    const failure = await this.#write(partition);
    if (failure !== undefined) return failure;
    return { kind: 'reply', ...this.#table.of(partition), mark };
  }

  async seal(request: AskRequest<'seal-fence'>): Promise<AskReply<'seal-fence'> | ReplicaFailure> {
    const problem = checkRequest(request) ?? this.#checkReadable(request.partition);
    if (problem !== undefined) return problem;
    const { partition, fence, mark } = request;
    const state = this.#table.of(partition);
    const sealed = sealFence(state, fence);
    if (sealed === undefined) return OTHER_PROMISE;
    if (sealed !== state && mark !== this.#mark(partition)) return DISTURBED;
    return this.#settle(partition, sealed);
  }

  async commit(
    request: AskRequest<'commit-fence'>,
  ): Promise<AskReply<'commit-fence'> | ReplicaFailure> {
    const problem = checkRequest(request);
    if (problem !== undefined) return problem;
    const { partition, fence, promised } = request;
    const committed = commitFence(this.#table.of(partition), fence, promised);
    if (committed === undefined) return NOT_SEALED;
    const answer = await this.#settle(partition, committed);
    if (answer.kind === 'reply') {
      this.#hidden.drop(partition);
      this.#options.promises.drop(partition, fence);
    }
    return answer;
  }

  async release(
    request: AskRequest<'release-fence'>,
  ): Promise<AskReply<'release-fence'> | ReplicaFailure> {
    const problem = checkRequest(request);
    if (problem !== undefined) return problem;
    const { partition, fence, promised } = request;
    const released = releaseFence(this.#table.of(partition), fence, promised);
    if (released === undefined) return OTHER_PROMISE;
    return this.#settle(partition, released);
  }

  /**
   * The replica has forgotten, so what it holds below its fences is not what others hold: it takes every copy until it
   * {@link adopt}s fences again. On disk they stay as they are.
   */
  setAside(): void {
    for (let partition = 0; partition < PARTITIONS; partition++) {
      const state = this.#table.of(partition);
      if (state === NO_FENCES) continue;
      this.#aside[partition] = joinFences(this.#aside[partition] ?? NO_FENCES, state);
      this.#table.set(partition, NO_FENCES);
    }
  }

  /**
   * Takes over the greatest fences of the replicas that this one is being refilled from, durably, beside those that it had. What
   * it holds at or below the committed one must be what they hold by then. Rejects with a KvError.
   */
  async adopt(partition: number, state: FenceState): Promise<void> {
    const own = joinFences(this.#aside[partition] ?? NO_FENCES, this.#table.of(partition));
    const joined = joinFences(own, state);
    if (joined.promised.length === 0) return;
    this.#table.set(partition, joined);
    this.#aside[partition] = undefined;
    this.#table.disturb(partition);
    const failure = await this.#write(partition);
    if (failure !== undefined) throw new KvError(failure.code, failure.message);
    this.#hidden.drop(partition);
  }

  /** Goes on with what is hidden and still on disk, as after a crash. Resolves when nothing of it is left or the disk failed. */
  dropHidden(): Promise<void> {
    return this.#hidden.dropAll();
  }

  /** How many records have been taken off the disk because a fence hides them. */
  get dropped(): number {
    return this.#hidden.dropped;
  }

  stop(): void {
    this.#hidden.stop();
  }

  /** What is mended counts like a copy: each puts a record in the place of another. */
  #mark(partition: number): number {
    return this.#table.mark(partition) + this.#options.known.corrupt.mended;
  }

  async #settle(partition: number, state: FenceState): Promise<typeof DONE | ReplicaFailure> {
    this.#table.set(partition, state);
    if (this.#stored[partition] === state) return DONE;
    return (await this.#write(partition)) ?? DONE;
  }

  /** Brings what memory has of the partition to disk. */
  async #write(partition: number): Promise<ReplicaFailure | undefined> {
    let written: FenceState | undefined;
    const fill = (batch: StoreBatch): void => {
      written = this.#table.of(partition);
      const whole = joinFences(this.#aside[partition] ?? NO_FENCES, written);
      batch.put(fenceKey(partition), encodeFenceEntry(partition, whole));
    };
    try {
      await this.#options.commit.change(fill);
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      const kind = error.outcome === 'none' ? 'refused' : 'failed';
      return { kind, code: error.code, message: error.message };
    }
    if (written !== undefined) this.#stored[partition] = written;
    return undefined;
  }

  /** A fence near or ahead of the clock would refuse honest writes: whoever asks for it has a wrong clock. */
  #checkClock(fence: Uint8Array): ReplicaFailure | undefined {
    const { clock, fenceLagMs } = this.#options;
    const behindMs = clock.wallMs() - readWallMs(fence, 0);
    if (behindMs >= fenceLagMs / 2) return undefined;
    const message = `the fence is ${behindMs} ms behind the clock of this replica, which asks for ${fenceLagMs / 2} at least`;
    return refused('CLOCK_DRIFT', message);
  }

  /** No fence is formed over what cannot be read, or is not known yet. */
  #checkReadable(partition: number): ReplicaFailure | undefined {
    const { trees, corrupt } = this.#options.known;
    if (!trees.ready) return refused('UNAVAILABLE', 'the hash trees are being rebuilt');
    const isCorrupt =
      corrupt.isFull || corrupt.list().some(({ keyHash }) => partitionOf(keyHash) === partition);
    return isCorrupt
      ? refused('RECORD_CORRUPT', 'a record of the partition cannot be read, and is to be mended')
      : undefined;
  }
}

function checkRequest({ partition, fence }: FenceRequest): ReplicaFailure | undefined {
  if (!(Number.isInteger(partition) && partition >= 0 && partition < PARTITIONS)) {
    return outOfBounds('partition');
  }
  return fence.length === FENCE_BYTES && compareFences(fence, NO_FENCE) > 0
    ? undefined
    : outOfBounds('fence');
}

function outOfBounds(field: string): ReplicaFailure {
  return refused('INVALID_ARGUMENT', `${field}: out of bounds`);
}
