import { compareFences, decidedFate, isUndecided } from '../core/fence.js';
import { KvError } from '../core/errors.js';
import type { Clock } from '../io/clock.js';
import { isReplicaFailure, type Peer } from '../io/peer.js';
import type { AskKind, AskReply, AskRequest, FencePromise } from '../io/peer-asks.js';

const ASK_TIMEOUT_MS = 5_000;

/**
 * Brings one fence of one partition through its steps (core/fence.ts) at all of its replicas. Each step is taken by all or the
 * vote is over; a method that rejects, with a KvError that says why, is the last to be called. What happens between the promise
 * and the seal, a comparison that finds nothing below the fence, is the caller's.
 */
export class FenceVote {
  readonly partition: number;
  readonly replicas: readonly Peer[];
  readonly #fence: Uint8Array;
  readonly #clock: Clock;
  /** What each replica promised with. */
  #marks: readonly number[] = [];

  /** `fence` has never been used before: a message of an earlier vote that comes late must not count for this one. */
  constructor(partition: number, fence: Uint8Array, replicas: readonly Peer[], clock: Clock) {
    this.partition = partition;
    this.replicas = replicas;
    this.#fence = fence;
    this.#clock = clock;
  }

  /**
   * Has all promise the fence, and settles what became of one that an earlier vote left undecided. Called again before every
   * further comparison: what is sealed later is what is compared after this.
   */
  async promise(): Promise<void> {
    const { partition } = this;
    const fence = this.#fence;
    const promises = await this.#all(() => ['promise-fence', { partition, fence }]);
    if (promises.some(({ promised }) => compareFences(promised, fence) > 0)) {
      throw new KvError('REFUSED', 'a later fence has been promised to another node');
    }
    this.#marks = promises.map(({ mark }) => mark);
    await this.#settleEarlier(promises);
  }

  /** Has all seal the fence. When one does not, it never will be committed, and the others are told so. */
  async seal(): Promise<void> {
    const { partition } = this;
    const fence = this.#fence;
    try {
      await this.#all((place) => [
        'seal-fence',
        { partition, fence, mark: this.#marks[place] as number },
      ]);
    } catch (error) {
      // Who does not hear it hears it from the next vote.
      await this.#all(() => ['release-fence', { partition, fence, promised: fence }]).catch(
        () => {},
      );
      throw error;
    }
  }

  /** After all have sealed it. Who does not hear it hears it from the next vote, and holds the same meanwhile. */
  async commit(): Promise<void> {
    const { partition } = this;
    const fence = this.#fence;
    await this.#all(() => ['commit-fence', { partition, fence, promised: fence }]);
  }

  async #settleEarlier(promises: readonly FencePromise[]): Promise<void> {
    const committed = promises.map((one) => one.committed);
    const { partition } = this;
    await Promise.all(
      promises.map(async (one, place) => {
        if (!isUndecided(one)) return;
        const request = { partition, fence: one.sealed, promised: this.#fence };
        const fate = decidedFate(one.sealed, committed);
        await this.#ask(place, fate === 'commit' ? 'commit-fence' : 'release-fence', request);
      }),
    );
  }

  /** Asks every replica, and waits for all of them even when one has failed. */
  async #all<K extends AskKind>(
    ask: (place: number) => [kind: K, request: AskRequest<K>],
  ): Promise<AskReply<K>[]> {
    const answers = await Promise.allSettled(
      this.replicas.map((_, place) => this.#ask(place, ...ask(place))),
    );
    return answers.map((answer) => {
      if (answer.status === 'rejected') throw answer.reason;
      return answer.value;
    });
  }

  async #ask<K extends AskKind>(
    place: number,
    kind: K,
    request: AskRequest<K>,
  ): Promise<AskReply<K>> {
    const replica = this.replicas[place] as Peer;
    const deadlineMs = this.#clock.monotonicMs() + ASK_TIMEOUT_MS;
    const answer = await replica.ask(kind, request, deadlineMs);
    if (isReplicaFailure(answer)) {
      throw new KvError(answer.code, `${replica.nodeId}: ${answer.message}`, {
        node: replica.nodeId,
      });
    }
    return answer;
  }
}
