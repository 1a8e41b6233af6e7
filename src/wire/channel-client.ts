import {
  Client,
  credentials,
  status as grpcStatus,
  type ClientDuplexStream,
  type StatusObject,
} from '@grpc/grpc-js';
import type { ErrorCode, KvError } from '../core/errors.js';
import { FRAME_CUT_BYTES, type Limits } from '../core/limits.js';
import type { Clock } from '../io/clock.js';
import type { LinkState, Welcome } from '../io/link.js';
import type { Random } from '../io/random.js';
import type { CancelTimer, Timers } from '../io/timers.js';
import { welcomeFromWire } from './codec.js';
import { FrameWriter } from './frame-writer.js';
import { clientOptions } from './grpc-options.js';
import { v1 } from './messages.js';
import { checkWelcome } from './greeting.js';
import { asIs } from './services.js';
import { fromGrpcStatus } from './status.js';

/** What may be under way on one channel; beyond it calls are refused, and were not sent. */
export interface ChannelBounds {
  readonly calls: number;
  readonly bytes: number;
}

export const DEFAULT_CHANNEL_BOUNDS: ChannelBounds = { calls: 16_384, bytes: 64 * 1024 * 1024 };

/** Calls are looked at for their deadlines this often while any is under way; a deadline is late by up to twice this. */
const SWEEP_EVERY_MS = 10;
/** gRPC holds what it cannot write; beyond this much we hold it ourselves, where it can still be said not to be sent. */
const MAX_UNWRITTEN_BYTES = 1024 * 1024;
const GREETING_TIMEOUT_MS = 5_000;
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 2_000;
/** A node that was refused may be mended while this one runs, so it is tried again, rarely. */
const REFUSED_RETRY_MS = 5_000;
const MAX_ID = 0xffff_ffff;

export interface ChannelClientOptions {
  /** `host:port`. */
  readonly endpoint: string;
  /** The gRPC path of the channel. */
  readonly path: string;
  readonly hello: v1.Hello.$Properties;
  /** Looks at the other side's welcome; an error closes the channel as refused. */
  readonly judge?: (welcome: Welcome) => KvError | undefined;
  readonly onState: (state: LinkState) => void;
  /** Whether a refused channel (another cluster, another protocol) is tried again. Otherwise a refusal is fatal. */
  readonly retryRefused: boolean;
  readonly limits: Limits;
  readonly bounds?: ChannelBounds;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
}

/**
 * One call on its way. A subclass is the caller's own call: it carries what is sent and takes what comes back, without a
 * closure. Exactly one of `answered` and `failed` follows a {@link ChannelClient.send}, never within it.
 */
export abstract class OutgoingCall {
  /** Given by the channel; 0 before and after. */
  id = 0;
  /** Handed to the stream: the other side may have it. */
  written = false;
  /** An upper bound of what it takes in a frame. */
  readonly frameBytes: number;

  constructor(
    /** On the monotonic clock. */
    readonly deadlineMs: number,
    payloadBytes: number,
  ) {
    this.frameBytes = payloadBytes + CALL_OVERHEAD_BYTES;
  }

  /** The message to send. Called once, when it is written. */
  abstract message(id: number, timeoutMs: number): v1.Call.$Properties;
  /** The bytes of the answer are views of the frame it came in: copy what is kept for long. */
  abstract answered(answer: v1.Answer): void;
  /** `sent`: the other side may have it and may act on it. */
  abstract failed(code: ErrorCode, message: string, sent: boolean): void;
}

/** What surrounds the bytes of a call: tags, lengths, numbers, trace parent. */
const CALL_OVERHEAD_BYTES = 128;

interface LateFailure {
  readonly call: OutgoingCall;
  readonly code: ErrorCode;
  readonly message: string;
  readonly sent: boolean;
}

/**
 * A long-lived stream to one node that carries many calls at once, and connects anew whenever it breaks. A call is
 * written at most once: what breaks before its answer is reported to the caller, who alone knows whether to repeat it.
 */
export class ChannelClient {
  readonly #options: ChannelClientOptions;
  readonly #bounds: ChannelBounds;
  #client: Client | undefined;
  #stream: ClientDuplexStream<Buffer, Buffer> | undefined;
  /** `undefined` while it is connecting for the first time. */
  #state: LinkState | undefined;
  /** The other side has greeted on the present stream. */
  #greeted = false;
  #closed = false;
  #failures = 0;
  #cancelRetry: CancelTimer | undefined;
  #cancelGreeting: CancelTimer | undefined;

  #lastId = 0;
  readonly #calls = new Map<number, OutgoingCall>();
  #callBytes = 0;
  /** Not yet written. Calls settled meanwhile stay in it with id 0. */
  #queue: OutgoingCall[] = [];
  #cancelledIds: number[] = [];
  #flushing = false;
  #unwrittenBytes = 0;
  #pushedBack = false;
  #sweeping = false;
  #earliestDeadlineMs = Infinity;
  #late: LateFailure[] = [];
  #onIdle: (() => void) | undefined;

  constructor(options: ChannelClientOptions) {
    this.#options = options;
    this.#bounds = options.bounds ?? DEFAULT_CHANNEL_BOUNDS;
    this.#connect();
  }

  /** Undefined while it connects for the first time. */
  get state(): LinkState | undefined {
    return this.#state;
  }

  /** Whether a call sent now would be written. */
  get open(): boolean {
    return this.#state?.kind === 'open' && !this.#closed;
  }

  get inFlight(): number {
    return this.#calls.size;
  }

  /** Sends the call with whatever else is ready in this turn. */
  send(call: OutgoingCall): void {
    if (!this.#admit(call)) return;
    this.#queue.push(call);
    this.#scheduleFlush();
  }

  /**
   * Takes the call and writes nothing, as a network does that loses it: it fails at its deadline, as sent. Also for a call
   * that has just been answered, when it is the answer that is lost.
   */
  swallow(call: OutgoingCall): void {
    if (this.#admit(call)) call.written = true;
  }

  /** Nobody waits any more: the other side is told, and `failed` follows with CANCELLED. Harmless once it is settled. */
  cancel(call: OutgoingCall): void {
    if (call.id === 0) return;
    if (call.written) {
      this.#cancelledIds.push(call.id);
      this.#scheduleFlush();
    }
    this.#forget(call);
    this.#failLater(call, 'CANCELLED', 'the caller cancelled it', call.written);
  }

  /** The call under way for which `matches` holds. Not for the hot path: it looks at all of them. */
  find(matches: (call: OutgoingCall) => boolean): OutgoingCall | undefined {
    for (const call of this.#calls.values()) if (matches(call)) return call;
    return undefined;
  }

  /** Lets calls under way finish for up to `graceMs`, then closes; what is left fails as if the channel had broken. */
  async close(graceMs: number): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#state = closedState('UNAVAILABLE', 'it was closed', true);
    this.#cancelRetry?.();
    if (this.#calls.size > 0) {
      await new Promise<void>((resolve) => {
        const cancelTimer = this.#options.timers.after(graceMs, resolve);
        this.#onIdle = () => {
          cancelTimer();
          resolve();
        };
      });
    }
    this.#disconnect();
    this.#failAll('UNAVAILABLE', `the channel to ${this.#options.endpoint} was closed`);
  }

  #connect(): void {
    const { endpoint, path, hello, limits, clock, timers } = this.#options;
    const client = new Client(endpoint, credentials.createInsecure(), clientOptions(limits));
    const stream = client.makeBidiStreamRequest<Buffer, Buffer>(path, asIs, asIs);
    this.#client = client;
    this.#stream = stream;
    this.#greeted = false;
    this.#pushedBack = false;
    this.#unwrittenBytes = 0;
    this.#cancelledIds = [];
    let greetedAtMs = clock.monotonicMs();
    stream.on('data', (bytes: Buffer) => {
      if (stream === this.#stream) this.#onFrame(bytes, greetedAtMs);
    });
    stream.on('drain', () => {
      if (stream !== this.#stream) return;
      this.#pushedBack = false;
      this.#scheduleFlush();
    });
    // Every error comes as a status as well.
    stream.on('error', () => {});
    stream.on('status', (status: StatusObject) => {
      if (stream === this.#stream) this.#onEnd(status);
    });
    stream.write(new FrameWriter().hello(hello).finish(), () => {
      greetedAtMs = clock.monotonicMs();
    });
    this.#cancelGreeting = timers.after(GREETING_TIMEOUT_MS, () => {
      if (stream !== this.#stream) return;
      this.#break('UNAVAILABLE', `${endpoint} did not greet within ${GREETING_TIMEOUT_MS} ms`);
    });
  }

  #onFrame(bytes: Buffer, greetedAtMs: number): void {
    const { endpoint, clock } = this.#options;
    let frame: v1.AnswerFrame;
    try {
      frame = v1.AnswerFrame.decode(bytes);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#break('INTERNAL', `${endpoint} sent a malformed frame (${reason})`);
      return;
    }
    if (!this.#greeted && !this.#onWelcome(frame, clock.monotonicMs() - greetedAtMs)) return;
    const { answers } = frame;
    for (let i = 0; i < answers.length; i++) {
      const answer = answers[i] as v1.Answer;
      const call = this.#calls.get(answer.id);
      // Cancelled or past its deadline: its caller has been answered.
      if (call === undefined) continue;
      this.#forget(call);
      call.answered(answer);
    }
    if (frame.closing && this.open) this.#onClosing();
  }

  /** Calls that were written are still answered; then the other side ends the stream. */
  #onClosing(): void {
    const message = `${this.#options.endpoint} is stopping`;
    const queue = this.#queue;
    this.#queue = [];
    for (const call of queue) {
      if (call.id === 0) continue;
      this.#forget(call);
      this.#failLater(call, 'UNAVAILABLE', message, false);
    }
    this.#setState(closedState('UNAVAILABLE', message, false));
  }

  /** False when the channel goes no further. */
  #onWelcome(frame: v1.AnswerFrame, roundTripMs: number): boolean {
    const { endpoint, judge } = this.#options;
    if (!frame.welcome) {
      this.#break('INCOMPATIBLE', `${endpoint} did not greet in its first frame`);
      return false;
    }
    const problem = checkWelcome(frame.welcome, endpoint);
    const welcome = welcomeFromWire(frame.welcome);
    const refusal = problem ?? judge?.(welcome);
    if (refusal !== undefined) {
      this.#refuse(refusal.code, refusal.message);
      return false;
    }
    this.#cancelGreeting?.();
    this.#greeted = true;
    this.#failures = 0;
    this.#setState({ kind: 'open', welcome, roundTripMs });
    return true;
  }

  #onEnd(status: StatusObject): void {
    const { endpoint } = this.#options;
    if (status.code === grpcStatus.OK) {
      this.#break('UNAVAILABLE', `${endpoint} ended the channel`);
      return;
    }
    const error = fromGrpcStatus(status, endpoint, 'unknown');
    if (error.code === 'WRONG_CLUSTER' || error.code === 'INCOMPATIBLE') {
      this.#refuse(error.code, error.message);
    } else {
      this.#break(error.code === 'INTERNAL' ? 'UNAVAILABLE' : error.code, error.message);
    }
  }

  #refuse(code: ErrorCode, message: string): void {
    const { retryRefused } = this.#options;
    this.#disconnect();
    this.#failAll('UNAVAILABLE', message);
    this.#setState(closedState(code, message, !retryRefused));
    if (retryRefused) this.#retryAfter(REFUSED_RETRY_MS);
  }

  #break(code: ErrorCode, message: string): void {
    this.#disconnect();
    this.#failAll('UNAVAILABLE', message);
    this.#setState(closedState(code, message, false));
    const bound = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, LAST_RETRY_MS);
    this.#failures++;
    this.#retryAfter(bound * (0.5 + this.#options.random.fraction() / 2));
  }

  #retryAfter(delayMs: number): void {
    if (this.#closed) return;
    this.#cancelRetry = this.#options.timers.after(delayMs, () => {
      if (!this.#closed) this.#connect();
    });
  }

  #disconnect(): void {
    const stream = this.#stream;
    const client = this.#client;
    this.#stream = undefined;
    this.#client = undefined;
    this.#cancelGreeting?.();
    // An orderly end where nothing is under way; otherwise the other side is told that nobody waits.
    if (this.#calls.size === 0) stream?.end();
    else stream?.cancel();
    client?.close();
  }

  #setState(state: LinkState): void {
    if (this.#closed) return;
    this.#state = state;
    this.#options.onState(state);
  }

  #admit(call: OutgoingCall): boolean {
    if (!this.open) {
      const state = this.#state;
      const why = state?.kind === 'closed' ? state.message : 'it is still connecting';
      const message = `no channel to ${this.#options.endpoint}: ${why}`;
      this.#failLater(call, 'UNAVAILABLE', message, call.written);
      return false;
    }
    if (
      this.#calls.size >= this.#bounds.calls ||
      (this.#callBytes + call.frameBytes > this.#bounds.bytes && this.#calls.size > 0)
    ) {
      const { calls, bytes } = this.#bounds;
      this.#failLater(
        call,
        'OVERLOADED',
        `${this.#calls.size} calls and ${this.#callBytes} bytes are under way to ${this.#options.endpoint}; the limits are ${calls} and ${bytes}`,
        call.written,
      );
      return false;
    }
    let id = this.#lastId;
    do id = id === MAX_ID ? 1 : id + 1;
    while (this.#calls.has(id));
    this.#lastId = id;
    call.id = id;
    this.#calls.set(id, call);
    this.#callBytes += call.frameBytes;
    if (call.deadlineMs < this.#earliestDeadlineMs) this.#earliestDeadlineMs = call.deadlineMs;
    if (!this.#sweeping) this.#scheduleSweep();
    return true;
  }

  #forget(call: OutgoingCall): void {
    this.#calls.delete(call.id);
    this.#callBytes -= call.frameBytes;
    call.id = 0;
    if (this.#calls.size === 0 && this.#onIdle !== undefined) this.#onIdle();
  }

  #failLater(call: OutgoingCall, code: ErrorCode, message: string, sent: boolean): void {
    this.#late.push({ call, code, message, sent });
    if (this.#late.length > 1) return;
    this.#options.timers.turn(() => {
      const late = this.#late;
      this.#late = [];
      for (const { call: settled, code: why, message: text, sent: was } of late) {
        settled.failed(why, text, was);
      }
    });
  }

  #failAll(code: ErrorCode, message: string): void {
    this.#queue = [];
    for (const call of this.#calls.values()) {
      this.#forget(call);
      this.#failLater(call, code, message, call.written);
    }
  }

  #scheduleFlush(): void {
    if (this.#flushing || this.#pushedBack) return;
    this.#flushing = true;
    this.#options.timers.turn(this.#flush);
  }

  /** Cuts what has gathered into frames and writes them for as long as the stream takes them. */
  readonly #flush = (): void => {
    this.#flushing = false;
    if (this.#stream === undefined || this.#pushedBack) return;
    const nowMs = this.#options.clock.monotonicMs();
    const queue = this.#queue;
    let frame = new FrameWriter();
    if (this.#cancelledIds.length > 0) {
      frame.cancelled(this.#cancelledIds);
      this.#cancelledIds = [];
    }
    let next = 0;
    let bytes = 0;
    while (next < queue.length && !this.#pushedBack) {
      const call = queue[next] as OutgoingCall;
      if (call.id === 0) {
        next++;
        continue;
      }
      if (bytes > 0 && bytes + call.frameBytes > FRAME_CUT_BYTES) {
        this.#write(frame);
        frame = new FrameWriter();
        bytes = 0;
        continue;
      }
      bytes += call.frameBytes;
      call.written = true;
      frame.call(call.message(call.id, Math.max(1, Math.round(call.deadlineMs - nowMs))));
      next++;
    }
    if (!frame.empty) this.#write(frame);
    this.#queue = next === queue.length ? [] : queue.slice(next);
  };

  #write(frame: FrameWriter): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    const bytes = frame.finish();
    this.#unwrittenBytes += bytes.length;
    const taken = stream.write(bytes, () => {
      if (stream !== this.#stream) return;
      this.#unwrittenBytes -= bytes.length;
      if (
        this.#pushedBack &&
        !stream.writableNeedDrain &&
        this.#unwrittenBytes <= MAX_UNWRITTEN_BYTES / 2
      ) {
        this.#pushedBack = false;
        this.#scheduleFlush();
      }
    });
    if (!taken || this.#unwrittenBytes > MAX_UNWRITTEN_BYTES) this.#pushedBack = true;
  }

  #scheduleSweep(): void {
    this.#sweeping = true;
    this.#options.timers.after(SWEEP_EVERY_MS, this.#sweep);
  }

  readonly #sweep = (): void => {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs >= this.#earliestDeadlineMs) {
      let earliestMs = Infinity;
      for (const call of this.#calls.values()) {
        if (call.deadlineMs > nowMs) {
          if (call.deadlineMs < earliestMs) earliestMs = call.deadlineMs;
          continue;
        }
        this.#forget(call);
        const what = call.written ? 'no answer from' : 'not sent to';
        this.#failLater(
          call,
          'TIMED_OUT',
          `${what} ${this.#options.endpoint} by the deadline`,
          call.written,
        );
      }
      this.#earliestDeadlineMs = earliestMs;
    }
    if (this.#calls.size > 0) this.#scheduleSweep();
    else this.#sweeping = false;
  };
}

function closedState(code: ErrorCode, message: string, fatal: boolean): LinkState {
  return { kind: 'closed', code, message, fatal };
}
