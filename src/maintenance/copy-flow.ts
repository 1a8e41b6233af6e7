import { AimdWindow } from '../core/aimd-window.js';
import { NO_FENCE } from '../core/fence.js';
import type { ErrorCode } from '../core/errors.js';
import type { Clock } from '../io/clock.js';
import {
  isReplicaFailure,
  type ApplyAnswer,
  type ApplyCall,
  type Peer,
  type ReadAnswer,
  type ReadCall,
  type ReplicaFailure,
} from '../io/peer.js';
import type { Pace } from './pace.js';

const MIN_WINDOW = 16;
/** Records that are being read at once: how large they are is only guessed at. */
const MAX_READING = 128;
/** About how many bytes of records are under way at once; a single one of any size is let through. */
const MAX_BYTES = 2 * 1024 * 1024;
/** What has been learnt of the size of records is forgotten by so much with each. */
const FORGETTING = 0.98;
/** An answer that takes longer says that the receiver has too much to do. */
const SLOW_MS = 100;
const TIMEOUT_MS = 5_000;
/** Refusals of one record, which say nothing of how much the receiver has to do. */
const OF_THE_KEY: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['REFUSED', 'RECORD_CORRUPT']);

const NO_BYTES = new Uint8Array(0);

/** A key that one replica has and another lacks; `of` is whatever its owner wants to know of it. */
export interface KeyToCopy<T> {
  readonly of: T;
  readonly key: Uint8Array;
  readonly keyHash: number;
  readonly from: Peer;
  readonly to: Peer;
}

/** `taken`: the receiver has it on disk, or what is as new. `absent`: there was nothing to copy any more. */
export type CopyEnd = 'taken' | 'absent' | ReplicaFailure;

export interface CopyFlowOptions<T> {
  readonly clock: Clock;
  readonly pace: Pace;
  readonly placementVersion: () => number;
  /** The most copies under way, and the most while the node has work in the foreground. */
  readonly maxWindow: number;
  readonly busyWindow: number;
  /** The next key to be copied; undefined: there is none now. */
  readonly next: () => KeyToCopy<T> | undefined;
  /** Follows once for each key that `next` gave, unless the flow is stopped before. */
  readonly onEnd: (copy: Copy<T>, end: CopyEnd) => void;
}

/**
 * Brings records from replicas to others, many at once and never too many: how many follows how the receivers answer
 * (core/aimd-window.ts), so that one that is slow or has just come back is never buried. A record is read when its turn comes,
 * so what travels is never older than what was found to be missing; it goes with the committed fence of its holder.
 */
export class CopyFlow<T> {
  readonly #options: CopyFlowOptions<T>;
  readonly #window: AimdWindow;
  #reading = 0;
  #sending = 0;
  #sendingBytes = 0;
  /** A record lately seen is at most about this large. */
  #recordBytes = 1;
  #isPaused = false;
  #isStopped = false;

  constructor(options: CopyFlowOptions<T>) {
    this.#options = options;
    this.#window = new AimdWindow(MIN_WINDOW, options.maxWindow);
  }

  get isIdle(): boolean {
    return this.#underWay === 0 && !this.#isPaused;
  }

  /** What was learnt of the receiver was of another connection. */
  reset(): void {
    this.#window.reset();
  }

  /** Begins as many as may be under way. To be called when there may be more to copy. */
  pump(): void {
    while (this.#mayBegin()) {
      const next = this.#options.next();
      if (next === undefined) return;
      this.#reading += 1;
      new Copy(this, next).read(this.#options.clock.monotonicMs());
    }
  }

  /** Begins nothing before that. */
  async pause(until: Promise<void>): Promise<void> {
    if (this.#isPaused) return;
    this.#isPaused = true;
    await until;
    this.#isPaused = false;
    this.pump();
  }

  /** Begins nothing more, and lets nothing go on that is only read so far. What was sent may still be answered. */
  stop(): void {
    this.#isStopped = true;
  }

  get placementVersion(): number {
    return this.#options.placementVersion();
  }

  /** Of a {@link Copy} only. */
  onRead(copy: Copy<T>, answer: ReadAnswer): void {
    this.#reading -= 1;
    if (this.#isStopped) return;
    if (answer.kind === 'found' && answer.record !== undefined) {
      const bytes = answer.record.length;
      this.#recordBytes = Math.max(bytes, this.#recordBytes * FORGETTING);
      this.#sending += 1;
      this.#sendingBytes += bytes;
      copy.send(answer.record, answer.fence ?? NO_FENCE, this.#options.clock.monotonicMs());
    } else {
      this.#options.onEnd(copy, isReplicaFailure(answer) ? answer : 'absent');
      this.pump();
    }
  }

  /** Of a {@link Copy} only. */
  onApplied(copy: Copy<T>, answer: ApplyAnswer): void {
    this.#sending -= 1;
    this.#sendingBytes -= copy.record.length;
    const nowMs = this.#options.clock.monotonicMs();
    const isSlow = nowMs - copy.sentAtMs > SLOW_MS;
    const isTrouble = isReplicaFailure(answer) && !OF_THE_KEY.has(answer.code);
    if (isSlow || isTrouble) this.#window.cut(copy.sentAtMs, nowMs);
    else this.#window.grow();
    this.#options.onEnd(copy, isReplicaFailure(answer) ? answer : 'taken');
    this.pump();
  }

  get #underWay(): number {
    return this.#reading + this.#sending;
  }

  #mayBegin(): boolean {
    if (this.#isStopped || this.#isPaused || this.#reading >= MAX_READING) return false;
    const { pace, busyWindow } = this.#options;
    const window = pace.busy ? Math.min(busyWindow, this.#window.size) : this.#window.size;
    if (this.#underWay >= window) return false;
    const bytes = this.#sendingBytes + (this.#reading + 1) * this.#recordBytes;
    if (bytes > MAX_BYTES && this.#underWay > 0) return false;
    const rest = pace.rest();
    if (rest !== undefined) void this.pause(rest);
    return rest === undefined;
  }
}

/** One key on its way: the call that it is read with, then the call that it is applied with. */
export class Copy<T> implements ReadCall, ApplyCall {
  readonly of: T;
  readonly key: Uint8Array;
  readonly keyHash: number;
  readonly source = 'copy';
  readonly traceparent = NO_BYTES;
  readonly placementVersion: number;
  /** Empty until it has been read. */
  record: Uint8Array = NO_BYTES;
  fence: Uint8Array = NO_FENCE;
  sentAtMs = 0;

  constructor(
    private readonly flow: CopyFlow<T>,
    /** To be given again where it is to be tried again. */
    readonly again: KeyToCopy<T>,
  ) {
    this.of = again.of;
    this.key = again.key;
    this.keyHash = again.keyHash;
    this.placementVersion = flow.placementVersion;
  }

  get from(): Peer {
    return this.again.from;
  }

  get deadlineMs(): number {
    return this.sentAtMs + TIMEOUT_MS;
  }

  /** The replica that has answered last. */
  get answeredBy(): Peer {
    return this.record.length === 0 ? this.again.from : this.again.to;
  }

  read(nowMs: number): void {
    this.sentAtMs = nowMs;
    this.again.from.read(this, 0, 'record');
  }

  send(record: Uint8Array, fence: Uint8Array, nowMs: number): void {
    this.record = record;
    this.fence = fence;
    this.sentAtMs = nowMs;
    this.again.to.apply(this, 0);
  }

  onRead(_slot: number, answer: ReadAnswer): void {
    this.flow.onRead(this, answer);
  }

  onApplied(_slot: number, answer: ApplyAnswer): void {
    this.flow.onApplied(this, answer);
  }
}
