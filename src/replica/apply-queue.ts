import type { ApplyCall } from '../io/peer.js';

/** Calls that will be committed together. Parallel arrays: nothing is allocated for a call. */
export interface PendingGroup {
  readonly calls: ApplyCall[];
  readonly slots: number[];
  bytes: number;
}

export interface QueueBounds {
  /** A group holds at most this many calls, and this many bytes of records unless one alone has more. */
  readonly groupCalls: number;
  readonly groupBytes: number;
  /** Beyond these the queue takes nothing: work that would wait too long is refused while refusing is cheap. */
  readonly queueCalls: number;
  readonly queueBytes: number;
}

export const DEFAULT_QUEUE_BOUNDS: QueueBounds = {
  groupCalls: 1_024,
  groupBytes: 4 * 1024 * 1024,
  queueCalls: 16_384,
  queueBytes: 64 * 1024 * 1024,
};

/** Calls that wait for their commit, in the order in which they came, cut into groups as they come. */
export class ApplyQueue {
  readonly #bounds: QueueBounds;
  readonly #groups: PendingGroup[] = [];
  #calls = 0;
  #bytes = 0;

  constructor(bounds: QueueBounds) {
    this.#bounds = bounds;
  }

  get length(): number {
    return this.#calls;
  }

  /** False when the queue is full, and the call was not taken. */
  add(call: ApplyCall, slot: number): boolean {
    const bytes = call.key.length + call.record.length;
    if (this.#calls >= this.#bounds.queueCalls || this.#bytes + bytes > this.#bounds.queueBytes) {
      return false;
    }
    let group = this.#groups.at(-1);
    if (
      group === undefined ||
      group.calls.length >= this.#bounds.groupCalls ||
      group.bytes + bytes > this.#bounds.groupBytes
    ) {
      group = { calls: [], slots: [], bytes: 0 };
      this.#groups.push(group);
    }
    group.calls.push(call);
    group.slots.push(slot);
    group.bytes += bytes;
    this.#calls += 1;
    this.#bytes += bytes;
    return true;
  }

  /** The next group, which gathers no more. */
  take(): PendingGroup | undefined {
    const group = this.#groups.shift();
    if (group !== undefined) {
      this.#calls -= group.calls.length;
      this.#bytes -= group.bytes;
    }
    return group;
  }
}
