import { Trace } from './trace.js';

/** Whoever events belong to: they fire only while it lives, and wait while it is paused. */
export interface Owner {
  readonly alive: boolean;
  readonly paused: boolean;
  /** Takes an event that fell due while it was paused. */
  defer(event: SimEvent): void;
  /** Told before each event of its own; it may die of that, and then the event does not happen. */
  countDown(): void;
}

/** Something that happens at a moment of virtual time. Cancelled by taking its action away. */
export interface SimEvent {
  readonly atMs: number;
  readonly order: number;
  readonly owner: Owner | undefined;
  action: (() => void) | undefined;
}

/**
 * Virtual time: one heap of events, taken in the order of time and then of asking. Between two events every promise that
 * can settle does, so a run depends on nothing but what was scheduled.
 */
export class Kernel {
  readonly trace: Trace;
  #nowMs = 0;
  #order = 0;
  #fired = 0;
  #heap: SimEvent[] = [];
  /** Events of the present moment, in order: most of what happens is a turn, and a heap is dear for those. */
  #ready: SimEvent[] = [];
  #readyAt = 0;
  #failure: unknown;
  #failed = false;

  constructor(trace = new Trace()) {
    this.trace = trace;
  }

  /** Milliseconds since the start of the run. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** How many events have fired. */
  get fired(): number {
    return this.#fired;
  }

  /** A number above all given before: orders what happens at one moment. */
  nextOrder(): number {
    return this.#order++;
  }

  schedule(delayMs: number, owner: Owner | undefined, action: () => void): SimEvent {
    if (!(delayMs > 0)) {
      const event = { atMs: this.#nowMs, order: this.#order++, owner, action };
      this.#ready.push(event);
      return event;
    }
    const event = { atMs: this.#nowMs + delayMs, order: this.#order++, owner, action };
    this.#push(event);
    return event;
  }

  /** Resolves after `delayMs`; for what stands outside every process, such as the schedule of faults. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.schedule(delayMs, undefined, resolve);
    });
  }

  /**
   * Lets time pass until `scenario` has ended and gives what it gave. Rejects when it does, when an event throws, and when
   * nothing is left that could happen.
   */
  async run<T>(scenario: () => Promise<T>): Promise<T> {
    let ended = false;
    const result = scenario().finally(() => {
      ended = true;
    });
    result.catch(() => {});
    await new Promise<void>((resolve) => {
      // The microtask runs after all that are queued and what they queue; the tick runs when they have run dry.
      const hop = () => queueMicrotask(later);
      const later = () => process.nextTick(step);
      const step = () => {
        if (ended || this.#failed || !this.#fire()) resolve();
        else hop();
      };
      hop();
    });
    if (this.#failed) throw this.#failure;
    if (!ended)
      throw new Error('nothing is left that could happen, and the scenario has not ended');
    return await result;
  }

  /** Fires the next event; false when there is none. */
  #fire(): boolean {
    for (;;) {
      const event = this.#take();
      if (event === undefined) return false;
      const { action, owner } = event;
      if (action === undefined || isDead(owner)) continue;
      this.#nowMs = event.atMs > this.#nowMs ? event.atMs : this.#nowMs;
      if (owner?.paused === true) {
        owner.defer(event);
        continue;
      }
      owner?.countDown();
      if (isDead(owner)) continue;
      event.action = undefined;
      this.#fired++;
      try {
        action();
      } catch (error) {
        this.#failure = error;
        this.#failed = true;
      }
      return true;
    }
  }

  #take(): SimEvent | undefined {
    const ready = this.#ready[this.#readyAt];
    const top = this.#heap[0];
    if (
      ready !== undefined &&
      (top === undefined || top.atMs > ready.atMs || top.order > ready.order)
    ) {
      this.#readyAt++;
      if (this.#readyAt === this.#ready.length) {
        this.#ready.length = 0;
        this.#readyAt = 0;
      }
      return ready;
    }
    return this.#pop();
  }

  #push(event: SimEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    while (at > 0) {
      const parentAt = (at - 1) >> 1;
      const parent = heap[parentAt] as SimEvent;
      if (!before(event, parent)) break;
      heap[at] = parent;
      at = parentAt;
    }
    heap[at] = event;
  }

  #pop(): SimEvent | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let childAt = 2 * at + 1;
      if (childAt >= heap.length) break;
      let child = heap[childAt] as SimEvent;
      const right = heap[childAt + 1];
      if (right !== undefined && before(right, child)) {
        child = right;
        childAt++;
      }
      if (before(last, child)) break;
      heap[at] = child;
      at = childAt;
    }
    heap[at] = last;
    return top;
  }
}

function isDead(owner: Owner | undefined): boolean {
  return owner?.alive === false;
}

function before(a: SimEvent, b: SimEvent): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
