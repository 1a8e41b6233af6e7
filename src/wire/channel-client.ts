import type { ErrorCode, KvError } from '../core/errors.js';
import { FRAME_CUT_BYTES, type Limits } from '../core/limits.js';
import type { Clock } from '../io/clock.js';
import type { LinkState, Welcome } from '../io/link.js';
import type { Lives } from '../io/peer.js';
import type { Random } from '../io/random.js';
import type { CancelTimer, Timers } from '../io/timers.js';
import { livesFromWire } from './ask-fields.js';
import { CallTable, DEFAULT_CHANNEL_BOUNDS, type ChannelBounds } from './call-table.js';
import { ClientStream, type ClientStreamListener } from './client-stream.js';
import { welcomeFromWire } from './codec.js';
import { FrameWriter } from './frame-writer.js';
import { checkWelcome } from './greeting.js';
import type { v1 } from './messages.js';
import type { OutgoingCall } from './outgoing-call.js';
import { toKvError } from './status.js';

const GREETING_TIMEOUT_MS = 5_000;
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 2_000;
/** A node that was refused may be mended while this one runs, so it is tried again, rarely. */
const REFUSED_RETRY_MS = 5_000;
/** Kept back from the time that is sent along, so that the other side's answer, which says more, is here in time. */
const MAX_HEAD_START_MS = 20;
/** The queue is cleared of settled calls when there are more of them than of others, and than this. */
const MAX_SETTLED_QUEUED = 1_024;

export interface ChannelClientOptions {
  /** `host:port`. */
  readonly endpoint: string;
  /** The gRPC path of the channel. */
  readonly path: string;
  readonly hello: v1.Hello.$Properties;
  /** Looks at the other side's welcome; an error closes the channel as refused. */
  readonly judge?: (welcome: Welcome) => KvError | undefined;
  readonly onState: (state: LinkState) => void;
  /**
   * Of a channel between nodes: what a frame says of its sender, before the answers in it are given out, and in the first
   * frame before the channel is open. `lives` is undefined in frames that say nothing new of them; a counter may be 0.
   */
  readonly onSender?: (lives: Lives | undefined, commitCounter: number) => void;
  /** Whether a refused channel (another cluster, another protocol) is tried again. Otherwise a refusal is fatal. */
  readonly retryRefused: boolean;
  readonly limits: Limits;
  readonly bounds?: ChannelBounds;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
}

/**
 * A long-lived stream to one node that carries many calls at once, and connects anew whenever it breaks. A call is
 * written at most once: what breaks before its answer is reported to the caller, who alone knows whether to repeat it.
 */
export class ChannelClient implements ClientStreamListener {
  readonly #options: ChannelClientOptions;
  readonly #calls: CallTable;
  #stream: ClientStream | undefined;
  #state: LinkState | undefined;
  #closed = false;

  /** When the greeting left for the network. */
  #greetedAtMs = 0;
  /** The other side has greeted on the present stream. */
  #greeted = false;
  #openedAtMs = 0;
  #failures = 0;
  #cancelRetry: CancelTimer | undefined;
  #cancelGreeting: CancelTimer | undefined;

  /** Not yet written. Calls settled meanwhile stay in it with id 0. */
  #queue: OutgoingCall[] = [];
  #cancelledIds: number[] = [];
  #flushing = false;

  constructor(options: ChannelClientOptions) {
    const { endpoint, bounds = DEFAULT_CHANNEL_BOUNDS, clock, timers } = options;
    this.#options = options;
    this.#calls = new CallTable({ endpoint, bounds, clock, timers });
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
    // While the other side takes nothing, calls come, wait, and fail at their deadlines.
    if (this.#queue.length > 2 * this.#calls.size + MAX_SETTLED_QUEUED) {
      this.#queue = this.#queue.filter(({ id }) => id !== 0);
    }
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
    this.#calls.fail(call, 'CANCELLED', 'the caller cancelled it');
  }

  /** The call under way for which `matches` holds. Not for the hot path: it looks at all of them. */
  find(matches: (call: OutgoingCall) => boolean): OutgoingCall | undefined {
    return this.#calls.find(matches);
  }

  /** Lets calls under way finish for up to `graceMs`, then closes; what is left fails as if the channel had broken. */
  async close(graceMs: number): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#state = closedState(
      'UNAVAILABLE',
      `the channel to ${this.#options.endpoint} was closed`,
      true,
    );
    this.#cancelRetry?.();
    await this.#calls.idle(graceMs);
    this.#disconnect(`the channel to ${this.#options.endpoint} was closed`);
  }

  onFrame(frame: v1.AnswerFrame): void {
    if (!this.#greeted && !this.#isWelcome(frame)) return;
    if (!this.#hears(frame)) return;
    if (!this.#greeted) this.#onWelcome(frame.welcome as v1.Welcome);
    const { answers } = frame;
    for (let i = 0; i < answers.length; i++) {
      const answer = answers[i] as v1.Answer;
      const call = this.#calls.get(answer.id);
      // Cancelled or past its deadline: its caller has been answered.
      if (call === undefined) continue;
      this.#calls.forget(call);
      call.answered(answer);
    }
    if (frame.closing && this.open) this.#onClosing();
  }

  onWritable(): void {
    this.#scheduleFlush();
  }

  onEnd(why: KvError): void {
    if (why.code === 'WRONG_CLUSTER' || why.code === 'INCOMPATIBLE') this.#refuse(why);
    else this.#break(why.message);
  }

  #connect(): void {
    const { endpoint, path, hello, limits, clock, timers } = this.#options;
    this.#greeted = false;
    this.#stream = new ClientStream({ endpoint, path, limits, listener: this });
    this.#greetedAtMs = clock.monotonicMs();
    this.#stream.write(new FrameWriter().hello(hello), () => {
      this.#greetedAtMs = clock.monotonicMs();
    });
    this.#cancelGreeting = timers.after(GREETING_TIMEOUT_MS, () => {
      this.#break(`${endpoint} did not greet within ${GREETING_TIMEOUT_MS} ms`);
    });
  }

  /** False when the channel goes no further. */
  #isWelcome(frame: v1.AnswerFrame): boolean {
    const { endpoint, judge } = this.#options;
    if (!frame.welcome) {
      this.#break(`${endpoint} did not greet in its first frame`);
      return false;
    }
    const refusal =
      checkWelcome(frame.welcome, endpoint) ?? judge?.(welcomeFromWire(frame.welcome));
    if (refusal !== undefined) this.#refuse(refusal);
    return refusal === undefined;
  }

  /** What the frame says of its sender. False when the channel goes no further. */
  #hears(frame: v1.AnswerFrame): boolean {
    const { endpoint, onSender } = this.#options;
    if (onSender === undefined) return true;
    let lives: Lives | undefined;
    try {
      lives = livesFromWire(frame);
    } catch (error) {
      this.#break(`${endpoint} sent a malformed frame (${toKvError(error).message})`);
      return false;
    }
    onSender(lives, frame.commitCounter);
    return true;
  }

  #onWelcome(welcome: v1.Welcome): void {
    this.#cancelGreeting?.();
    this.#greeted = true;
    this.#openedAtMs = this.#options.clock.monotonicMs();
    const roundTripMs = this.#openedAtMs - this.#greetedAtMs;
    this.#setState({ kind: 'open', welcome: welcomeFromWire(welcome), roundTripMs });
  }

  /** Calls that were written are still answered; then the other side ends the stream. */
  #onClosing(): void {
    const message = `${this.#options.endpoint} is stopping`;
    for (const call of this.#queue) {
      if (call.id !== 0) this.#calls.fail(call, 'UNAVAILABLE', message);
    }
    this.#queue = [];
    this.#setState(closedState('UNAVAILABLE', message, false));
  }

  #refuse({ code, message }: KvError): void {
    const { retryRefused } = this.#options;
    this.#disconnect(message);
    this.#setState(closedState(code, message, !retryRefused));
    if (retryRefused) this.#retryAfter(REFUSED_RETRY_MS);
  }

  #break(message: string): void {
    const { clock, random } = this.#options;
    // What stayed open for a while gets a fresh start; what breaks as soon as it opens does not.
    const stable = this.#greeted && clock.monotonicMs() - this.#openedAtMs > LAST_RETRY_MS;
    this.#failures = stable ? 0 : this.#failures + 1;
    this.#disconnect(message);
    this.#setState(closedState('UNAVAILABLE', message, false));
    const boundMs = Math.min(FIRST_RETRY_MS * 2 ** this.#failures, LAST_RETRY_MS);
    this.#retryAfter(boundMs * (0.5 + random.fraction() / 2));
  }

  #retryAfter(delayMs: number): void {
    if (this.#closed) return;
    this.#cancelRetry = this.#options.timers.after(delayMs, () => {
      if (!this.#closed) this.#connect();
    });
  }

  #disconnect(message: string): void {
    this.#cancelGreeting?.();
    this.#stream?.cancel();
    this.#stream = undefined;
    this.#queue = [];
    this.#cancelledIds = [];
    this.#calls.failAll('UNAVAILABLE', message);
  }

  #setState(state: LinkState): void {
    if (this.#closed) return;
    this.#state = state;
    this.#options.onState(state);
  }

  #admit(call: OutgoingCall): boolean {
    if (this.open) return this.#calls.admit(call);
    const state = this.#state;
    const why =
      state?.kind === 'closed' ? state.message : `${this.#options.endpoint} has not greeted yet`;
    const message = `not connected: ${why}`;
    this.#calls.failLater(call, 'UNAVAILABLE', message, call.written);
    return false;
  }

  #scheduleFlush(): void {
    if (this.#flushing || this.#stream === undefined || this.#stream.pushedBack) return;
    this.#flushing = true;
    this.#options.timers.turn(this.#flush);
  }

  /** Cuts what has gathered into frames and writes them for as long as the stream takes them. */
  readonly #flush = (): void => {
    this.#flushing = false;
    const stream = this.#stream;
    if (stream === undefined || stream.pushedBack) return;
    const nowMs = this.#options.clock.monotonicMs();
    const queue = this.#queue;
    let frame = new FrameWriter(roomFor(queue, 0));
    let frameBytes = 0;
    if (this.#cancelledIds.length > 0) {
      frame.cancelled(this.#cancelledIds);
      this.#cancelledIds = [];
    }
    let next = 0;
    for (; next < queue.length; next++) {
      const call = queue[next] as OutgoingCall;
      // Settled meanwhile, or about to be by the sweep: work past its deadline is dropped, not done.
      if (call.id === 0 || call.deadlineMs <= nowMs) continue;
      if (frameBytes > 0 && frameBytes + call.frameBytes > FRAME_CUT_BYTES) {
        stream.write(frame);
        frame = new FrameWriter(roomFor(queue, next));
        frameBytes = 0;
        if (stream.pushedBack) break;
      }
      frameBytes += call.frameBytes;
      call.written = true;
      frame.call(call.message(call.id, timeoutToSend(call.deadlineMs - nowMs)));
    }
    if (!frame.empty) stream.write(frame);
    this.#queue = next === queue.length ? [] : queue.slice(next);
  };
}

/** What the frame that begins with the call at `from` takes at the most, short of a cut within a call. */
function roomFor(queue: readonly OutgoingCall[], from: number): number {
  let bytes = 0;
  for (let i = from; i < queue.length && bytes < FRAME_CUT_BYTES; i++) {
    bytes += (queue[i] as OutgoingCall).frameBytes;
  }
  return bytes;
}

function timeoutToSend(leftMs: number): number {
  return Math.max(1, Math.floor(leftMs - Math.min(leftMs / 10, MAX_HEAD_START_MS)));
}

function closedState(code: ErrorCode, message: string, fatal: boolean): LinkState {
  return { kind: 'closed', code, message, fatal };
}
