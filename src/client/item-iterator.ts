/**
 * The items of pages, one by one, in order. It does what an async generator would that yields each item of each page, with one
 * promise for an item that is there, where a generator makes several: a scan hands out hundreds of thousands a second.
 */
export class ItemIterator<P, T> implements AsyncIterableIterator<T, undefined> {
  readonly #pages: AsyncGenerator<readonly P[], void, void>;
  readonly #read: (item: P) => T;
  #page: readonly P[] = [];
  #at = 0;
  #isClosed = false;
  /** How many calls wait for a page, or for one that does, and when the last of them is answered. */
  #waiting = 0;
  #turn: Promise<void> = Promise.resolve();

  /** `read` makes of an item what is handed out; what it throws ends the iteration. */
  constructor(pages: AsyncGenerator<readonly P[], void, void>, read: (item: P) => T) {
    this.#pages = pages;
    this.#read = read;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#waiting === 0 && this.#at < this.#page.length) {
      try {
        return Promise.resolve({ done: false, value: this.#take() });
      } catch (error) {
        return this.#failWith(error);
      }
    }
    // Calls that do not wait for each other are served in their order.
    this.#waiting++;
    const item = this.#turn.then(() => this.#fetch());
    const answered = (): void => void this.#waiting--;
    this.#turn = item.then(answered, answered);
    return item;
  }

  /** Nothing is fetched any more. */
  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#isClosed = true;
    this.#page = [];
    await this.#pages.return();
    return { done: true, value: undefined };
  }

  #take(): T {
    return this.#read(this.#page[this.#at++] as P);
  }

  async #fetch(): Promise<IteratorResult<T, undefined>> {
    while (this.#at >= this.#page.length) {
      const { done, value } = await this.#pages.next();
      if (done === true || this.#isClosed) return { done: true, value: undefined };
      this.#page = value;
      this.#at = 0;
    }
    try {
      return { done: false, value: this.#take() };
    } catch (error) {
      return this.#failWith(error);
    }
  }

  async #failWith(error: unknown): Promise<never> {
    await this.return();
    throw error;
  }
}
