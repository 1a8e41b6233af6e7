import { compareFences, isAtOrBelow, isHidden, NO_FENCE } from '../../src/core/fence.js';
import { hash32 } from '../../src/core/hash.js';
import { partitionOf } from '../../src/core/placement.js';
import { ReadTally } from '../../src/core/read-tally.js';
import {
  compareRecords,
  encodeRecord,
  headerOf,
  isTombstone,
  VERSION_AT,
} from '../../src/core/record.js';
import { encodeVersion, VERSION_BYTES, type Version } from '../../src/core/version.js';
import { silentLog } from '../../src/io/log.js';
import type { ApplySource, Peer, ReplicaFailure } from '../../src/io/peer.js';
import type { StoreBatch } from '../../src/io/store.js';
import { FenceVote } from '../../src/maintenance/fence-vote.js';
import { keyDifferences, type ListedKeys } from '../../src/maintenance/key-difference.js';
import { answerTo, applyRecord, type HeldKey } from '../../src/replica/apply.js';
import type { AskHandlers } from '../../src/replica/ask-handlers.js';
import { FenceTable } from '../../src/replica/fence-table.js';
import { Promises } from '../../src/replica/promises.js';
import { Fences, type FencesOptions } from '../../src/replica/fences.js';
import { recordKey } from '../../src/replica/layout.js';
import { seededRandom } from '../seeded-random.js';
import { applyCall } from './fixtures.js';

/**
 * One key, its replicas, and everything that may happen to it in any order: writes that come late or twice, copies under way
 * for ever, reads that repair, votes of two leaders on fences, crashes between any two steps, messages that are lost. The
 * replicas judge with the real apply, fences and tally; network, disk and the comparison of trees are this world's.
 */
export interface Wrong {
  /** Tombstones are dropped with the promise. */
  readonly dropsPromised?: boolean;
  /** A fence is committed without a comparison. */
  readonly comparesNot?: boolean;
  /** Copies taken since the comparison are not seen. */
  readonly ignoresMarks?: boolean;
  /** Each commits what it can, whether all have sealed it or not. */
  readonly sealsAlone?: boolean;
  /** Fences are kept in memory only. */
  readonly forgetsFences?: boolean;
  /** Copies say that their holder has committed no fence, and none is asked for. */
  readonly takesAnyCopy?: boolean;
  /** Late writes are taken. */
  readonly takesLateWrites?: boolean;
  /** What a fence hides wins over absence in reads. */
  readonly readsTombstonesBack?: boolean;
}

const KEY = Buffer.from('k');
const KEY_HASH = hash32(KEY);
const PARTITION = partitionOf(KEY_HASH);
/** With more of them, what comes back is soon hidden by what is newer. */
const MOST_WRITES = 4;
const LOST: ReplicaFailure = { kind: 'failed', code: 'UNAVAILABLE', message: 'lost' };

/** A message or a piece of work that is under way: it happens when its turn comes, or is lost. */
interface UnderWay {
  readonly happen: () => void;
  readonly lose: () => void;
}

class ModelReplica {
  stored: Uint8Array | undefined;
  table = new FenceTable();
  fences: Fences;
  life = 0;
  readonly #entries = new Map<string, Uint8Array>();

  constructor(
    readonly nodeId: string,
    private readonly world: FenceWorld,
  ) {
    this.fences = this.#open();
  }

  get committed(): Uint8Array {
    return this.table.of(PARTITION).committed;
  }

  /** What a read sees. */
  get visible(): Uint8Array | undefined {
    return this.stored === undefined || isHidden(this.stored, this.committed)
      ? undefined
      : this.stored;
  }

  crash(): void {
    this.life += 1;
    this.fences = this.#open();
  }

  apply(source: ApplySource, record: Uint8Array, fence: Uint8Array): 'took' | 'refused' {
    const { wrong } = this.world;
    const call = applyCall(KEY, record, { source, fence });
    const held: HeldKey = {
      key: KEY,
      storeKey: recordKey(KEY),
      keyHash: KEY_HASH,
      next: undefined,
      stored: this.stored,
      failure: undefined,
      winner: undefined,
    };
    const isFree = source === 'copy' ? wrong.takesAnyCopy : wrong.takesLateWrites;
    const decided = applyRecord(
      held,
      call,
      isFree === true ? new FenceTable() : this.table,
      new Promises(),
    );
    if (typeof decided === 'object') return 'refused';
    if (isFree === true && decided === 'taken') this.table.taken(call);
    answerTo(held, record);
    this.stored = held.winner ?? held.stored;
    return 'took';
  }

  /** What the background does after a commit. */
  drop(): void {
    const { promised, committed } = this.table.of(PARTITION);
    const fence = this.world.wrong.dropsPromised === true ? promised : committed;
    if (this.stored !== undefined && isHidden(this.stored, fence)) this.stored = undefined;
  }

  listed(): ListedKeys {
    const { visible, committed } = this;
    const keys = visible === undefined ? [] : [KEY];
    const headers = visible === undefined ? [] : [headerOf(visible)];
    return { keys, headers, corrupt: [], committed };
  }

  #open(): Fences {
    const { life, world } = this;
    const stored = [...this.#entries.values()][0];
    this.table = new FenceTable([], 1_000 * life);
    if (stored !== undefined && world.wrong.forgetsFences !== true) {
      this.table.set(PARTITION, world.stateIn(stored));
    }
    const commit = {
      change: (fill: (batch: StoreBatch) => void) =>
        new Promise<void>((resolve) => {
          world.later(() => {
            if (life !== this.life) return;
            const put = (key: Uint8Array, value: Uint8Array): void => {
              this.#entries.set(Buffer.from(key).toString('hex'), value);
            };
            fill({ put } as unknown as StoreBatch);
            resolve();
          });
        }),
    };
    const known = { trees: { ready: true, counts: () => ({ droppableFromMs: Infinity }) } };
    const corrupt = { list: () => [], mended: 0 };
    return new Fences({
      table: this.table,
      promises: new Promises(),
      commit,
      known: { ...known, corrupt },
      sweeper: {},
      clock: { wallMs: () => 1e9, monotonicMs: () => 0 },
      log: silentLog,
      fenceLagMs: 0,
    } as unknown as FencesOptions);
  }
}

export class FenceWorld {
  readonly replicas: readonly ModelReplica[];
  /** What people could tell is wrong. */
  readonly complaints: string[] = [];
  /** Fences committed at some replica, and reads answered. */
  readonly done = { commits: 0, reads: 0, fencedAnswers: 0 };
  readonly #random;
  /** How often what happens: each run has its own, so that what takes much of one thing and none of another comes up. */
  readonly mix;
  readonly #majority: number;
  #underWay: UnderWay[] = [];
  /** What comes much later than the rest. */
  #delayed: UnderWay[] = [];
  #nowMs = 10;
  /** Every version at which the key was deleted. */
  readonly #deletes: Uint8Array[] = [];
  /** The newest version that a majority has acknowledged, or that was read from one. */
  #floor: Uint8Array = NO_FENCE;
  #votes = 0;
  #writes = 0;

  constructor(
    seed: number,
    replicas: number,
    readonly wrong: Wrong = {},
  ) {
    this.#random = seededRandom(seed);
    const weight = (): number => this.#any([0.1, 0.5, 1.5]);
    this.mix = {
      late: weight(),
      write: weight(),
      read: weight(),
      copy: weight(),
      crash: this.#any([0, 0.1, 0.3]),
      slow: this.#any([0.02, 0.2, 0.5]),
    };
    this.#majority = Math.floor(replicas / 2) + 1;
    this.replicas = Array.from({ length: replicas }, (_, i) => new ModelReplica(`n${i + 1}`, this));
  }

  /** Lets that many things happen. */
  async run(steps: number): Promise<void> {
    for (let i = 0; i < steps && this.complaints.length === 0; i++) {
      this.#nowMs += 1;
      this.#step();
      await settled();
    }
  }

  /** Delivers everything, copies everything everywhere, and moves a last fence: all must be equal then. */
  async heal(): Promise<void> {
    for (let round = 0; round < 6; round++) {
      for (const from of this.replicas) for (const to of this.replicas) this.#copy(from, to);
      await this.#drain();
    }
    this.#nowMs += 10;
    this.#votes = 0;
    this.#vote(this.replicas[0] as ModelReplica);
    await this.#drain();
    for (const replica of this.replicas) replica.drop();
    const [first, ...others] = this.replicas.map(({ stored }) => stored);
    for (const [i, other] of others.entries()) {
      const isSame =
        first === undefined || other === undefined
          ? first === other
          : compareRecords(first, other) === 0;
      if (!isSame) this.complaints.push(`n1 and n${i + 2} differ for ever`);
    }
    if (first !== undefined && compareFences(versionIn(first), this.#floor) < 0) {
      this.complaints.push('what is left is older than what was acknowledged');
    }
    if (first === undefined && !this.#isDeleted(this.#floor)) {
      this.complaints.push('what was acknowledged is gone');
    }
  }

  later(happen: () => void, lose: () => void = () => {}): void {
    this.#underWay.push({ happen, lose });
  }

  /** A record on its way to a replica, which may come very late. */
  #send(happen: () => void): void {
    const slow = this.#random.fraction() < this.mix.slow;
    (slow ? this.#delayed : this.#underWay).push({ happen, lose: () => {} });
  }

  /** What `encodeFenceEntry` put there: promised, sealed, committed behind a checksum of 4. */
  stateIn(entry: Uint8Array): ReturnType<FenceTable['of']> {
    const at = (from: number): Uint8Array => {
      const fence = entry.slice(4 + from, 4 + from + VERSION_BYTES);
      return fence.every((byte) => byte === 0) ? NO_FENCE : fence;
    };
    return { promised: at(0), sealed: at(16), committed: at(32) };
  }

  #step(): void {
    const { length } = this.#underWay;
    if (length > 0 && this.#below(length < 10 ? 8 : 16) !== 0) {
      const [task] = this.#underWay.splice(this.#below(length), 1) as [UnderWay];
      if (this.#below(60) === 0) task.lose();
      else task.happen();
      return;
    }
    const replica = this.#any(this.replicas);
    const { mix } = this;
    let choice =
      this.#random.fraction() * (mix.late + mix.write + mix.read + mix.copy + mix.crash + 2);
    if ((choice -= mix.late) < 0) {
      this.#underWay.push(...this.#delayed.splice(this.#below(this.#delayed.length), 1));
    } else if ((choice -= mix.write) < 0) {
      if (this.#writes < MOST_WRITES) this.#write(this.#below(2) === 0);
    } else if ((choice -= mix.read) < 0) void this.#read();
    else if ((choice -= mix.copy) < 0) this.#copy(replica, this.#any(this.replicas));
    else if ((choice -= mix.crash) < 0) replica.crash();
    else if (choice < 1) replica.drop();
    else if (this.#votes === 0 || (this.#votes === 1 && this.#below(5) === 0)) this.#vote(replica);
  }

  /** Until nothing is under way any more, however late. */
  async #drain(): Promise<void> {
    do {
      this.#underWay.push(...this.#delayed.splice(0));
      this.#underWay.shift()?.happen();
      await settled();
      if (this.#underWay.length === 0) await new Promise(setImmediate);
    } while (this.#underWay.length + this.#delayed.length > 0);
  }

  /** To all replicas; each message may come twice, and ever so late. */
  #write(tombstone: boolean): void {
    this.#writes += 1;
    const record = recordAt(this.#nowMs, tombstone);
    if (tombstone) this.#deletes.push(versionIn(record));
    const took = new Set<ModelReplica>();
    for (const replica of this.replicas) {
      for (let i = this.#below(4) === 0 ? 2 : 1; i > 0; i--) {
        this.#send(() => {
          if (replica.apply('write', record, NO_FENCE) === 'took') took.add(replica);
          if (took.size >= this.#majority) this.#raiseFloor(versionIn(record));
        });
      }
    }
  }

  #copy(from: ModelReplica, to: ModelReplica): void {
    const { visible, committed } = from;
    if (visible === undefined || from === to) return;
    this.#send(() => void to.apply('copy', visible, committed));
  }

  async #read(): Promise<void> {
    const floor = this.#floor;
    const order = this.replicas.map((_, slot) => slot).sort(() => this.#random.fraction() - 0.5);
    const tally = new ReadTally(this.#majority, order, NO_FENCE);
    let isDone = false;
    const ask = (slot: number, part: 'record' | 'header'): void => {
      const answer = (): void => {
        const { visible, committed } = this.replicas[slot] as ModelReplica;
        const shown = this.wrong.readsTombstonesBack === true ? NO_FENCE : committed;
        const fence = shown.length === 0 ? undefined : shown;
        if (visible === undefined) tally.absent(slot, fence);
        else tally.found(slot, headerOf(visible), part === 'record' ? visible : undefined, fence);
        proceed();
      };
      this.later(answer, () => {
        tally.lost(slot);
        proceed();
      });
    };
    const repair = (slot: number): void => {
      const record = tally.record as Uint8Array;
      const fence = tally.recordFence;
      this.later(
        () => {
          const decided = (this.replicas[slot] as ModelReplica).apply('copy', record, fence);
          if (decided === 'took') tally.took(slot);
          else tally.refused(slot);
          proceed();
        },
        () => {
          tally.refused(slot);
          proceed();
        },
      );
    };
    const proceed = (): void => {
      while (!isDone) {
        const step = tally.next();
        if (step.kind === 'wait') return;
        if (step.kind === 'ask') ask(step.slot, step.part);
        else if (step.kind === 'repair') repair(step.slot);
        else {
          isDone = true;
          if (step.kind === 'answer') this.#answered(tally.record, floor);
        }
      }
    };
    tally.start();
    for (const [i, slot] of order.slice(0, this.#majority).entries()) {
      ask(slot, i === 0 ? 'record' : 'header');
    }
  }

  /** The law: no answer is older than what was acknowledged or read before it began. */
  #answered(record: Uint8Array | undefined, floor: Uint8Array): void {
    this.done.reads += 1;
    if (record === undefined) {
      if (floor.length > 0) this.done.fencedAnswers += 1;
      if (!this.#isDeleted(floor)) {
        this.complaints.push(`absent was read, though ${nameOf(floor)} was there`);
      }
      return;
    }
    if (compareFences(versionIn(record), floor) < 0) {
      if (isTombstone(record) && this.#isDeleted(floor)) return;
      this.complaints.push(`${nameOf(versionIn(record))} was read after ${nameOf(floor)}`);
    }
    this.#raiseFloor(versionIn(record));
  }

  /** Whether the key has been deleted at or above this version. */
  #isDeleted(version: Uint8Array): boolean {
    return (
      version.length === 0 || this.#deletes.some((deleted) => compareFences(deleted, version) >= 0)
    );
  }

  #raiseFloor(version: Uint8Array): void {
    if (compareFences(version, this.#floor) > 0) this.#floor = version;
  }

  #vote(leader: ModelReplica): void {
    this.#votes += 1;
    const { life } = leader;
    const wallMs = this.#nowMs - 1 - this.#below(8);
    const fence = encodeVersion(versionAt(wallMs, 100 + this.#below(1_000_000)));
    const peers = this.replicas.map((replica) => this.#peerTo(replica));
    const vote = new FenceVote(PARTITION, fence, peers, { wallMs: () => 0, monotonicMs: () => 0 });
    const isAlive = (): boolean => leader.life === life;
    this.#lead(vote, leader, fence, isAlive)
      .catch(() => {})
      .finally(() => {
        this.#votes -= 1;
      });
  }

  async #lead(
    vote: FenceVote,
    leader: ModelReplica,
    fence: Uint8Array,
    isAlive: () => boolean,
  ): Promise<void> {
    for (let i = 0; i < 3 && isAlive(); i++) {
      await vote.promise();
      let isClean = true;
      for (const other of this.replicas) {
        if (other === leader || this.wrong.comparesNot === true || !isAlive()) continue;
        isClean = (await this.#compare(leader, other, fence)) && isClean;
      }
      if (!isClean) continue;
      if (!isAlive()) return;
      if (this.wrong.sealsAlone === true) await vote.seal().catch(() => {});
      else await vote.seal();
      if (!isAlive()) return;
      await vote.commit();
      this.done.commits += 1;
      return;
    }
  }

  /** As an exchange does, for one key: each side is looked at in its own time. */
  async #compare(own: ModelReplica, other: ModelReplica, fence: Uint8Array): Promise<boolean> {
    const theirs = await this.#soon(() => other.listed());
    const mine = await this.#soon(() => own.listed());
    for (const { winner, header, losing } of keyDifferences(mine, theirs).keys) {
      const [from, to] = winner === 'own' ? [own, other] : [other, own];
      const took = await this.#soon(() => {
        const { visible, committed } = from;
        return (
          visible === undefined || this.#soon(() => to.apply('copy', visible, committed) === 'took')
        );
      });
      if (!took || isAtOrBelow(losing ?? header, fence)) return false;
    }
    return true;
  }

  #peerTo(replica: ModelReplica): Peer {
    const { wrong } = this;
    const ask = (kind: keyof AskHandlers, request: { mark?: number }): Promise<object> =>
      this.#soon(async () => {
        const { life, fences } = replica;
        const asked = { ...request };
        if (wrong.ignoresMarks === true && kind === 'seal-fence')
          asked.mark = replica.table.mark(PARTITION);
        if (wrong.sealsAlone === true && kind === 'release-fence') return { kind: 'reply' };
        const handlers: Partial<Record<keyof AskHandlers, (asked: never) => Promise<object>>> = {
          'promise-fence': (it) => fences.promise(it),
          'seal-fence': (it) => fences.seal(it),
          'commit-fence': (it) => fences.commit(it),
          'release-fence': (it) => fences.release(it),
        };
        const answer = (await handlers[kind]?.(asked as never)) as object;
        return replica.life === life ? this.#soon(() => answer).catch(() => LOST) : LOST;
      }).catch(() => LOST);
    return { nodeId: replica.nodeId, connected: true, ask } as unknown as Peer;
  }

  #soon<T>(happen: () => T | Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.later(
        () => resolve(happen()),
        () => reject(new Error('lost')),
      );
    });
  }

  #any<T>(items: readonly T[]): T {
    return items[this.#below(items.length)] as T;
  }

  #below(bound: number): number {
    return Math.floor(this.#random.fraction() * bound);
  }
}

function versionAt(wallMs: number, writer: number): Version {
  return { wallMs, logical: 0, writerHi: 0, writerLo: writer };
}

function recordAt(atMs: number, tombstone: boolean): Uint8Array {
  return encodeRecord(KEY, { version: versionAt(atMs, 1), tombstone, value: Buffer.from('v') });
}

function versionIn(record: Uint8Array): Uint8Array {
  return record.subarray(VERSION_AT, VERSION_AT + VERSION_BYTES);
}

function nameOf(version: Uint8Array): string {
  return version.length === 0 ? 'nothing' : `@${Buffer.from(version).readUIntBE(0, 6)}`;
}

/** All that can go on without another thing happening has gone on. */
async function settled(): Promise<void> {
  for (let i = 0; i < 25; i++) await Promise.resolve();
}
