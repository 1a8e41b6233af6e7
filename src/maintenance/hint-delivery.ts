import { AimdWindow } from '../core/aimd-window.js';
import { NO_FENCE } from '../core/fence.js';
import { hash32 } from '../core/hash.js';
import type { ErrorCode } from '../core/errors.js';
import type { Clock } from '../io/clock.js';
import {
  isReplicaFailure,
  type ApplyAnswer,
  type ApplyCall,
  type Peer,
  type ReadAnswer,
  type ReadCall,
} from '../io/peer.js';
import type { Timers } from '../io/timers.js';
import type { Hints } from '../replica/hints.js';
import { keyOfMark, type Mark } from '../replica/owed-keys.js';
import { Pace } from './pace.js';

/** How often targets are looked at again that did not take what they are owed. */
const LOOK_MS = 500;
const TIMEOUT_MS = 5_000;
/** Records under way to one target. */
const MIN_WINDOW = 16;
const MAX_WINDOW = 512;
/** While this node has requests to serve. */
const BUSY_WINDOW = 64;
/** An answer that takes longer says that the target has too much to do. */
const SLOW_MS = 100;
/** Records read at once: their sizes are not known before, and each may have a MiB. */
const MAX_READING = 64;
/** Bytes of records under way to one target, unless one alone has more. */
const MAX_BYTES = 2 * 1024 * 1024;

/** Why a call was refused that may be taken another time. Anything else is for good. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'UNAVAILABLE',
  'OVERLOADED',
  'TIMED_OUT',
  'STORE_FAILED',
  'PLACEMENT_CHANGED',
]);

/** The replica that keeps the hints. */
export interface HintKeeper {
  readonly hints: Hints;
  /** Why its disk takes no writes; undefined while it does. */
  readonly problem: string | undefined;
  read(call: ReadCall, slot: number, part: 'record'): void;
}

export interface HintDeliveryOptions {
  readonly keeper: HintKeeper;
  /** The way to a member; undefined for who is none. */
  readonly peerOf: (nodeId: string) => Peer | undefined;
  readonly placementVersion: () => number;
  /** Whether the node has work in the foreground now. */
  readonly busy: () => boolean;
  readonly clock: Clock;
  readonly timers: Timers;
}

export interface HintDelivery {
  /** The node has come back: what it is owed goes there now. */
  onConnected(nodeId: string): void;
  /** Begins nothing more. What is under way may still be answered. */
  stop(): void;
}

/**
 * Brings other replicas what they are owed, when they can be reached: the record as it is now, as a copy under this replica's
 * committed fence. How much is under way follows how the target answers (core/aimd-window.ts), so that one that is slow or has
 * just come back is never buried; and a node with requests to serve rests for as long as it delivers.
 */
export function startHintDelivery(options: HintDeliveryOptions): HintDelivery {
  const { keeper, timers } = options;
  const deliveries = new Map<string, TargetDelivery>();

  const deliver = (nodeId: string, isNewConnection: boolean): void => {
    const peer = options.peerOf(nodeId);
    if (peer === undefined) {
      keeper.hints.forsake(nodeId);
      return;
    }
    let delivery = deliveries.get(nodeId);
    if (delivery === undefined) {
      delivery = new TargetDelivery(peer, options);
      deliveries.set(nodeId, delivery);
    }
    delivery.start(isNewConnection);
  };

  const stopLooking = timers.every(LOOK_MS, () => {
    for (const nodeId of keeper.hints.targets()) deliver(nodeId, false);
  });

  return {
    onConnected: (nodeId) => deliver(nodeId, true),
    stop() {
      stopLooking();
      for (const delivery of deliveries.values()) delivery.stop();
    },
  };
}

/** The way of marks to one target. */
class TargetDelivery {
  readonly #window = new AimdWindow(MIN_WINDOW, MAX_WINDOW);
  #reading = 0;
  #sending = 0;
  #sendingBytes = 0;
  /** Until the next look. */
  #isPaused = false;
  #isResting = false;
  #isStopped = false;
  #pace: Pace;

  constructor(
    readonly peer: Peer,
    readonly options: HintDeliveryOptions,
  ) {
    this.#pace = new Pace(options.clock, options.timers, options.busy);
  }

  start(isNewConnection: boolean): void {
    this.#isPaused = false;
    if (isNewConnection) this.#window.reset();
    if (this.#underWay === 0 && !this.#isResting) {
      const { clock, timers, busy } = this.options;
      this.#pace = new Pace(clock, timers, busy);
    }
    this.#fill();
  }

  stop(): void {
    this.#isStopped = true;
  }

  onRead(parcel: Parcel, answer: ReadAnswer): void {
    const { hints, problem } = this.options.keeper;
    this.#reading--;
    if (answer.kind === 'found' && answer.record !== undefined) {
      this.#sending++;
      this.#sendingBytes += answer.record.length;
      parcel.send(answer.record, answer.fence ?? NO_FENCE);
    } else if (isReplicaFailure(answer) && isPassing(answer.code, problem)) {
      hints.giveBack(this.peer.nodeId, parcel.mark);
      this.#isPaused = true;
    } else {
      // Gone under a fence, or damaged: this replica has nothing to give.
      hints.drop(this.peer.nodeId, parcel.mark);
    }
    this.#fill();
  }

  onApplied(parcel: Parcel, answer: ApplyAnswer): void {
    const { keeper, clock } = this.options;
    const nowMs = clock.monotonicMs();
    this.#sending--;
    this.#sendingBytes -= parcel.record.length;
    if (answer.kind === 'applied' || answer.kind === 'kept') {
      keeper.hints.settle(this.peer.nodeId, parcel.mark);
      if (nowMs - parcel.sentAtMs > SLOW_MS) this.#window.cut(parcel.sentAtMs, nowMs);
      else this.#window.grow();
    } else if (answer.kind === 'refused' && !PASSING.has(answer.code)) {
      // The target has a fence above it, or cannot take this record: nothing that sending it again would change.
      keeper.hints.drop(this.peer.nodeId, parcel.mark);
    } else {
      keeper.hints.giveBack(this.peer.nodeId, parcel.mark);
      this.#window.cut(parcel.sentAtMs, nowMs);
      this.#isPaused = true;
    }
    this.#fill();
  }

  /** Begins as many as may be under way. */
  #fill(): void {
    const { keeper } = this.options;
    while (this.#mayBegin()) {
      const mark = keeper.hints.take(this.peer.nodeId);
      if (mark === undefined) return;
      this.#reading++;
      new Parcel(this, mark).read();
    }
  }

  #mayBegin(): boolean {
    if (this.#isStopped || this.#isPaused || this.#isResting) return false;
    if (!this.peer.connected || this.options.keeper.problem !== undefined) return false;
    const { size } = this.#window;
    const window = this.#pace.busy ? Math.min(BUSY_WINDOW, size) : size;
    if (this.#underWay >= window || this.#reading >= MAX_READING) return false;
    return this.#sendingBytes < MAX_BYTES && !this.#rests();
  }

  #rests(): boolean {
    const rest = this.#pace.rest();
    if (rest !== undefined) void this.#restUntil(rest);
    return this.#isResting;
  }

  async #restUntil(rest: Promise<void>): Promise<void> {
    this.#isResting = true;
    await rest;
    this.#isResting = false;
    this.#fill();
  }

  get #underWay(): number {
    return this.#reading + this.#sending;
  }
}

/** Whether a replica that could not read the record now may be able to later: not where one block of its disk is damaged. */
function isPassing(code: ErrorCode, problem: string | undefined): boolean {
  return PASSING.has(code) && (code !== 'STORE_FAILED' || problem !== undefined);
}

const NO_BYTES = new Uint8Array(0);

/** One key on its way: read here, then applied there. */
class Parcel implements ReadCall, ApplyCall {
  readonly key: Uint8Array;
  readonly keyHash: number;
  readonly source = 'copy';
  readonly traceparent = NO_BYTES;
  readonly placementVersion: number;
  record: Uint8Array = NO_BYTES;
  fence: Uint8Array = NO_FENCE;
  deadlineMs = 0;
  sentAtMs = 0;

  constructor(
    private readonly delivery: TargetDelivery,
    readonly mark: Mark,
  ) {
    this.key = keyOfMark(mark);
    this.keyHash = hash32(this.key);
    this.placementVersion = delivery.options.placementVersion();
  }

  read(): void {
    this.#begin();
    this.delivery.options.keeper.read(this, 0, 'record');
  }

  send(record: Uint8Array, fence: Uint8Array): void {
    this.record = record;
    this.fence = fence;
    this.#begin();
    this.delivery.peer.apply(this, 0);
  }

  onRead(_slot: number, answer: ReadAnswer): void {
    this.delivery.onRead(this, answer);
  }

  onApplied(_slot: number, answer: ApplyAnswer): void {
    this.delivery.onApplied(this, answer);
  }

  #begin(): void {
    this.sentAtMs = this.delivery.options.clock.monotonicMs();
    this.deadlineMs = this.sentAtMs + TIMEOUT_MS;
  }
}
