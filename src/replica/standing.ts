import {
  compareIncarnations,
  incarnationAfter,
  INCARNATION_CHANCE_BYTES,
} from '../core/incarnation.js';
import type { Clock } from '../io/clock.js';
import type { Log } from '../io/log.js';
import type { ReplicaFailure } from '../io/peer.js';
import type { Progress, ReplicaState } from '../io/peer-asks.js';
import type { Random } from '../io/random.js';
import { sealStanding, SERVING, type StoredStanding } from './data-folder.js';
import { refused } from './failure.js';
import type { GroupCommit } from './group-commit.js';
import { INCARNATION_KEY, PEERS_KEY, seal, STANDING_KEY } from './meta.js';
import { isAhead, type PeerMemory } from './peer-memory.js';
import { lacksCommit, type Start } from './starts.js';

export interface StandingOptions {
  readonly nodeId: string;
  readonly stored: StoredStanding;
  readonly incarnation: Uint8Array;
  /** Of the node on its folder. */
  readonly starts: readonly Start[];
  /** A person says that the folder is all there is: it serves at once. */
  readonly trusted: boolean;
  readonly memory: PeerMemory;
  readonly commit: GroupCommit;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/**
 * Whether the replica may serve: take writes, and answer for what it holds.
 *
 * ```
 *   empty folder ──→ waiting ──→ serving       nobody remembers it, and M - 1 others have recorded its life
 *                       │  └───→ refilling     somebody remembers it
 *   whole folder ──→ waiting ──→ serving       its peers have been met, or enough time was given to it
 *                       │           │
 *                       └──→ refilling ──→ serving     N - M + 1 others have given it what they hold
 *   damaged log  ──────────→ refilling
 * ```
 *
 * It turns to `refilling` at once, and on disk as soon as can be; it turns to `serving` only once that is on disk.
 * maintenance/admission.ts brings it on.
 */
export class Standing {
  /** Called after every change. */
  onChange: () => void = () => {};
  readonly #options: StandingOptions;
  #state: ReplicaState;
  #reason: string;
  #incarnation: Uint8Array;
  #refusal: ReplicaFailure | undefined;
  /** What is on disk, or on its way there. */
  #stored: StoredStanding;

  constructor(options: StandingOptions) {
    const { stored, nodeId, memory, incarnation } = options;
    this.#options = options;
    this.#stored = stored;
    this.#incarnation = incarnation;
    memory.learn(nodeId, incarnation, 0);
    this.#state = stored.state;
    this.#reason = stored.reason;
    if (options.trusted) return;
    if (stored.state === 'serving') this.#state = 'waiting';
    this.#explain(stored.reason || 'it has just started');
  }

  get state(): ReplicaState {
    return this.#state;
  }

  /** For people: why it does not serve, and what would help; empty while it does. */
  get reason(): string {
    return this.#reason;
  }

  /** What callers are told while it does not serve; undefined while it does. */
  get refusal(): ReplicaFailure | undefined {
    return this.#refusal;
  }

  /** Whether the folder was empty, and nothing is known yet of what it held before, if it did. */
  get isNew(): boolean {
    return this.#stored.state === 'waiting';
  }

  /** What happened to the folder, for people. */
  get cause(): string {
    return this.#stored.reason;
  }

  get incarnation(): Uint8Array {
    return this.#incarnation;
  }

  get progress(): Progress {
    const { commitCounter } = this.#options.commit;
    return { incarnation: this.#incarnation, commitCounter };
  }

  /** Says more precisely why it does not serve. */
  explain(reason: string): void {
    if (this.#state !== 'serving') this.#explain(reason);
  }

  /** `from` remembers this of the own node; undefined: nothing. It may turn out that the node has forgotten. */
  heard(from: string, remembered: Progress | undefined): void {
    if (remembered === undefined) return;
    const own = this.progress;
    const order = compareIncarnations(remembered.incarnation, own.incarnation);
    if (this.#state === 'refilling') {
      if (order > 0) this.#forget(this.cause, remembered.incarnation);
    } else if (isAhead(remembered, own) || (order === 0 && this.#lacks(remembered))) {
      const lost =
        order > 0
          ? 'in a later life than its folder is'
          : `at commit ${remembered.commitCounter}, which its folder does not have`;
      this.#forget(`${from} remembers it ${lost}`, remembered.incarnation);
    } else if (this.isNew && order !== 0) {
      this.#forget(`its data folder was empty, and ${from} remembers it`, own.incarnation);
    }
  }

  /** What is to be on disk is there. Rejects with a KvError when that cannot be. */
  async settle(): Promise<void> {
    const stored = this.#stored;
    const incarnation = this.#incarnation;
    await this.#options.commit.change((batch) => {
      batch
        .put(STANDING_KEY, sealStanding(stored))
        .put(INCARNATION_KEY, seal(INCARNATION_KEY, incarnation));
    });
  }

  /**
   * The replica serves from now on, unless it has been found to have forgotten before that was on disk. With it goes what it
   * has learnt of others, which it vouches for from now on. Rejects with a KvError when the disk fails.
   */
  async serve(): Promise<void> {
    const { commit, memory } = this.#options;
    const incarnation = this.#incarnation;
    if (this.#stored.state !== 'serving') {
      const peers = seal(PEERS_KEY, memory.encode());
      try {
        await commit.change((batch) => {
          batch.put(STANDING_KEY, sealStanding(SERVING)).put(PEERS_KEY, peers);
        });
      } catch (error) {
        memory.lost();
        throw error;
      }
    }
    if (this.#incarnation !== incarnation) return;
    this.#stored = SERVING;
    this.#state = 'serving';
    this.#reason = '';
    this.#refusal = undefined;
    this.#options.log.info({}, 'the replica serves');
    this.onChange();
  }

  #lacks({ commitCounter }: Progress): boolean {
    return lacksCommit(this.#options.starts, commitCounter);
  }

  #forget(cause: string, above: Uint8Array): void {
    const { clock, random, log, memory, nodeId } = this.#options;
    const own = this.#incarnation;
    const earlier = compareIncarnations(above, own) > 0 ? above : own;
    const chance = random.bytes(INCARNATION_CHANCE_BYTES);
    this.#incarnation = incarnationAfter(earlier, clock.wallMs(), chance);
    memory.learn(nodeId, this.#incarnation, 0);
    this.#state = 'refilling';
    this.#stored = { state: 'refilling', reason: cause };
    this.#explain(cause);
    log.warn(
      {},
      `the replica has forgotten: ${cause}; it serves nothing until it has been refilled`,
    );
    // Whoever refills it waits until this is on disk.
    this.settle().catch(() => {});
    this.onChange();
  }

  #explain(reason: string): void {
    this.#reason = reason;
    const does = this.#state === 'refilling' ? 'is being refilled' : 'waits';
    this.#refusal = refused('UNAVAILABLE', `the replica ${does}: ${reason}`);
  }
}
