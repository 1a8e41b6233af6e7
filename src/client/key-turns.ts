/**
 * Changes of one key that one connection makes at the same time go one after the other: they would only lose to each other.
 * First come, first served.
 */
export class KeyTurns {
  readonly #lastOf = new Map<string, Turn>();

  /**
   * Calls `act` when all before have had their turns, or when `patience` resolves: then it should find that it is too late.
   * `patience` is told when it need not wait any more. What `act` returns or throws is passed on.
   */
  async inTurn<T>(
    key: string,
    patience: (begun: AbortSignal) => Promise<void>,
    act: () => Promise<T>,
  ): Promise<T> {
    const before = this.#lastOf.get(key);
    const turn = new Turn(before);
    this.#lastOf.set(key, turn);
    try {
      if (before !== undefined) {
        const begun = new AbortController();
        await Promise.race([before.over, patience(begun.signal)]);
        begun.abort();
      }
      return await act();
    } finally {
      turn.end();
      void this.#forget(key, turn);
    }
  }

  async #forget(key: string, turn: Turn): Promise<void> {
    await turn.over;
    if (this.#lastOf.get(key) === turn) this.#lastOf.delete(key);
  }
}

class Turn {
  /** Resolves when this one has ended and all before have: one that gave up ends before its turn. */
  readonly over: Promise<void>;
  #end!: () => void;

  constructor(before: Turn | undefined) {
    const ended = new Promise<void>((resolve) => {
      this.#end = resolve;
    });
    this.over = before === undefined ? ended : afterBoth(before.over, ended);
  }

  end(): void {
    this.#end();
  }
}

async function afterBoth(first: Promise<void>, second: Promise<void>): Promise<void> {
  await first;
  await second;
}
