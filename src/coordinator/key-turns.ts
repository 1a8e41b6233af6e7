import { HashChains, type Chained } from '../core/hash-chains.js';

/** What waits for its turn on a key. */
export interface TurnTaker {
  readonly keyHash: number;
  /** The key as a string; the same for the same key. */
  readonly turnKey: string;
  /** No other of its key has the turn until it is released. */
  onTurn(): void;
}

/**
 * One round of a key at a time, in the order in which they came: rounds of one coordinator that run at once would only beat each
 * other, and core/lease.ts relies on it that they do not.
 */
export class KeyTurns {
  readonly #queues = new HashChains<Queue>();

  take(one: TurnTaker): void {
    const queue = this.#queueOf(one);
    if (queue === undefined) {
      const { keyHash, turnKey } = one;
      this.#queues.add({ keyHash, turnKey, waiting: [one], next: undefined });
      one.onTurn();
    } else queue.waiting.push(one);
  }

  /** It has ended, or does not want the turn any more. Harmless when it has neither. */
  release(one: TurnTaker): void {
    const queue = this.#queueOf(one);
    const place = queue?.waiting.indexOf(one) ?? -1;
    if (queue === undefined || place === -1) return;
    queue.waiting.splice(place, 1);
    if (queue.waiting.length === 0) this.#queues.delete(queue);
    else if (place === 0) queue.waiting[0]?.onTurn();
  }

  #queueOf({ keyHash, turnKey }: TurnTaker): Queue | undefined {
    let queue = this.#queues.chain(keyHash);
    while (queue !== undefined && queue.turnKey !== turnKey) queue = queue.next;
    return queue;
  }
}

interface Queue extends Chained<Queue> {
  readonly turnKey: string;
  /** The first has the turn. */
  readonly waiting: TurnTaker[];
}
