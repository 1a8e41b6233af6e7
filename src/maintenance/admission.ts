import { KvError } from '../core/errors.js';
import {
  recordersNeeded,
  refills,
  witnessesNeeded,
  type ReplicaGroup,
} from '../core/replica-groups.js';
import type { PartitionSet } from '../core/partition-set.js';
import type { Tempo } from '../core/tempo.js';
import type { Clock } from '../io/clock.js';
import type { Log } from '../io/log.js';
import { isReplicaFailure, type Peer } from '../io/peer.js';
import type { IntroductionReply, ReplicaState } from '../io/peer-asks.js';
import type { Timers } from '../io/timers.js';
import type { LocalReplica } from '../replica/local-replica.js';
import type { Refill } from './refill.js';
import { Signal } from './signal.js';

const ASK_TIMEOUT_MS = 5_000;
/** Nothing is waited for longer than this without a look around. */
const LOOK_MS = 1_000;
/** A node that meets nobody waits this long before it takes its folder for the latest there is. */
const ALONE_MS = 30_000;
/** After an attempt that failed. */
const PAUSE_MS = 200;

/** Another member, as far as this node's standing depends on it. */
export interface AdmittingPeer extends Peer {
  /** Whether it can be asked who it is, whatever state it is in; `connected` says that it serves, too. */
  readonly reachable: boolean;
}

export interface AdmissionOptions {
  readonly replica: LocalReplica;
  /** With whom the node shares what. */
  readonly groups: readonly ReplicaGroup[];
  readonly peerOf: (nodeId: string) => AdmittingPeer;
  /**
   * With every round of gossip what has been heard of others is put on disk; and a whole folder waits this long for peers that
   * it does not meet.
   */
  readonly tempo: Pick<Tempo, 'gossipMs'>;
  readonly sharedWith: (nodeId: string) => PartitionSet;
  readonly newRefill: (signal: AbortSignal) => Pick<Refill, 'from' | 'finish'>;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Log;
}

/** Brings the node's replica to serve, at its start and whenever it finds that it has forgotten. */
export interface Admission {
  /** A peer has answered an introduction. */
  met(nodeId: string, reply: IntroductionReply): void;
  /** The replica's standing has changed. */
  changed(): void;
  /** Resolves when nothing here uses the replica any more. */
  stop(): Promise<void>;
}

/**
 * Starts at once. What it waits for is in core/replica-groups.ts, with the argument why that is enough; what it is waiting
 * for now is said in the replica's standing, for people.
 */
export function startAdmission(options: AdmissionOptions): Admission {
  const admission = new ReplicaAdmission(options);
  const ended = admission.run().catch((error: unknown) => {
    options.log.error({ err: error }, 'the replica cannot be brought to serve');
  });
  return {
    met: (nodeId, reply) => admission.met(nodeId, reply),
    changed: () => admission.changed(),
    async stop() {
      admission.stop();
      await ended;
    },
  };
}

class ReplicaAdmission {
  readonly #options: AdmissionOptions;
  readonly #others: readonly string[];
  /** What each of them said of itself last. */
  readonly #met = new Map<string, ReplicaState>();
  readonly #signal: Signal;
  readonly #abort = new AbortController();
  readonly #stopRemembering: () => void;

  constructor(options: AdmissionOptions) {
    const { timers, groups, tempo } = options;
    this.#options = options;
    this.#others = [...new Set(groups.flatMap(({ others }) => others))];
    this.#signal = new Signal(timers);
    this.#stopRemembering = timers.every(tempo.gossipMs, () => void this.#remember());
  }

  met(nodeId: string, reply: IntroductionReply): void {
    this.#met.set(nodeId, reply.state);
    this.#options.replica.standing.heard(nodeId, reply.remembers);
    this.#signal.raise();
  }

  changed(): void {
    this.#signal.raise();
  }

  stop(): void {
    this.#stopRemembering();
    this.#abort.abort();
    this.#signal.raise();
  }

  async run(): Promise<void> {
    const { standing } = this.#options.replica;
    while (!this.#stopped) {
      if (standing.state === 'serving') await this.#signal.wait(LOOK_MS);
      else if (standing.state === 'refilling') await this.#refill();
      else if (standing.isNew) await this.#join();
      else await this.#greet();
    }
  }

  get #stopped(): boolean {
    return this.#abort.signal.aborted;
  }

  /**
   * A whole folder, which may be an old one that was put back. Any peer that it has talked to since knows that, so it waits for
   * one of each group; for the others only a moment, as they may be down. A node that is all alone serves in the end: it is the
   * only one who can.
   */
  async #greet(): Promise<void> {
    const { clock, groups, tempo, replica } = this.#options;
    const { standing } = replica;
    const startedMs = clock.monotonicMs();
    for (;;) {
      if (this.#stopped || standing.state !== 'waiting') return;
      const met = new Set(this.#met.keys());
      const unmet = this.#others.filter((id) => !met.has(id));
      const isVouchedFor = groups.every(
        ({ others }) => others.length === 0 || countIn(others, met) > 0,
      );
      const limitMs = isVouchedFor ? tempo.gossipMs : ALONE_MS;
      const leftMs = startedMs + limitMs - clock.monotonicMs();
      if (unmet.length === 0 || leftMs <= 0) return this.#serve();
      standing.explain(`it has just started, and greets ${unmet.join(', ')} first`);
      await this.#signal.wait(leftMs);
    }
  }

  /** An empty folder: it is new if enough of the others say that they do not remember it. */
  async #join(): Promise<void> {
    const { groups, replica } = this.#options;
    const { standing } = replica;
    const recorded = new Set<string>();
    while (!this.#stopped && standing.state === 'waiting') {
      // Who has forgotten itself does not count, unless it remembers this node nevertheless.
      const witnesses = new Set(this.#others.filter((id) => isSound(this.#met.get(id))));
      const silent = groups.filter(
        (group) => countIn(group.others, witnesses) < witnessesNeeded(group),
      );
      if (silent.length > 0) {
        const missing = namesOf(silent, witnesses);
        standing.explain(
          `its data folder is empty, and it cannot tell whether it is new or has forgotten before ${missing} can be asked; ` +
            'where that cannot be, --trust-folder says that the folder is all there is',
        );
        await this.#signal.wait(LOOK_MS);
        continue;
      }
      await this.#haveRecorded(recorded);
      if (groups.every((group) => countIn(group.others, recorded) >= recordersNeeded(group))) {
        await this.#serve();
        continue;
      }
      standing.explain(`it is new, and waits for ${namesOf(groups, recorded)} to take note of it`);
      await this.#signal.wait(PAUSE_MS);
    }
  }

  async #haveRecorded(recorded: Set<string>): Promise<void> {
    const { peerOf } = this.#options;
    const asked = this.#others.filter((id) => !recorded.has(id) && peerOf(id).reachable);
    await Promise.all(
      asked.map(async (id) => {
        if (await this.#recordAt(peerOf(id))) recorded.add(id);
      }),
    );
  }

  /** Whether the peer has on disk which life the own node is in. */
  async #recordAt(peer: Peer): Promise<boolean> {
    const { clock, replica } = this.#options;
    const { incarnation } = replica.standing;
    const deadlineMs = clock.monotonicMs() + ASK_TIMEOUT_MS;
    const request = { nodeId: replica.nodeId, incarnation };
    return !isReplicaFailure(await peer.ask('record-life', request, deadlineMs));
  }

  /** It has forgotten. One source after another gives it what it holds, until no answer can be missing. */
  async #refill(): Promise<void> {
    const { groups, peerOf, replica, log } = this.#options;
    const { standing } = replica;
    const { incarnation } = standing;
    const isCurrent = (): boolean =>
      !this.#stopped && standing.state === 'refilling' && standing.incarnation === incarnation;
    if (!(await this.#settled())) return;
    const refill = this.#options.newRefill(this.#abort.signal);
    const sources = new Set<string>();
    while (isCurrent()) {
      const lacking = groups.filter((group) => !refills(group, sources));
      if (lacking.length === 0) {
        const problem = await refill.finish();
        if (problem === undefined) return isCurrent() ? this.#serve() : undefined;
        standing.explain(`${standing.cause}; ${problem}, and it tries again`);
        await this.#signal.wait(PAUSE_MS);
        continue;
      }
      const candidates = [...new Set(lacking.flatMap(({ others }) => others))];
      const next = candidates.find((id) => !sources.has(id) && peerOf(id).connected);
      if (next === undefined) {
        standing.explain(`${standing.cause}; ${this.#obstacle(lacking, sources)}`);
        await this.#signal.wait(LOOK_MS);
        continue;
      }
      const problem = (await this.#recordAt(peerOf(next)))
        ? await this.#pull(refill, next)
        : `${next} did not take note of the new life`;
      if (!isCurrent()) return;
      if (problem === undefined) {
        sources.add(next);
        log.info({ source: next }, `refilled from ${next}`);
      } else {
        standing.explain(`${standing.cause}; ${problem}, and it tries again`);
        await this.#signal.wait(PAUSE_MS);
      }
    }
  }

  #pull(refill: Pick<Refill, 'from' | 'finish'>, source: string): Promise<string | undefined> {
    const { peerOf, sharedWith, replica } = this.#options;
    replica.standing.explain(`${replica.standing.cause}; it is being refilled from ${source}`);
    return refill.from(peerOf(source), sharedWith(source));
  }

  /** Why no source can be had, and what a person can do about it. */
  #obstacle(lacking: readonly ReplicaGroup[], sources: ReadonlySet<string>): string {
    const missing = [...new Set(lacking.flatMap(({ others }) => others))].filter(
      (id) => !sources.has(id),
    );
    const forgot = missing.filter((id) => this.#met.get(id) === 'refilling');
    const waits = `to be refilled it needs ${missing.join(', ')}`;
    if (forgot.length === 0) return waits;
    return (
      `${waits}, and ${forgot.join(', ')} ${forgot.length === 1 ? 'has' : 'have'} forgotten too: ` +
      'two replicas of a key have lost what they held, and only a person can say which folder is all there is ' +
      '(start that node with --trust-folder)'
    );
  }

  async #serve(): Promise<void> {
    try {
      await this.#options.replica.standing.serve();
    } catch (error) {
      await this.#failed(error);
    }
  }

  /** Whether the new life is on disk: nobody is to record one that a crash would undo. */
  async #settled(): Promise<boolean> {
    try {
      await this.#options.replica.standing.settle();
      return true;
    } catch (error) {
      await this.#failed(error);
      return false;
    }
  }

  async #failed(error: unknown): Promise<void> {
    if (!(error instanceof KvError)) throw error;
    if (!this.#stopped) await this.#signal.wait(PAUSE_MS);
  }

  /**
   * Remembering is a commit, of which the others hear, and remember it: so every node commits at least this often, and a
   * folder that was copied a little earlier is known as the older one, even where nobody writes.
   */
  async #remember(): Promise<void> {
    const { memory, introductions, problem } = this.#options.replica;
    if (!memory.dirty || problem !== undefined) return;
    try {
      await introductions.persist();
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
    }
  }
}

function isSound(state: ReplicaState | undefined): boolean {
  return state === 'serving' || state === 'waiting';
}

function countIn(ids: readonly string[], set: ReadonlySet<string>): number {
  return ids.filter((id) => set.has(id)).length;
}

/** Those of the groups' other replicas that are not in `without`. */
function namesOf(groups: readonly ReplicaGroup[], without: ReadonlySet<string>): string {
  const names = new Set(groups.flatMap(({ others }) => others).filter((id) => !without.has(id)));
  return [...names].sort().join(', ');
}
