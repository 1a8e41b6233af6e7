import type { ServerDuplexStream } from '@grpc/grpc-js';
import { invalidArgument, type ErrorCode, type KvError } from '../core/errors.js';
import { FRAME_CUT_BYTES } from '../core/limits.js';
import type { Log } from '../io/log.js';
import type { Lives } from '../io/peer.js';
import type { Timers } from '../io/timers.js';
import { CallsById } from './calls-by-id.js';
import { FrameWriter, type OutgoingAnswer } from './frame-writer.js';
import { v1 } from './messages.js';
import { codeToWire, toGrpcStatus } from './status.js';

/** Beyond this much unanswered or unwritten the stream is not read further, until half of it is done. */
const PAUSE_AT_CALLS = 8_192;
const PAUSE_AT_BYTES = 32 * 1024 * 1024;
const PAUSE_AT_UNWRITTEN_BYTES = 8 * 1024 * 1024;
/** Frames may still hold more; beyond this much a call is refused, and a read answered with OVERLOADED. */
const MAX_CALLS = 4 * PAUSE_AT_CALLS;
const MAX_UNWRITTEN_BYTES = 8 * PAUSE_AT_UNWRITTEN_BYTES;
/** What surrounds the bytes of an answer: tags, lengths, numbers. */
const ANSWER_OVERHEAD_BYTES = 64;
/** A rough size for what is rare in an answer. */
const RECEIPT_BYTES = 1_024;

/** What serves the calls of one kind of channel. */
export interface ChannelHost {
  /** The id of this node. */
  readonly nodeId: string;
  /** Of a channel between nodes: what its frames say of this one beside the answers. */
  readonly sender?: FrameSender;
  /** Judges a greeting: the welcome it gets, or the refusal that ends the stream. */
  greet(hello: v1.Hello): v1.Welcome.$Properties | KvError;
  /**
   * Starts a call: exactly one `channel.answer` with its id follows, now or later. The bytes of the call are views of the
   * frame that brought it: whoever keeps some for long copies them. Returns what can be cancelled, if anything.
   */
  start(call: v1.Call, channel: ServerChannel): CancellableCall | undefined;
}

/** What frames between nodes say of their sender. */
export interface FrameSender {
  /** One object until something of it changes. */
  readonly lives: Lives;
  readonly commitCounter: number;
}

export interface CancellableCall {
  /** Nobody waits any more. An answer may still follow. */
  cancel(): void;
}

export interface ChannelPorts {
  readonly timers: Timers;
  readonly log: Log;
}

interface RunningCall {
  readonly id: number;
  readonly bytes: number;
  started: CancellableCall | undefined;
}

export type ChannelStream = ServerDuplexStream<Buffer, Buffer>;

/** One client's stream, as the server sees it: takes calls, gathers answers. */
export class ServerChannel {
  readonly #stream: ChannelStream;
  readonly #host: ChannelHost;
  readonly #timers: Timers;
  readonly #log: Log;
  readonly #onEnd: (channel: ServerChannel) => void;
  #peerNodeId = '';
  /** What the other side has been told last. */
  #toldLives: Lives | undefined;
  #greeted = false;
  /** No further call is taken; the stream ends when those under way are answered. */
  #closing = false;
  #ended = false;
  readonly #running = new CallsById<RunningCall>();
  #runningBytes = 0;
  #answers: OutgoingAnswer[] = [];
  #gatheredBytes = 0;
  /** The lives that the node knew of when it gave the gathered answers. */
  #gatheredUnder: Lives | undefined;
  #flushing = false;
  #unwrittenBytes = 0;
  #paused = false;

  constructor(
    stream: ChannelStream,
    host: ChannelHost,
    { timers, log }: ChannelPorts,
    onEnd: (channel: ServerChannel) => void,
  ) {
    this.#stream = stream;
    this.#host = host;
    this.#timers = timers;
    this.#log = log;
    this.#onEnd = onEnd;
    stream.on('data', (bytes: Buffer) => this.#onFrame(bytes));
    // The client has no more to ask; what it has asked is still answered.
    stream.on('end', () => this.#close());
    stream.on('cancelled', () => this.#abandon());
    stream.on('error', () => this.#abandon());
  }

  /** The node at the other end; empty for an SDK. */
  get peerNodeId(): string {
    return this.#peerNodeId;
  }

  get inFlight(): number {
    return this.#running.size;
  }

  /** Sends the answer with whatever else is ready in this turn. Harmless when nobody waits for it. */
  answer(answer: OutgoingAnswer): void {
    if (this.#ended) return;
    const id = answer.id ?? 0;
    const running = this.#running.get(id);
    if (running === undefined) return;
    // What was answered in one life must not arrive under the name of the next.
    if (this.#answers.length > 0 && this.#host.sender?.lives !== this.#gatheredUnder) this.#send();
    if (this.#answers.length === 0) this.#gatheredUnder = this.#host.sender?.lives;
    this.#running.delete(id);
    this.#runningBytes -= running.bytes;
    const heavy = answer.record !== undefined || answer.body !== undefined;
    if (heavy && this.#unwrittenBytes + this.#gatheredBytes > MAX_UNWRITTEN_BYTES) {
      this.#answers.push(this.#refusal(id, 'OVERLOADED', 'answers are read too slowly'));
    } else {
      this.#gatheredBytes += answerBytes(answer);
      this.#answers.push(answer);
    }
    if (!this.#flushing) {
      this.#flushing = true;
      this.#timers.turn(this.#flush);
    }
  }

  /** Forgets the call without an answer, as a network does that loses it. */
  swallow(id: number): void {
    const running = this.#running.get(id);
    if (running === undefined) return;
    this.#running.delete(id);
    this.#runningBytes -= running.bytes;
    this.#settleFlow();
  }

  /** Tells the client that no further call is taken, answers those under way, and ends the stream. */
  drain(): void {
    if (this.#closing || this.#ended) return;
    if (this.#greeted) {
      // Nothing of lives: what has gathered is still to be sent under those that it was answered in.
      const frame = this.#newFrame(undefined);
      frame.closing();
      this.#write(frame);
    }
    this.#close();
  }

  #onFrame(bytes: Buffer): void {
    if (this.#ended) return;
    let frame: v1.CallFrame;
    try {
      frame = v1.CallFrame.decode(bytes);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#refuse(invalidArgument('frame', `not a valid quorate.v1.CallFrame (${reason})`));
      return;
    }
    if (!this.#greeted) {
      if (!frame.hello) {
        this.#refuse(invalidArgument('hello', 'the first frame of a channel must carry it'));
        return;
      }
      if (!this.#greet(frame.hello as v1.Hello)) return;
    } else if (frame.hello) {
      this.#refuse(invalidArgument('hello', 'only the first frame of a channel may carry it'));
      return;
    }
    const { calls, cancelled } = frame;
    for (let i = 0; i < calls.length && !this.#ended; i++) this.#start(calls[i] as v1.Call);
    for (let i = 0; i < cancelled.length; i++) {
      this.#running.get(cancelled[i] as number)?.started?.cancel();
    }
    this.#settleFlow();
  }

  #greet(hello: v1.Hello): boolean {
    const welcome = this.#host.greet(hello);
    if (welcome instanceof Error) {
      this.#refuse(welcome);
      return false;
    }
    this.#greeted = true;
    this.#peerNodeId = hello.nodeId;
    this.#write(this.#newFrame(this.#host.sender?.lives).welcome(welcome));
    return true;
  }

  #start(call: v1.Call): void {
    const { id } = call;
    if (id === 0 || this.#running.has(id)) {
      this.#refuse(
        invalidArgument('calls.id', id === 0 ? 'must not be 0' : `${id} is under way already`),
      );
      return;
    }
    const bytes = call.key.length + call.record.length + call.body.length;
    const running: RunningCall = { id, bytes, started: undefined };
    this.#running.add(running);
    this.#runningBytes += bytes;
    if (this.#closing) {
      this.answer(this.#refusal(id, 'UNAVAILABLE', 'it is stopping'));
    } else if (this.#running.size > MAX_CALLS) {
      this.answer(
        this.#refusal(id, 'OVERLOADED', `${MAX_CALLS} calls of this channel are under way`),
      );
    } else {
      running.started = this.#startSafely(call);
    }
  }

  /** A defect in one call must not take down the others. */
  #startSafely(call: v1.Call): CancellableCall | undefined {
    try {
      return this.#host.start(call, this);
    } catch (error) {
      this.#log.error({ err: error }, 'a call of a channel failed unexpectedly');
      this.answer({
        id: call.id,
        code: codeToWire('INTERNAL'),
        outcome: v1.Outcome.UNKNOWN,
        message: `node ${this.#host.nodeId}: ${String(error)}`,
      });
      return undefined;
    }
  }

  #refusal(id: number, code: ErrorCode, why: string): OutgoingAnswer {
    return { id, code: codeToWire(code), message: `node ${this.#host.nodeId}: ${why}` };
  }

  readonly #flush = (): void => {
    this.#flushing = false;
    if (this.#ended) return;
    this.#send();
    this.#settleFlow();
  };

  /** Cuts what has gathered into frames. */
  #send(): void {
    const answers = this.#answers;
    if (answers.length === 0) return;
    this.#answers = [];
    this.#gatheredBytes = 0;
    let frame = this.#newFrame(this.#gatheredUnder);
    let bytes = 0;
    for (let i = 0; i < answers.length; i++) {
      const answer = answers[i] as OutgoingAnswer;
      const size = answerBytes(answer);
      if (bytes > 0 && bytes + size > FRAME_CUT_BYTES) {
        this.#write(frame);
        frame = this.#newFrame(this.#gatheredUnder);
        bytes = 0;
      }
      bytes += size;
      frame.answer(answer);
    }
    this.#write(frame);
  }

  /** A frame that says of this node what the other side must know before it reads the answers. */
  #newFrame(lives: Lives | undefined): FrameWriter {
    const frame = new FrameWriter();
    if (this.#host.sender === undefined) return frame;
    frame.commitCounter(this.#host.sender.commitCounter);
    if (lives !== undefined && lives !== this.#toldLives) {
      this.#toldLives = lives;
      frame.lives(lives);
    }
    return frame;
  }

  #write(frame: FrameWriter): void {
    const bytes = frame.finish();
    this.#unwrittenBytes += bytes.length;
    this.#stream.write(bytes, () => {
      this.#unwrittenBytes -= bytes.length;
      if (this.#paused) this.#settleFlow();
    });
  }

  /** Reads on or not, by what is unanswered and unwritten; ends the stream where that was all. */
  #settleFlow(): void {
    if (this.#ended) return;
    const calls = this.#running.size;
    if (this.#closing && calls === 0 && this.#answers.length === 0) {
      this.#finish();
      this.#stream.end();
      return;
    }
    const share = Math.max(
      calls / PAUSE_AT_CALLS,
      this.#runningBytes / PAUSE_AT_BYTES,
      this.#unwrittenBytes / PAUSE_AT_UNWRITTEN_BYTES,
    );
    if (!this.#paused && share >= 1) {
      this.#paused = true;
      this.#stream.pause();
    } else if (this.#paused && share <= 0.5) {
      this.#paused = false;
      this.#stream.resume();
    }
  }

  #close(): void {
    this.#closing = true;
    this.#settleFlow();
  }

  /** Ends the stream with an error of ours. */
  #refuse(error: KvError): void {
    if (this.#ended) return;
    const status = toGrpcStatus(error, this.#host.nodeId);
    this.#log.warn({ code: error.code, from: this.#stream.getPeer() }, status.details);
    this.#abandon();
    this.#stream.emit('error', status);
  }

  /** Nobody waits for anything any more. */
  #abandon(): void {
    if (this.#ended) return;
    this.#finish();
    for (const { started } of this.#running.list()) started?.cancel();
    this.#running.clear();
  }

  #finish(): void {
    this.#ended = true;
    this.#answers = [];
    // What still arrives is read and dropped, so that the connection does not stall on it.
    this.#stream.resume();
    this.#onEnd(this);
  }
}

function answerBytes(answer: OutgoingAnswer): number {
  return (
    ANSWER_OVERHEAD_BYTES +
    (answer.record?.length ?? 0) +
    (answer.header?.length ?? 0) +
    (answer.body?.length ?? 0) +
    (answer.message?.length ?? 0) * 3 +
    (answer.receipt ? RECEIPT_BYTES : 0)
  );
}
