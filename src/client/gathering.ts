import { FRAME_CUT_BYTES } from '../core/limits.js';
import type { Timers } from '../io/timers.js';
import type { NodeState } from './node-state.js';

/**
 * Where the writes of one turn of the event loop go. All replicas of a key do the same for a write and any may coordinate it, so
 * writes that are made together go to as few nodes as replicate their keys, a frame's worth to each, and from there on in one
 * frame to each replica: a frame, a wakeup and a group commit cost what they cost however much they carry. Of equally good
 * nodes the next turn begins with the one that was given the least.
 */
export class Gathering {
  readonly #timers: Timers;
  #turn = 1;
  #ending = false;
  /** What the node that was given the most was given so far. */
  #mostBytes = 0;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  /** Whether a write goes to `node` sooner than to `other`, when both are as good. */
  prefers(node: NodeState, other: NodeState): boolean {
    return this.#rank(node) < this.#rank(other);
  }

  /** A write of so many bytes is sent to `node`. */
  add(node: NodeState, bytes: number): void {
    if (node.gatheredTurn !== this.#turn) {
      node.gatheredTurn = this.#turn;
      node.turnBytes = 0;
      // One that was away is not given all that it missed.
      node.gatheredBytes = Math.max(node.gatheredBytes, this.#mostBytes - FRAME_CUT_BYTES);
    }
    node.turnBytes += bytes;
    node.gatheredBytes += bytes;
    this.#mostBytes = Math.max(this.#mostBytes, node.gatheredBytes);
    if (this.#ending) return;
    this.#ending = true;
    this.#timers.turn(this.#end);
  }

  /** A node that this turn's writes go to comes first for as long as its frame has room. */
  #rank(node: NodeState): number {
    const hasRoom = node.gatheredTurn === this.#turn && node.turnBytes < FRAME_CUT_BYTES;
    return hasRoom ? -1 : node.gatheredBytes;
  }

  readonly #end = (): void => {
    this.#ending = false;
    this.#turn++;
  };
}
