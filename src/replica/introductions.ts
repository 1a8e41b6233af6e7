import { compareIncarnations } from '../core/incarnation.js';
import { KvError } from '../core/errors.js';
import { DONE, type AskReply, type AskRequest } from '../io/peer-asks.js';
import type { Lives, ReplicaFailure } from '../io/peer.js';
import type { AnsweringReplica } from './ask-handlers.js';
import { refused } from './failure.js';
import type { GroupCommit } from './group-commit.js';
import { PEERS_KEY, seal } from './meta.js';
import type { PeerMemory } from './peer-memory.js';
import type { Standing } from './standing.js';

/** What nodes tell each other of who they are, and what they remember of each other. */
export class Introductions {
  readonly #standing: Standing;
  readonly #memory: PeerMemory;
  readonly #commit: GroupCommit;
  #lives: Lives | undefined;

  constructor(standing: Standing, memory: PeerMemory, commit: GroupCommit) {
    this.#standing = standing;
    this.#memory = memory;
    this.#commit = commit;
  }

  /** Has the replica answer with this what is asked of lives. */
  answerOn(replica: AnsweringReplica): void {
    replica.answer('introduce', async (request) => this.introduce(request));
    replica.answer('record-life', (request) => this.recordLife(request));
  }

  /** What every answer names: one object until something of it changes. */
  get lives(): Lives {
    const { incarnation } = this.#standing;
    const { known } = this.#memory;
    if (this.#lives?.incarnation !== incarnation || this.#lives.known !== known) {
      this.#lives = { incarnation, known };
    }
    return this.#lives;
  }

  /** What this node says of itself to `nodeId`. */
  introduction(nodeId: string, selfId: string): AskRequest<'introduce'> {
    const remembers = this.#memory.of(nodeId);
    return {
      nodeId: selfId,
      ...this.#standing.progress,
      ...(remembers === undefined ? {} : { remembers }),
    };
  }

  introduce(request: AskRequest<'introduce'>): AskReply<'introduce'> {
    // It does not say whether it serves, so nothing of it is remembered for this: only who serves has anything to lose.
    this.#standing.heard(request.nodeId, request.remembers);
    const remembers = this.#memory.of(request.nodeId);
    return {
      kind: 'reply',
      ...this.#standing.progress,
      state: this.#standing.state,
      ...(remembers === undefined ? {} : { remembers }),
    };
  }

  /**
   * From before it is on disk, every answer of this node names the life: what was counted beside an answer of an earlier one
   * is discarded by whoever counts them.
   */
  async recordLife({
    nodeId,
    incarnation,
  }: AskRequest<'record-life'>): Promise<AskReply<'record-life'> | ReplicaFailure> {
    const known = this.#memory.of(nodeId);
    if (known !== undefined && compareIncarnations(incarnation, known.incarnation) < 0) {
      return refused('STALE', `a later life of ${nodeId} is known here`);
    }
    this.#memory.learn(nodeId, incarnation, 0);
    try {
      await this.persist();
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      return { kind: 'failed', code: error.code, message: error.message };
    }
    return DONE;
  }

  /** Puts what is remembered of others on disk. Rejects with a KvError. */
  async persist(): Promise<void> {
    try {
      await this.#commit.putMeta(PEERS_KEY, seal(PEERS_KEY, this.#memory.encode()));
    } catch (error) {
      this.#memory.lost();
      throw error;
    }
  }
}
