/**
 * A key as a mark: a string of one character for each byte, so that it can be looked up by what it holds. Marks are short and
 * many, and a string of bytes costs half of what a buffer does.
 */
export type Mark = string;

export function markOf(key: Uint8Array): Mark {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}

export function keyOfMark(mark: Mark): Buffer {
  return Buffer.from(mark, 'latin1');
}

/**
 * The keys that one target is owed, each once, in the order in which they were missed; and which of them the disk does not
 * yet know to be as they are here.
 */
export class OwedKeys {
  readonly #waiting = new Set<Mark>();
  /** Under way to the target. True: it was missed again since, and what is under way may be older than that. */
  readonly #sending = new Map<Mark, boolean>();
  readonly #unsaved = new Set<Mark>();
  /** Goes on where it was, and sees what is added behind it: taking from the front would pass over all that was taken. */
  #next = this.#waiting.values();

  get size(): number {
    return this.#waiting.size + this.#sending.size;
  }

  /** How many marks differ from what is on disk, or may. */
  get unsaved(): number {
    return this.#unsaved.size;
  }

  has(mark: Mark): boolean {
    return this.#waiting.has(mark) || this.#sending.has(mark);
  }

  /** The target has missed the key. False: it was owed already. */
  add(mark: Mark): boolean {
    if (this.#sending.has(mark)) {
      this.#sending.set(mark, true);
      return false;
    }
    if (this.#waiting.has(mark)) return false;
    this.#waiting.add(mark);
    return true;
  }

  /** The one owed for longest; it counts as under way from now on. */
  take(): Mark | undefined {
    let next = this.#next.next();
    if (next.done === true) {
      this.#next = this.#waiting.values();
      next = this.#next.next();
      if (next.done === true) return undefined;
    }
    this.#waiting.delete(next.value);
    this.#sending.set(next.value, false);
    return next.value;
  }

  /** What was under way is done with. False: the key is owed still, as it was missed again meanwhile. */
  settle(mark: Mark): boolean {
    if (this.#sending.get(mark) === true) {
      this.giveBack(mark);
      return false;
    }
    return this.#sending.delete(mark);
  }

  /** What was under way did not arrive. */
  giveBack(mark: Mark): void {
    if (this.#sending.delete(mark)) this.#waiting.add(mark);
  }

  /** Nothing is owed any more. Gives what was. */
  clear(): Mark[] {
    const marks = [...this.#waiting, ...this.#sending.keys()];
    this.#waiting.clear();
    this.#sending.clear();
    return marks;
  }

  /** The disk is to be brought up to what is owed of this key. */
  unsave(mark: Mark): void {
    this.#unsaved.add(mark);
  }

  /** Up to `count` of the marks that are to be written or removed; they count as saved from now on. */
  takeUnsaved(count: number): Mark[] {
    const marks: Mark[] = [];
    for (const mark of this.#unsaved) {
      if (marks.length === count) break;
      marks.push(mark);
    }
    for (const mark of marks) this.#unsaved.delete(mark);
    return marks;
  }
}
