const FIRST_SLOTS = 64;
const MAX_SLOTS = 65_536;

/**
 * The calls of one channel that are under way, by id. Ids are given in order, so the lowest bits of an id say where its call is; one
 * whose place another call has is kept in a Map.
 *
 * Not a Map alone. V8 makes a Map's table anew every few hundred entries that come and go, and once one has grown old makes all of
 * them in the old generation. Each that is left behind keeps what was in it from being collected when it is young: nearly every
 * operation, and the frame that brought it, stayed until the next collection of everything.
 */
export class CallsById<Call extends { readonly id: number }> {
  #slots = emptySlots<Call>(FIRST_SLOTS);
  readonly #displaced = new Map<number, Call>();
  #size = 0;
  #lastId = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): Call | undefined {
    const call = this.#slots[this.#slotOf(id)];
    if (call?.id === id) return call;
    return this.#displaced.size === 0 ? undefined : this.#displaced.get(id);
  }

  has(id: number): boolean {
    return this.get(id) !== undefined;
  }

  /** The id of the call stays what it is until it is deleted, and no other call has it. */
  add(call: Call): void {
    if (this.#size >= this.#slots.length / 2 && this.#slots.length < MAX_SLOTS) this.#grow();
    this.#size += 1;
    this.#lastId = call.id;
    const slot = this.#slotOf(call.id);
    if (this.#slots[slot] === undefined) this.#slots[slot] = call;
    else this.#displaced.set(call.id, call);
  }

  delete(id: number): void {
    const slot = this.#slotOf(id);
    if (this.#slots[slot]?.id === id) this.#slots[slot] = undefined;
    else if (!this.#displaced.delete(id)) return;
    this.#size -= 1;
  }

  clear(): void {
    this.#slots = emptySlots(FIRST_SLOTS);
    this.#displaced.clear();
    this.#size = 0;
  }

  /** All of them, about in the order in which they came. Not for the hot path: it looks at every place. */
  list(): Call[] {
    const calls: Call[] = [];
    for (let i = 1; i <= this.#slots.length; i++) {
      const call = this.#slots[this.#slotOf(this.#lastId + i)];
      if (call !== undefined) calls.push(call);
    }
    for (const call of this.#displaced.values()) calls.push(call);
    return calls;
  }

  #slotOf(id: number): number {
    return id & (this.#slots.length - 1);
  }

  #grow(): void {
    const before = this.#slots;
    this.#slots = emptySlots(2 * before.length);
    for (const call of before) if (call !== undefined) this.#slots[this.#slotOf(call.id)] = call;
  }
}

function emptySlots<Call>(length: number): (Call | undefined)[] {
  return Array.from({ length }, () => undefined);
}
