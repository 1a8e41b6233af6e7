import type { ErrorCode } from '../core/errors.js';
import type { Clock } from '../io/clock.js';
import type { Timers } from '../io/timers.js';
import { CallsById } from './calls-by-id.js';
import type { OutgoingCall } from './outgoing-call.js';

/** What may be under way on one channel; beyond it calls are refused, and were not sent. */
export interface ChannelBounds {
  readonly calls: number;
  readonly bytes: number;
}

export const DEFAULT_CHANNEL_BOUNDS: ChannelBounds = { calls: 16_384, bytes: 64 * 1024 * 1024 };

/** Deadlines are looked at this often while calls are under way; a call fails at most twice this after its deadline. */
const SWEEP_EVERY_MS = 10;
const MAX_ID = 0xffff_ffff;

export interface CallTableOptions {
  /** `host:port`, for messages. */
  readonly endpoint: string;
  readonly bounds: ChannelBounds;
  readonly clock: Clock;
  readonly timers: Timers;
}

interface LateFailure {
  readonly call: OutgoingCall;
  readonly code: ErrorCode;
  readonly message: string;
  readonly sent: boolean;
}

/** The calls of one channel that are under way: ids, bounds, deadlines, and the failures of those that end badly. */
export class CallTable {
  readonly #options: CallTableOptions;
  readonly #calls = new CallsById<OutgoingCall>();
  #bytes = 0;
  #lastId = 0;
  #sweeping = false;
  #earliestDeadlineMs = Infinity;
  #late: LateFailure[] = [];
  #onIdle: (() => void) | undefined;

  constructor(options: CallTableOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** Gives the call an id. False when too much is under way: then its failure follows. */
  admit(call: OutgoingCall): boolean {
    const { bounds, endpoint } = this.#options;
    const { size } = this.#calls;
    // A single call passes whatever its size, or it never would.
    const bytesExceeded = size > 0 && this.#bytes + call.frameBytes > bounds.bytes;
    if (size >= bounds.calls || bytesExceeded) {
      const underWay = `${size} calls and ${this.#bytes} bytes are under way to ${endpoint}`;
      const message = `${underWay}; the limits are ${bounds.calls} and ${bounds.bytes}`;
      this.failLater(call, 'OVERLOADED', message, call.written);
      return false;
    }
    let id = this.#lastId;
    do id = id === MAX_ID ? 1 : id + 1;
    while (this.#calls.has(id));
    this.#lastId = id;
    call.id = id;
    this.#calls.add(call);
    this.#bytes += call.frameBytes;
    if (call.deadlineMs < this.#earliestDeadlineMs) this.#earliestDeadlineMs = call.deadlineMs;
    if (!this.#sweeping) this.#scheduleSweep();
    return true;
  }

  get(id: number): OutgoingCall | undefined {
    return this.#calls.get(id);
  }

  /** The call for which `matches` holds. Not for the hot path: it looks at all of them. */
  find(matches: (call: OutgoingCall) => boolean): OutgoingCall | undefined {
    return this.#calls.list().find(matches);
  }

  /** Takes the call out; its caller is about to be answered. */
  forget(call: OutgoingCall): void {
    this.#calls.delete(call.id);
    this.#bytes -= call.frameBytes;
    call.id = 0;
    if (this.#calls.size === 0) this.#onIdle?.();
  }

  /** Takes the call out and fails it. */
  fail(call: OutgoingCall, code: ErrorCode, message: string): void {
    this.forget(call);
    this.failLater(call, code, message, call.written);
  }

  failAll(code: ErrorCode, message: string): void {
    for (const call of this.#calls.list()) this.fail(call, code, message);
  }

  /** Fails a call that is not in the table, once this turn is over. */
  failLater(call: OutgoingCall, code: ErrorCode, message: string, sent: boolean): void {
    this.#late.push({ call, code, message, sent });
    if (this.#late.length === 1) this.#options.timers.turn(this.#deliverLate);
  }

  /** Resolves when nothing is under way, or when `graceMs` has passed. */
  idle(graceMs: number): Promise<void> {
    if (this.#calls.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const cancelTimer = this.#options.timers.after(graceMs, resolve);
      this.#onIdle = () => {
        cancelTimer();
        resolve();
      };
    });
  }

  readonly #deliverLate = (): void => {
    const late = this.#late;
    this.#late = [];
    for (const { call, code, message, sent } of late) call.failed(code, message, sent);
  };

  #scheduleSweep(): void {
    this.#sweeping = true;
    this.#options.timers.after(SWEEP_EVERY_MS, this.#sweep);
  }

  /** One timer for all calls, and only while there are any. */
  readonly #sweep = (): void => {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs >= this.#earliestDeadlineMs) this.#expire(nowMs);
    if (this.#calls.size > 0) this.#scheduleSweep();
    else this.#sweeping = false;
  };

  #expire(nowMs: number): void {
    const { endpoint } = this.#options;
    let earliestMs = Infinity;
    for (const call of this.#calls.list()) {
      if (call.deadlineMs <= nowMs) {
        const what = call.written ? 'no answer from' : 'not sent to';
        this.fail(call, 'TIMED_OUT', `${what} ${endpoint} by the deadline`);
      } else if (call.deadlineMs < earliestMs) earliestMs = call.deadlineMs;
    }
    this.#earliestDeadlineMs = earliestMs;
  }
}
