import { HybridClock, lastVersionOf } from '../core/hlc.js';
import type { Rumour } from '../core/membership.js';
import { DEFAULT_TEMPO } from '../core/tempo.js';
import { hash32 } from '../core/hash.js';
import { readU32, type Version } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { Log } from '../io/log.js';
import type {
  ApplyCall,
  Lives,
  Peer,
  PingAnswer,
  PingRequest,
  PrepareCall,
  ReadCall,
  ReplicaFailure,
  ReplicaPage,
  ReplicaScan,
} from '../io/peer.js';
import type { AskKind, AskReply, AskRequest } from '../io/peer-asks.js';
import type { Random } from '../io/random.js';
import type { StoreOpener } from '../io/store.js';
import type { Timers } from '../io/timers.js';
import { AskDesk, isAlwaysAnswered } from './ask-desk.js';
import { DEFAULT_QUEUE_BOUNDS, type QueueBounds } from './apply-queue.js';
import type { AskHandlers } from './ask-handlers.js';
import { ClockBound } from './clock-bound.js';
import {
  closeDataFolder,
  openDataFolder,
  type DataFolder,
  type FolderIdentity,
} from './data-folder.js';
import { refused, STOPPING } from './failure.js';
import { FenceTable } from './fence-table.js';
import { Fences } from './fences.js';
import { CorruptKeys, type CorruptKey } from './corrupt-keys.js';
import { GroupCommit } from './group-commit.js';
import { Introductions } from './introductions.js';
import { PeerMemory } from './peer-memory.js';
import { Hints } from './hints.js';
import { KnownRecords } from './known-records.js';
import { scanPage } from './range-scan.js';
import { PEERS_KEY, seal } from './meta.js';
import { NextTurn } from './next-turn.js';
import { PromiseAnswers } from './promise-answers.js';
import { Promises } from './promises.js';
import { ReadGather } from './read-gather.js';
import { loadTrees, saveTrees } from './saved-trees.js';
import { statusOf, type ReplicaStatus } from './replica-status.js';
import { ScanQueue } from './scan-queue.js';
import { ReplicaDoor } from './replica-door.js';
import { Standing } from './standing.js';
import { Sweeper } from './sweep.js';
import { TreeAnswers } from './tree-answers.js';
import { Trees } from './trees.js';

const FORGOT_MEANWHILE = refused('UNAVAILABLE', 'the replica has forgotten what this was about');

export interface LocalReplicaOptions {
  readonly opener: StoreOpener;
  readonly identity: FolderIdentity;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly log: Log;
  readonly maxDriftMs: number;
  /** The placement version that the node goes by now. */
  readonly placementVersion: () => number;
  /** Whether the node's clock is found wrong now. */
  readonly quarantined: () => boolean;
  /** Takes the news that a ping brings, and gives what it is to be answered. */
  readonly gossip?: (request: PingRequest) => readonly Rumour[];
  /** A person's word that what the folder holds is all there is. Default: false. */
  readonly trustFolder?: boolean;
  readonly queueBounds?: QueueBounds;
  /** Of the node's tempo. Default: of {@link DEFAULT_TEMPO}. */
  readonly fenceLagMs?: number;
  readonly longestRequestMs?: number;
}

/** Opens the node's data folder and what serves from it. Rejects with a KvError, as {@link openDataFolder} says. */
export async function openLocalReplica(options: LocalReplicaOptions): Promise<LocalReplica> {
  const { opener, identity, clock, random, trustFolder = false } = options;
  const folder = await openDataFolder(opener, { identity, clock, random, trustFolder });
  const trees = new Trees();
  if (folder.stoppedCleanly && !(await loadTrees(folder.store, trees, folder.foundCommitCounter))) {
    trees.clear();
  }
  return new LocalReplica(options, folder, trees);
}

/**
 * The node's own replica: what its folder holds, and the clock that stamps what it coordinates. While its {@link Standing} is
 * not to serve, it refuses whatever is asked of it but who it is.
 */
export class LocalReplica implements Peer {
  readonly nodeId: string;
  readonly standing: Standing;
  /** What is remembered of other nodes. */
  readonly memory: PeerMemory;
  readonly introductions: Introductions;
  /** The same replica in any standing, for what brings it on: a refill compares and applies. */
  readonly whileRefilling: Peer;
  /** The node's clock. Everything that was written here has been observed by it. */
  readonly hlc: HybridClock;
  /** The writer id of this run, 16 hexadecimal characters. */
  readonly writer: string;
  /** What a comparison with another replica asks, answered for others and for this node's own. */
  readonly compared: TreeAnswers;
  /** Which keys other replicas are owed by this one. */
  readonly hints: Hints;
  /** Goes through the records of partitions: to check them, to mend them, to take out what is to go. */
  readonly sweeper: Sweeper;
  /** Below which versions deletes are forgotten. */
  readonly fences: Fences;
  /** Which ballots it has promised. */
  readonly promises: Promises;
  readonly promiseAnswers: PromiseAnswers;
  readonly #options: LocalReplicaOptions;
  readonly #folder: DataFolder;
  readonly #commit: GroupCommit;
  readonly #known: KnownRecords;
  readonly #table: FenceTable;
  readonly #reads: ReadGather;
  readonly #bound: ClockBound;
  readonly #scans: ScanQueue;
  readonly #asks = new AskDesk();
  readonly #door: ReplicaDoor;
  readonly #nextTurn: NextTurn;
  #stopping = false;
  #closing: Promise<void> | undefined;
  #writesTaken = 0;

  constructor(options: LocalReplicaOptions, folder: DataFolder, trees: Trees) {
    const { clock, timers, log, maxDriftMs } = options;
    const { longestRequestMs, fenceLagMs } = { ...DEFAULT_TEMPO, ...options };
    this.nodeId = options.identity.nodeId;
    this.#options = options;
    this.#folder = folder;
    const writer = options.random.bytes(8);
    this.writer = Buffer.from(writer).toString('hex');
    this.hlc = new HybridClock({
      wallMs: () => clock.wallMs(),
      writer: { hi: readU32(writer, 0), lo: readU32(writer, 4) },
      maxDriftMs,
      after: lastVersionOf(folder.clockBoundMs),
      limitMs: folder.clockBoundMs,
    });
    const table = new FenceTable(folder.fences, readU32(options.random.bytes(4), 0) * 2 ** 16);
    this.#table = table;
    const corrupt = new CorruptKeys(clock, longestRequestMs);
    this.#door = new ReplicaDoor({ ...options, nodeId: this.nodeId, hlc: this.hlc, corrupt });
    this.#known = new KnownRecords(folder.store, log, trees, corrupt);
    this.promises = new Promises(folder.promises, this.#door.judgeBallot);
    this.#commit = new GroupCommit({
      promises: this.promises,
      known: this.#known,
      fences: table,
      store: folder.store,
      clock,
      timers,
      log,
      bounds: options.queueBounds ?? DEFAULT_QUEUE_BOUNDS,
      commitCounter: folder.commitCounter,
    });
    this.memory = new PeerMemory(this.nodeId, folder.peers);
    this.standing = new Standing({
      nodeId: this.nodeId,
      stored: folder.standing,
      incarnation: folder.incarnation,
      starts: folder.starts,
      trusted: options.trustFolder ?? false,
      memory: this.memory,
      commit: this.#commit,
      clock,
      random: options.random,
      log,
    });
    this.introductions = new Introductions(this.standing, this.memory, this.#commit);
    this.#reads = new ReadGather(folder.store, clock, timers, table, this.#known);
    this.#bound = new ClockBound({ hlc: this.hlc, clock, commit: this.#commit, maxDriftMs });
    this.#scans = new ScanQueue(clock);
    this.#nextTurn = new NextTurn(timers);
    this.sweeper = new Sweeper({
      store: folder.store,
      commit: this.#commit,
      known: this.#known,
      clock,
      timers,
    });
    this.compared = new TreeAnswers({
      nodeId: this.nodeId,
      store: folder.store,
      known: this.#known,
      fences: table,
      clock,
    });
    this.whileRefilling = {
      nodeId: this.nodeId,
      connected: true,
      apply: (call, slot) => this.#apply(call, slot, undefined),
      read: (call, slot, part) => this.#read(call, slot, part, undefined),
      prepare: (call, slot) => this.#prepare(call, slot, undefined),
      scan: (request, deadlineMs) => this.#scan(request, deadlineMs),
      ping: (request) => this.ping(request),
      ask: (kind, request, deadlineMs) => this.#asks.ask(kind, request, deadlineMs),
    };
    this.introductions.answerOn(this);
    this.promiseAnswers = new PromiseAnswers(this, this.#commit, folder.store);
    this.compared.answerOn(this);
    this.fences = new Fences({
      table,
      promises: this.promises,
      commit: this.#commit,
      known: this.#known,
      sweeper: this.sweeper,
      clock,
      log,
      fenceLagMs,
    });
    this.fences.answerOn(this);
    this.hints = new Hints({
      store: folder.store,
      change: (fill) => this.#commit.change(fill),
      timers,
      log,
    });
  }

  /** The keys on which it abstains until they are mended. */
  get corruptKeys(): readonly CorruptKey[] {
    return this.#known.corrupt.list();
  }

  /** The hash trees: what is on disk, in digests. */
  get trees(): Trees {
    return this.#known.trees;
  }

  get incarnation(): Uint8Array {
    return this.standing.incarnation;
  }

  /** The own replica is always there; it says by itself when it cannot serve. */
  get connected(): boolean {
    return this.standing.state === 'serving';
  }

  /** What every answer names: the own life, and the lives of others that are known here. */
  get lives(): Lives {
    return this.introductions.lives;
  }

  /** How far its group commits have come. */
  get commitCounter(): number {
    return this.#commit.commitCounter;
  }

  /** A new version for a request that came without one. Rejects with a KvError of outcome none. */
  stamp(): Promise<Version> {
    return this.#bound.stamp();
  }

  /** How many writes of coordinators have come, copies not counted: work that somebody waits for. */
  get writesTaken(): number {
    return this.#writesTaken;
  }

  apply(call: ApplyCall, slot: number): void {
    if (call.source !== 'copy') this.#writesTaken += 1;
    this.#apply(call, slot, this.standing.refusal);
  }

  #apply(call: ApplyCall, slot: number, closed: ReplicaFailure | undefined): void {
    const refusal = this.#stopping
      ? STOPPING
      : (closed ?? this.#door.judge(call) ?? this.#commit.apply(call, slot));
    if (refusal !== undefined) this.#nextTurn.run(() => call.onApplied(slot, refusal));
  }

  read(call: ReadCall, slot: number, part: 'record' | 'header'): void {
    this.#read(call, slot, part, this.standing.refusal);
  }

  #read(
    call: ReadCall,
    slot: number,
    part: 'record' | 'header',
    closed: ReplicaFailure | undefined,
  ): void {
    const judged = closed ?? this.#door.judgeCall(call) ?? this.promises.judgeHeld(call);
    const refusal = judged ?? this.#reads.read(call, slot, part);
    if (refusal !== undefined) this.#nextTurn.run(() => call.onRead(slot, refusal));
  }

  prepare(call: PrepareCall, slot: number): void {
    this.#writesTaken += 1;
    this.#prepare(call, slot, this.standing.refusal);
  }

  #prepare(call: PrepareCall, slot: number, closed: ReplicaFailure | undefined): void {
    const refusal = this.#stopping
      ? STOPPING
      : (closed ?? this.#door.judgeCall(call) ?? this.#commit.prepare(call, slot));
    if (refusal !== undefined) this.#nextTurn.run(() => call.onPrepared(slot, refusal));
  }

  async scan(request: ReplicaScan, deadlineMs: number): Promise<ReplicaPage | ReplicaFailure> {
    return this.standing.refusal ?? this.#scan(request, deadlineMs);
  }

  async #scan(request: ReplicaScan, deadlineMs: number): Promise<ReplicaPage | ReplicaFailure> {
    const refusal = this.#door.judgeRange(request, deadlineMs);
    if (refusal !== undefined) return refusal;
    // A digest would hide on which keys of the page it abstains.
    const scan = { ...request, asDigest: request.asDigest && this.#known.corrupt.size === 0 };
    const answer = await this.#scans.run(request.limit, deadlineMs, () =>
      scanPage(this.#folder.store, scan, this.#table, this.#options.clock, deadlineMs),
    );
    if (answer.kind !== 'page') return answer;
    for (const key of answer.corrupt) this.#known.foundCorrupt(key, hash32(key));
    return this.#known.corrupt.judgePage(answer);
  }

  /** From now on `handler` answers what is asked of this kind; until then it is refused. */
  answer<K extends AskKind>(kind: K, handler: AskHandlers[K]): void {
    this.#asks.answer(kind, handler);
  }

  async ask<K extends AskKind>(
    kind: K,
    request: AskRequest<K>,
    deadlineMs: number,
  ): Promise<AskReply<K> | ReplicaFailure> {
    const { refusal, incarnation } = this.standing;
    const closed = this.#stopping ? STOPPING : refusal;
    const answer = await this.#asks.ask(kind, request, deadlineMs, closed);
    // What was begun in one life says nothing of the next.
    const isOver = this.standing.incarnation !== incarnation && !isAlwaysAnswered(kind);
    return isOver ? FORGOT_MEANWHILE : answer;
  }

  async ping(request: PingRequest): Promise<PingAnswer | ReplicaFailure> {
    if (this.#stopping) return STOPPING;
    return {
      kind: 'pong',
      nodeId: this.nodeId,
      wallMs: this.#options.clock.wallMs(),
      hlc: this.hlc.latest,
      quarantined: this.#options.quarantined(),
      commitCounter: this.#commit.commitCounter,
      incarnation: this.standing.incarnation,
      placementVersion: this.#options.placementVersion(),
      rumours: this.#options.gossip?.(request) ?? [],
    };
  }

  /** Why it takes no writes; undefined while it does. */
  get problem(): string | undefined {
    return this.#commit.problem;
  }

  async status(): Promise<ReplicaStatus> {
    return {
      ...statusOf(this.#commit, this.#known, this.sweeper),
      driftRefusals: this.#door.driftRefusals,
      corrupt: this.#commit.corrupt + this.#reads.corrupt,
      storeBytes: await this.#folder.store.sizeBytes().catch(() => undefined),
      storeReads: this.#folder.store.reads,
      stoppedCleanly: this.#folder.stoppedCleanly,
    };
  }

  /** Takes nothing more, answers all that was taken, marks the stop as clean and closes the folder. Never rejects. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stopping = true;
    this.fences.stop();
    const [intact] = await Promise.all([
      this.hints.stop().then(() => this.#commit.stop()),
      this.#reads.stop(),
      this.#scans.stop(),
    ]);
    try {
      await closeDataFolder(this.#folder, intact, (batch) => {
        saveTrees(batch, this.trees, this.#commit.commitCounter);
        batch.put(PEERS_KEY, seal(PEERS_KEY, this.memory.encode()));
      });
    } catch (error) {
      // Everything that was answered is on disk all the same; the next start takes this stop for a crash.
      const { log } = this.#options;
      log.warn({ err: error }, 'the data folder could not be marked as stopped cleanly');
    }
  }
}
