import type { Clock } from '../io/clock.js';
import type { Timers } from '../io/timers.js';
import type { Operation } from './operation.js';

/** Operations that may be with the nodes at once; more wait here, in the order in which they were asked for. */
const WINDOW_OPERATIONS = 2_048;
/** The same in bytes of keys and records, so that a window of large values does not fill the memory of the nodes. */
const WINDOW_BYTES = 16 * 1024 * 1024;
/** Deadlines and waits are looked at this often while operations are under way. */
const SWEEP_MS = 10;

/**
 * The operations of one connection that are under way: a window of them with the nodes, behind them those that wait for a
 * place in it. One timer serves all, and only while there are any.
 */
export class UnderWay {
  readonly #clock: Clock;
  readonly #timers: Timers;
  /** A list through the operations themselves, the oldest first. Those in the window come before those that wait. */
  #first: Operation | undefined;
  #last: Operation | undefined;
  #nextWaiting: Operation | undefined;
  #count = 0;
  #admitted = 0;
  #admittedBytes = 0;
  #admitting = false;
  /** No operation is due before it. */
  #wakeAtMs = Infinity;
  #sweeping = false;
  readonly #sweep = (): void => this.#sweepNow();
  #onIdle: (() => void) | undefined;

  constructor(clock: Clock, timers: Timers) {
    this.#clock = clock;
    this.#timers = timers;
  }

  add(operation: Operation, nowMs: number): void {
    operation.previous = this.#last;
    if (this.#last === undefined) this.#first = operation;
    else this.#last.next = operation;
    this.#last = operation;
    this.#count++;
    if (operation.wakeAtMs < this.#wakeAtMs) this.#wakeAtMs = operation.wakeAtMs;
    if (!this.#sweeping) this.#sweepLater();
    this.#nextWaiting ??= operation;
    if (this.#nextWaiting === operation) this.#admit(nowMs);
  }

  /** The operation has settled. */
  remove(operation: Operation): void {
    const { previous, next } = operation;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    if (this.#nextWaiting === operation) this.#nextWaiting = next;
    operation.previous = undefined;
    operation.next = undefined;
    this.#count--;
    if (operation.admitted) {
      this.#admitted--;
      this.#admittedBytes -= bytesOf(operation);
      if (this.#nextWaiting !== undefined) this.#admit(this.#clock.monotonicMs());
    }
    if (this.#count === 0) this.#onIdle?.();
  }

  /** `operation.wake` is called at `atMs` or shortly after. */
  wakeAt(operation: Operation, atMs: number): void {
    operation.wakeAtMs = atMs;
    if (atMs < this.#wakeAtMs) this.#wakeAtMs = atMs;
  }

  /** Resolves when nothing is under way any more; after `graceMs` what is left is aborted. */
  async drain(graceMs: number): Promise<void> {
    if (this.#count === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#timers.after(graceMs, resolve);
      this.#onIdle = () => {
        cancel();
        resolve();
      };
    });
    const message = `Still under way ${graceMs} ms after the connection was closed.`;
    // The latest first, so that none that waits for a place is sent on its way out.
    while (this.#last !== undefined) this.#last.abort(undefined, message);
  }

  /** Gives places in the window to those that wait, in order. */
  #admit(nowMs: number): void {
    // An attempt may end its operation at once, which frees a place: this loop gives it away, not one within it.
    if (this.#admitting) return;
    this.#admitting = true;
    let operation = this.#nextWaiting;
    while (
      operation !== undefined &&
      this.#admitted < WINDOW_OPERATIONS &&
      (this.#admittedBytes < WINDOW_BYTES || this.#admitted === 0)
    ) {
      this.#nextWaiting = operation.next;
      this.#admitted++;
      this.#admittedBytes += bytesOf(operation);
      operation.admitted = true;
      operation.attempt(nowMs);
      operation = this.#nextWaiting;
    }
    this.#admitting = false;
  }

  #sweepLater(): void {
    this.#sweeping = true;
    this.#timers.after(SWEEP_MS, this.#sweep);
  }

  #sweepNow(): void {
    this.#sweeping = false;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs >= this.#wakeAtMs) this.#wakeDue(nowMs);
    if (this.#count > 0 && !this.#sweeping) this.#sweepLater();
  }

  /** Waking settles operations and starts others, so what is due is gathered first. */
  #wakeDue(nowMs: number): void {
    const due: Operation[] = [];
    let nextMs = Infinity;
    for (let operation = this.#first; operation !== undefined; operation = operation.next) {
      if (operation.wakeAtMs <= nowMs) due.push(operation);
      else if (operation.wakeAtMs < nextMs) nextMs = operation.wakeAtMs;
    }
    this.#wakeAtMs = nextMs;
    for (const operation of due) if (!operation.settled) operation.wake(nowMs);
  }
}

/** The same before and after an operation has been stamped anew. */
function bytesOf(operation: Operation): number {
  return operation.key.length + operation.record.length;
}
