import type { Timers } from '../io/timers.js';
import type { NodeState } from './node-state.js';

/** What a node takes of a stream before the sender must wait; of one turn, more would only queue up there. */
const MAX_GATHERED_BYTES = 1024 * 1024;

/**
 * Where the plain writes of one turn of the event loop go. All replicas of a key do the same for a write and any may
 * coordinate it, so writes that are made together go to one node, in one frame, and from there to each replica in one more:
 * a frame, a wakeup and a group commit cost what they cost however much they carry. The next turn's go to the node that has
 * waited the longest.
 */
export class Gathering {
  readonly #timers: Timers;
  #turn = 1;
  #ending = false;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Whether a write goes to `node` sooner than to `other`, when both are as good. */
  prefers(node: NodeState, other: NodeState): boolean {
    return this.#rank(node) < this.#rank(other);
  }

  /** A write of so many bytes goes to `node`. */
  add(node: NodeState, bytes: number): void {
    if (node.gatheredTurn !== this.#turn) {
      node.gatheredTurn = this.#turn;
      node.gatheredBytes = 0;
    }
    node.gatheredBytes += bytes;
    if (this.#ending) return;
    this.#ending = true;
    this.#timers.turn(this.#end);
  }

  /** The node of this turn comes first for as long as it has room, then those of earlier turns, the oldest first. */
  #rank(node: NodeState): number {
    if (node.gatheredTurn < this.#turn) return node.gatheredTurn;
    return node.gatheredBytes < MAX_GATHERED_BYTES ? -1 : this.#turn + node.gatheredBytes;
  }

  readonly #end = (): void => {
    this.#ending = false;
    this.#turn++;
  };
}
