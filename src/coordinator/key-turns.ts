/** What waits for its turn on a key. */
export interface TurnTaker {
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
  /** The first of each has the turn. */
  readonly #waiting = new Map<string, TurnTaker[]>();

  take(one: TurnTaker): void {
    const waiting = this.#waiting.get(one.turnKey);
    if (waiting === undefined) {
      this.#waiting.set(one.turnKey, [one]);
      one.onTurn();
    } else waiting.push(one);
  }

  /** It has ended, or does not want the turn any more. Harmless when it has neither. */
  release(one: TurnTaker): void {
    const waiting = this.#waiting.get(one.turnKey);
    const place = waiting?.indexOf(one) ?? -1;
    if (waiting === undefined || place === -1) return;
    waiting.splice(place, 1);
    if (waiting.length === 0) this.#waiting.delete(one.turnKey);
    else if (place === 0) waiting[0]?.onTurn();
  }
}
