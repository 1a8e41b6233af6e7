import {
  isUndecided,
  readFences,
  compareFences,
  FENCE_STATE_BYTES,
  type FenceState,
} from '../core/fence.js';
import { KvError } from '../core/errors.js';
import { addPartition, emptyPartitionSet } from '../core/partition-set.js';
import type { Placement } from '../core/placement.js';
import type { Tempo } from '../core/tempo.js';
import { encodeVersion } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { Log } from '../io/log.js';
import { isReplicaFailure, type Peer } from '../io/peer.js';
import type { Random } from '../io/random.js';
import { sleep, type CancelTimer, type Timers } from '../io/timers.js';
import type { LocalReplica } from '../replica/local-replica.js';
import type { ExchangeTurns } from './exchange-turns.js';
import type { ExchangeResult } from './exchange.js';
import { FenceVote } from './fence-vote.js';

/** Partitions whose votes are under way at once. */
const VOTES_AT_ONCE = 16;
/** How often a partition is compared before it is left for the next round. */
const COMPARISONS = 3;
const COMPARISON_MS = 30_000;
/** A replica that compares with another is asked again after up to this part of the interval. */
const BUSY_PART = 0.05;
const BUSY_TRIES = 20;
const ASK_TIMEOUT_MS = 5_000;
/** After so many rounds in which the first replica moved nothing, the second one tries, and so on. */
const PATIENCE_ROUNDS = 10;
/** Rounds of different nodes part by this part of the interval. */
const JITTER = 0.1;

export interface FenceRoundsOptions {
  readonly replica: LocalReplica;
  readonly turns: ExchangeTurns;
  /** The way to a member; for the node itself, its own replica. */
  readonly peerOf: (nodeId: string) => Peer | undefined;
  readonly placement: () => Placement;
  readonly tempo: Tempo;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly log: Log;
  /** Whether the node has work in the foreground. */
  readonly busy: () => boolean;
  /** A node whose clock is wrong moves no fence by it. */
  readonly quarantined: () => boolean;
  /** False while this node neither asks nor answers. Default: always true. */
  readonly serving?: () => boolean;
}

/** What a round did, for people. */
export interface FenceRoundReport {
  /** Partitions that had something to drop or to settle. */
  readonly voted: number;
  /** Of those, partitions whose fence has moved at every replica. */
  readonly moved: number;
  /** Why it has not at the others: the reasons, without repetition. */
  readonly obstacles: readonly string[];
}

export interface FenceRounds {
  /** A round now, or the one under way. */
  run(): Promise<FenceRoundReport>;
  /** The last round that has ended. */
  readonly last: FenceRoundReport;
  stop(): void;
}

const NOTHING: FenceRoundReport = { voted: 0, moved: 0, obstacles: [] };

/**
 * Moves the fences of the partitions of which this node is the first replica, now and then: where something could be dropped, or
 * where replicas have not all heard what became of a fence. Where the first one does not for long, as while its clock is wrong,
 * the next one does: two at once do no harm, for the later promise ends the earlier vote. A fence stays behind the clock by `fenceLagMs`, and does not move
 * while a replica is away: deletes are kept until all have them.
 */
export function startFenceRounds(options: FenceRoundsOptions): FenceRounds {
  const { replica, clock, timers, random, tempo, log } = options;
  let last = NOTHING;
  let underWay: Promise<FenceRoundReport> | undefined;
  let stopped = false;
  let cancel: CancelTimer | undefined;
  let lastFenceMs = 0;

  /** Undefined: the clock has not come far enough for one that was not used before. */
  const nextFence = (): Uint8Array | undefined => {
    const wallMs = clock.wallMs() - tempo.fenceLagMs;
    if (wallMs <= lastFenceMs) return undefined;
    lastFenceMs = wallMs;
    const writer = Buffer.from(replica.writer, 'hex');
    const writerHi = writer.readUInt32BE(0);
    return encodeVersion({ wallMs, logical: 0, writerHi, writerLo: writer.readUInt32BE(4) });
  };

  const round = async (): Promise<FenceRoundReport> => {
    if (options.serving?.() === false || options.quarantined() || !replica.trees.ready) {
      return NOTHING;
    }
    await replica.fences.dropHidden();
    const fence = nextFence();
    if (fence === undefined) return NOTHING;
    const fenced = new FenceRound(options, fence, () => stopped);
    return fenced.run();
  };

  /** Once for each reason: while a replica differs or is damaged, deletes keep their room on all disks. */
  const tellWhyNone = (report: FenceRoundReport): void => {
    const isNew = report.obstacles.some((obstacle) => !last.obstacles.includes(obstacle));
    const message = 'no fence could be moved: what is deleted is not taken off the disks yet';
    if (isNew) log.info({ ...report }, message);
    else log.debug({ ...report }, message);
  };

  const run = (): Promise<FenceRoundReport> => {
    underWay ??= round()
      .then((report) => {
        if (report.moved > 0) log.info({ ...report }, `fences of ${report.moved} partitions moved`);
        else if (report.voted > 0) tellWhyNone(report);
        last = report;
        return report;
      })
      .finally(() => {
        underWay = undefined;
      });
    return underWay;
  };

  const arm = (): void => {
    if (stopped) return;
    const delayMs = tempo.fenceEveryMs * (1 + JITTER * (2 * random.fraction() - 1));
    cancel = timers.after(delayMs, () => {
      run()
        .catch((error: unknown) => log.error({ err: error }, 'a round of fences failed'))
        .finally(arm);
    });
  };
  arm();

  return {
    run,
    get last() {
      return last;
    },
    stop() {
      stopped = true;
      cancel?.();
    },
  };
}

class FenceRound {
  readonly #options: FenceRoundsOptions;
  readonly #fence: Uint8Array;
  readonly #isStopped: () => boolean;
  readonly #obstacles = new Set<string>();
  #moved = 0;

  constructor(options: FenceRoundsOptions, fence: Uint8Array, isStopped: () => boolean) {
    this.#options = options;
    this.#fence = fence;
    this.#isStopped = isStopped;
  }

  async run(): Promise<FenceRoundReport> {
    const votes = await this.#votes();
    let open: readonly FenceVote[] = votes;
    for (let i = 0; i < COMPARISONS && open.length > 0 && !this.#isStopped(); i++) {
      const promised = await this.#each(open, (vote) => vote.promise());
      const { clean, differing } = await this.#compare(promised);
      await this.#each(clean, async (vote) => {
        await vote.seal();
        await vote.commit();
        this.#moved += 1;
      });
      open = differing;
    }
    if (open.length > 0 && !this.#isStopped()) {
      this.#obstacles.add('replicas differ below the fence');
    }
    return { voted: votes.length, moved: this.#moved, obstacles: [...this.#obstacles] };
  }

  /** Of the partitions that this node is to care for, and whose replicas can all be reached, those that need a fence. */
  async #votes(): Promise<readonly FenceVote[]> {
    const { replica, peerOf, placement, clock } = this.#options;
    const { members, preference } = placement();
    const votes: FenceVote[] = [];
    for (const [partition, places] of preference.entries()) {
      const ids = places.map((place) => members[place]?.id ?? '');
      const turn = ids.indexOf(replica.nodeId);
      if (turn < 0 || (turn > 0 && !this.#isOverdue(partition, turn))) continue;
      const replicas = ids.map(peerOf).filter((peer) => peer?.connected === true) as Peer[];
      if (replicas.length === ids.length) {
        votes.push(new FenceVote(partition, this.#fence, replicas, clock));
      }
    }
    const unsettled = await this.#unsettled(votes);
    return votes.filter(
      ({ partition }) => unsettled.has(partition) || this.#isOverdue(partition, 0),
    );
  }

  /** Something could have been dropped for some rounds that those before this node, by `turn` in the list, have not dropped. */
  #isOverdue(partition: number, turn: number): boolean {
    const { replica, clock, tempo } = this.#options;
    const patienceMs = turn * PATIENCE_ROUNDS * tempo.fenceEveryMs;
    const untilMs = clock.wallMs() - tempo.fenceLagMs - patienceMs;
    return replica.trees.counts(partition).droppableFromMs <= untilMs;
  }

  /** Where replicas have committed different fences, or one waits to hear what became of one. */
  async #unsettled(votes: readonly FenceVote[]): Promise<ReadonlySet<number>> {
    const { replica } = this.#options;
    const unsettled = new Set<number>();
    for (const [peer, partitions] of byPeer(votes, replica)) {
      const states = await this.#fencesOf(peer, partitions);
      for (const [i, state] of states.entries()) {
        const partition = partitions[i] as number;
        const own = replica.fences.of(partition);
        const isSame = compareFences(own.committed, state.committed) === 0;
        if (!isSame || isUndecided(own) || isUndecided(state)) unsettled.add(partition);
      }
    }
    return unsettled;
  }

  async #fencesOf(peer: Peer, partitions: readonly number[]): Promise<readonly FenceState[]> {
    const deadlineMs = this.#options.clock.monotonicMs() + ASK_TIMEOUT_MS;
    const reply = await peer.ask('fences', { partitions: setOf(partitions) }, deadlineMs);
    if (isReplicaFailure(reply)) {
      this.#obstacles.add(`${peer.nodeId}: ${reply.message}`);
      return [];
    }
    return partitions.map((_, i) => readFences(reply.fences, i * FENCE_STATE_BYTES));
  }

  /**
   * Compares this node with every other replica, after all of them have promised, and mends. `clean`: nothing at or below the
   * fence differed, and what did above it does no more.
   */
  async #compare(
    votes: readonly FenceVote[],
  ): Promise<{ readonly clean: FenceVote[]; readonly differing: FenceVote[] }> {
    const failed = new Set<number>();
    const dirty = new Set<number>();
    for (const [peer, partitions] of byPeer(votes, this.#options.replica)) {
      const rest = partitions.filter((partition) => !failed.has(partition));
      if (rest.length === 0) continue;
      const result = await this.#exchange(peer, rest);
      for (const found of result.differences) {
        if (found.belowFence + found.fenced + found.corrupt > 0) dirty.add(found.partition);
      }
      if (result.reason !== '') this.#obstacles.add(result.reason);
      if (result.end === 'complete') continue;
      for (const partition of rest) failed.add(partition);
    }
    const compared = votes.filter(({ partition }) => !failed.has(partition));
    return {
      clean: compared.filter(({ partition }) => !dirty.has(partition)),
      differing: compared.filter(({ partition }) => dirty.has(partition)),
    };
  }

  async #exchange(peer: Peer, partitions: readonly number[]): Promise<ExchangeResult> {
    const { turns, clock, timers, random, tempo, busy } = this.#options;
    for (let tries = 1; ; tries++) {
      const result = await turns.exchange(peer, setOf(partitions), {
        deadlineMs: clock.monotonicMs() + COMPARISON_MS,
        fenceOf: () => this.#fence,
        busy,
      });
      if (result.end !== 'busy' || tries === BUSY_TRIES || this.#isStopped()) return result;
      await sleep(timers, tempo.antiEntropyMs * BUSY_PART * (1 + random.fraction()));
    }
  }

  /** Takes a step of each vote, several at once. Gives those that came through. */
  async #each(
    votes: readonly FenceVote[],
    step: (vote: FenceVote) => Promise<void>,
  ): Promise<FenceVote[]> {
    const through: FenceVote[] = [];
    let next = 0;
    const work = async (): Promise<void> => {
      while (next < votes.length) {
        const vote = votes[next++] as FenceVote;
        try {
          await step(vote);
          through.push(vote);
        } catch (error) {
          if (!(error instanceof KvError)) throw error;
          this.#obstacles.add(error.message);
        }
      }
    };
    await Promise.all(Array.from({ length: VOTES_AT_ONCE }, work));
    return through;
  }
}

/** The partitions of the votes in which each node other than this one takes part, in order. */
function byPeer(votes: readonly FenceVote[], self: Peer): ReadonlyMap<Peer, number[]> {
  const partitions = new Map<Peer, number[]>();
  for (const { partition, replicas } of votes) {
    for (const peer of replicas) {
      if (peer === self) continue;
      const list = partitions.get(peer);
      if (list === undefined) partitions.set(peer, [partition]);
      else list.push(partition);
    }
  }
  for (const list of partitions.values()) list.sort((a, b) => a - b);
  return partitions;
}

function setOf(partitions: readonly number[]): Uint8Array {
  const set = emptyPartitionSet();
  for (const partition of partitions) addPartition(set, partition);
  return set;
}
