import { KvError } from '../core/errors.js';
import type { Clock } from '../io/clock.js';
import type { Log } from '../io/log.js';
import type { ApplyCall, PrepareCall, ReplicaFailure } from '../io/peer.js';
import type { Store, StoreBatch } from '../io/store.js';
import { nextTurn, sleep, type Timers } from '../io/timers.js';
import { writeApplied, type HeldKey } from './apply.js';
import { ApplyQueue, type PendingGroup, type QueueBounds } from './apply-queue.js';
import { CommitRound } from './commit-round.js';
import { describeStoreError, LATE, refused, STOPPING } from './failure.js';
import type { FenceTable } from './fence-table.js';
import type { KnownRecords } from './known-records.js';
import { recordKey, segmentEntryKey } from './layout.js';
import { lookUpHeld } from './lookup.js';
import { COMMIT_COUNTER_KEY, readMetaNumber, sealNumber } from './meta.js';
import { rejectAll, type PendingChange, type PendingTask } from './pending-changes.js';
import { PrepareQueue, type PrepareRound } from './prepare-round.js';
import type { Promises } from './promises.js';
import type { ReopeningStore } from './reopening-store.js';

const REOPEN_PAUSE_MS = 1_000;

const OVERLOADED = refused('OVERLOADED', 'too many writes wait for the disk of this replica');

export interface GroupCommitOptions {
  readonly store: ReopeningStore;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Log;
  readonly bounds: QueueBounds;
  readonly known: KnownRecords;
  readonly fences: FenceTable;
  readonly promises: Promises;
  /** The commit counter that is on disk. */
  readonly commitCounter: number;
}

/**
 * The only writer of the store. One loop takes what has gathered, looks up together what is on disk, decides in memory,
 * writes one synced batch, then answers all; what comes meanwhile is the next group. So a write costs its share of a sync,
 * and nobody is answered before the sync.
 *
 * A key is not looked up where its header is known from the group itself or from the cache, or where the filter says that
 * it is new. These are exact about what is on disk because nothing else writes to it, and one batch is under way at a time.
 */
export class GroupCommit {
  readonly #store: ReopeningStore;
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #log: Log;
  readonly #queue: ApplyQueue;
  #changes: PendingChange[] = [];
  #tasks: PendingTask[] = [];
  readonly #known: KnownRecords;
  readonly #fences: FenceTable;
  readonly #promises: Promises;
  readonly #prepares: PrepareQueue;

  /** Runs while there is work, from the turn after the first of it came. */
  #loop: Promise<void> | undefined;
  #stopping = false;
  /** What calls are told from a failed commit until the store has been opened again. */
  #failure: ReplicaFailure | undefined;

  #commitCounter: number;
  #applied = 0;
  #kept = 0;
  #corrupt = 0;

  constructor(options: GroupCommitOptions) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#timers = options.timers;
    this.#log = options.log;
    this.#queue = new ApplyQueue(options.bounds);
    this.#commitCounter = options.commitCounter;
    this.#known = options.known;
    this.#fences = options.fences;
    this.#promises = options.promises;
    this.#prepares = new PrepareQueue(options.bounds.queueCalls);
    this.#known.walk();
  }

  /** How many batches have been committed, by this node and before it, as far as is known. */
  get commitCounter(): number {
    return this.#commitCounter;
  }

  /** How many records have become the newest of their key on disk. */
  get applied(): number {
    return this.#applied;
  }

  /** How many calls found that an equal or a newer record is on disk. */
  get kept(): number {
    return this.#kept;
  }

  /** How many calls wait for their commit. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** How often a stored record failed its checksum when it was looked up. */
  get corrupt(): number {
    return this.#corrupt;
  }

  /** Why no write is taken; undefined while writes are. */
  get problem(): string | undefined {
    return this.#failure?.message;
  }

  /**
   * Takes a call whose record has been checked; its answer follows exactly once, never within this call. A failure that is
   * returned means that it was not taken, never will be, and is the caller's to answer.
   */
  apply(call: ApplyCall, slot: number): ReplicaFailure | undefined {
    const refusal = this.#refusal();
    if (refusal !== undefined) return refusal;
    if (!this.#queue.add(call, slot)) return OVERLOADED;
    this.#wake();
    return undefined;
  }

  /** As {@link apply}: what is promised is on disk when it is answered. */
  prepare(call: PrepareCall, slot: number): ReplicaFailure | undefined {
    const refusal = this.#refusal();
    if (refusal !== undefined) return refusal;
    if (!this.#prepares.add(call, slot)) return OVERLOADED;
    this.#wake();
    return undefined;
  }

  /** Puts an entry of the meta family into the next batch. Resolves when it is synced; rejects with a KvError. */
  putMeta(key: Uint8Array, value: Uint8Array): Promise<void> {
    return this.change((batch) => void batch.put(key, value));
  }

  /**
   * Lets `fill` add to the next batch what depends on nothing that is on disk: entries of its own family. Resolves when the
   * batch is synced; rejects with a KvError, of outcome unknown where the sync failed.
   */
  change(fill: (batch: StoreBatch) => void): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      return Promise.reject(new KvError(refusal.code, refusal.message));
    }
    return new Promise((resolve, reject) => {
      this.#changes.push({ fill, resolve, reject });
      this.#wake();
    });
  }

  /**
   * Runs `task` while no batch is under way, so what it reads of the store is what is there, and commits what it adds to its
   * batch, synced. What `task` gives is called then, to bring memory up to it. Nobody is served meanwhile: a task is a few
   * milliseconds long. Rejects with what the task throws, which commits nothing, or with a KvError.
   */
  alone(run: (batch: StoreBatch) => Promise<(() => void) | undefined>): Promise<void> {
    const refusal = this.#refusal();
    if (refusal !== undefined) {
      return Promise.reject(new KvError(refusal.code, refusal.message));
    }
    return new Promise((resolve, reject) => {
      this.#tasks.push({ run, resolve, reject });
      this.#wake();
    });
  }

  /**
   * For a task that is {@link alone}: takes the record of `key`, which has this header, and all that goes with it out of the
   * store. What is given is to be called once the batch is synced.
   */
  remove(batch: StoreBatch, key: Uint8Array, keyHash: number, header: Uint8Array): () => void {
    batch.del(recordKey(key)).del(segmentEntryKey(keyHash, key));
    return () => this.#known.removed(key, keyHash, header);
  }

  /** Takes nothing more. Resolves when all that was taken is answered; false when the store failed and was not reopened. */
  async stop(): Promise<boolean> {
    this.#stopping = true;
    await this.#loop;
    await this.#known.stop();
    return this.#failure === undefined;
  }

  #refusal(): ReplicaFailure | undefined {
    return this.#stopping ? STOPPING : this.#failure;
  }

  #wake(): void {
    if (this.#loop !== undefined) return;
    this.#loop = new Promise((resolve, reject) => {
      this.#timers.turn(() => {
        this.#run().then(resolve, reject);
      });
    });
  }

  async #run(): Promise<void> {
    while (this.#hasWork) {
      const task = this.#tasks.shift();
      if (task !== undefined) await this.#runAlone(task);
      const changes = this.#changes;
      this.#changes = [];
      if (this.#failure === undefined) {
        await this.#commit(this.#queue.take(), this.#prepares.take(), changes);
      } else rejectAll(changes, this.#failure);
      if (this.#failure !== undefined) await this.#recover(this.#failure);
      // The answers leave first, and what has arrived meanwhile joins the next group: fewer syncs for as many writes.
      if (this.#hasWork) await nextTurn(this.#timers);
    }
    this.#loop = undefined;
  }

  get #hasWork(): boolean {
    return (
      this.#queue.length > 0 ||
      this.#prepares.length > 0 ||
      this.#changes.length > 0 ||
      this.#tasks.length > 0
    );
  }

  async #runAlone(task: PendingTask): Promise<void> {
    let batch: StoreBatch | undefined;
    let failure: ReplicaFailure | undefined;
    try {
      batch = this.#store.batch();
      const onDone = await task.run(batch);
      if (batch.length === 0) await batch.discard();
      else failure = await this.#sync(batch);
      if (failure === undefined) onDone?.();
    } catch (error) {
      await batch?.discard();
      task.reject(error);
      return;
    }
    if (failure === undefined) task.resolve();
    else task.reject(new KvError(failure.code, failure.message, { outcome: 'unknown' }));
  }

  async #commit(
    group: PendingGroup | undefined,
    prepares: PrepareRound | undefined,
    changes: readonly PendingChange[],
  ): Promise<void> {
    const round = new CommitRound(group?.calls.length ?? 0);
    const lookedUp = group === undefined ? [] : await this.#gather(round, group);
    await prepares?.lookUp(this.#store, this.#known);
    const winners = round.decide(this.#fences, this.#promises);
    const nowMs = this.#clock.monotonicMs();
    prepares?.decide(nowMs, round, this.#fences, this.#promises, this.#known);
    if (winners.length > 0 || changes.length > 0 || this.#promises.hasDue) {
      this.#known.willCommit(round, winners);
      const failure = await this.#write(winners, changes);
      if (failure !== undefined) {
        this.#known.lost();
        round.answerFailure(failure);
        prepares?.answerFailure(failure);
        rejectAll(changes, failure);
        return;
      }
      this.#promises.written();
    }
    this.#known.wrote(winners);
    for (const held of winners) this.#promises.fulfilled(held, held.winner as Uint8Array);
    // Before the cache of headers changes: answers may be views of it.
    const { applied, kept } = round.answer();
    this.#applied += applied;
    this.#kept += kept;
    prepares?.answer();
    for (const change of changes) change.resolve();
    this.#known.remember(lookedUp, winners);
  }

  /** Adds the calls that are not late, and finds out what is on disk of their keys. Gives the keys that had to be read. */
  async #gather(round: CommitRound, group: PendingGroup): Promise<readonly HeldKey[]> {
    const nowMs = this.#clock.monotonicMs();
    const unknown: HeldKey[] = [];
    for (let i = 0; i < group.calls.length; i++) {
      const call = group.calls[i] as ApplyCall;
      const slot = group.slots[i] as number;
      if (call.deadlineMs <= nowMs) {
        call.onApplied(slot, LATE);
        continue;
      }
      const held = round.add(call, slot);
      if (held === undefined) continue;
      if (!this.#known.recall(held)) unknown.push(held);
    }
    if (unknown.length > 0) this.#corrupt += await lookUpHeld(this.#store, unknown, this.#known);
    return unknown;
  }

  /** One batch, synced. A failure says whether it may be on disk nevertheless. */
  async #write(
    winners: readonly HeldKey[],
    changes: readonly PendingChange[],
  ): Promise<ReplicaFailure | undefined> {
    let batch: StoreBatch | undefined;
    try {
      batch = this.#store.batch();
      for (const held of winners) writeApplied(batch, held, held.winner as Uint8Array);
      this.#promises.write(batch);
      for (const change of changes) change.fill(batch);
    } catch (error) {
      await batch?.discard();
      return refused('STORE_FAILED', describeStoreError(error));
    }
    return this.#sync(batch);
  }

  /** Commits the batch with the counter of commits. */
  async #sync(batch: StoreBatch): Promise<ReplicaFailure | undefined> {
    const commitCounter = this.#commitCounter + 1;
    try {
      batch.put(COMMIT_COUNTER_KEY, sealNumber(COMMIT_COUNTER_KEY, commitCounter));
      await batch.commit({ sync: true });
    } catch (error) {
      this.#log.error({ err: error }, 'a write to the disk failed; the store will be reopened');
      const problem = describeStoreError(error);
      this.#failure = refused(
        'STORE_FAILED',
        `${problem}; no write is taken before the store has been opened again`,
      );
      const message = `it may or may not be on disk: ${problem}`;
      return { kind: 'failed', code: 'STORE_FAILED', message };
    }
    this.#commitCounter = commitCounter;
    return undefined;
  }

  /**
   * What a failed commit left on disk is unknown, so everything that claims to know it is dropped, what waits is refused, and
   * the store is opened again, however often it takes. Until then reads go on where they can.
   */
  async #recover(failure: ReplicaFailure): Promise<void> {
    this.#known.clear();
    this.#refuseWaiting(failure);
    let told = '';
    // Once for each obstacle: the disk may be the one that the log is on.
    const tell = (obstacle: string): void => {
      if (obstacle !== told) this.#log.warn({}, obstacle);
      told = obstacle;
    };
    while (!this.#stopping) {
      try {
        if (await this.#store.reopen((store) => this.#verify(store))) {
          this.#failure = undefined;
          this.#log.info({}, 'the store has been opened again and takes writes');
          this.#known.walk();
          return;
        }
        tell('the disk is full or cannot be written: writes are refused until that has changed');
      } catch (error) {
        tell(`the store cannot be opened again yet: ${describeStoreError(error)}`);
      }
      await sleep(this.#timers, REOPEN_PAUSE_MS);
    }
  }

  /**
   * What was synced must be there, and the batch that failed may be. A store that has come back with less is another one (a
   * folder that was removed, a volume that is not mounted, a log that was damaged): it must not answer for this replica.
   */
  async #verify(store: Store): Promise<void> {
    const commitCounter = await readMetaNumber(store, COMMIT_COUNTER_KEY);
    if (commitCounter < this.#commitCounter) {
      throw new KvError(
        'STORE_FAILED',
        `the store has lost what was on disk: it is at commit ${commitCounter}, and ${this.#commitCounter} was synced`,
      );
    }
    this.#commitCounter = commitCounter;
  }

  #refuseWaiting(failure: ReplicaFailure): void {
    for (let group = this.#queue.take(); group !== undefined; group = this.#queue.take()) {
      for (let i = 0; i < group.calls.length; i++) {
        (group.calls[i] as ApplyCall).onApplied(group.slots[i] as number, failure);
      }
    }
    this.#prepares.take()?.answerFailure(failure);
    const changes = this.#changes;
    this.#changes = [];
    rejectAll(changes, failure);
    const tasks = this.#tasks;
    this.#tasks = [];
    for (const task of tasks) task.reject(new KvError(failure.code, failure.message));
  }
}
