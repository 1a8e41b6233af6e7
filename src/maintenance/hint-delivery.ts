import { hash32 } from '../core/hash.js';
import type { ErrorCode } from '../core/errors.js';
import type { Clock } from '../io/clock.js';
import type { Peer, ReplicaFailure } from '../io/peer.js';
import type { Log } from '../io/log.js';
import type { Timers } from '../io/timers.js';
import type { Hints } from '../replica/hints.js';
import { keyOfMark, type Mark } from '../replica/owed-keys.js';
import { CopyFlow, type Copy, type CopyEnd, type KeyToCopy } from './copy-flow.js';
import { Pace } from './pace.js';

/** How often targets are looked at again that did not take what they are owed. */
const LOOK_MS = 500;
/** Records under way to one target, and while this node has requests to serve. */
const MAX_WINDOW = 512;
const BUSY_WINDOW = 256;
/** A node that has come back is to have what it missed soon: it rests a quarter as long as it delivers. */
const REST_SHARE = 0.25;

/** Why a call was refused that may be taken another time. Anything else is for good. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'UNAVAILABLE',
  'OVERLOADED',
  'TIMED_OUT',
  'STORE_FAILED',
  'PLACEMENT_CHANGED',
]);

/** The replica that keeps the hints. */
export interface HintKeeper extends Peer {
  readonly hints: Hints;
  /** Why its disk takes no writes; undefined while it does. */
  readonly problem: string | undefined;
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
  readonly log: Log;
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
 * just come back is never buried; and a node with requests to serve rests now and then.
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
  readonly #pace: Pace;
  readonly #flow: CopyFlow<Mark>;
  /** It waits for the next look. */
  #isHeldUp = false;
  /** Keys brought since the target came back; undefined: it has been brought all that it had missed. */
  #brought: number | undefined;

  constructor(
    readonly peer: Peer,
    readonly options: HintDeliveryOptions,
  ) {
    const { clock, timers, busy, placementVersion } = options;
    this.#pace = new Pace(clock, timers, busy, REST_SHARE);
    this.#flow = new CopyFlow({
      clock,
      pace: this.#pace,
      placementVersion,
      maxWindow: MAX_WINDOW,
      busyWindow: BUSY_WINDOW,
      next: () => this.#next(),
      onEnd: (copy, end) => this.#onEnd(copy, end),
    });
  }

  start(isNewConnection: boolean): void {
    this.#isHeldUp = false;
    if (isNewConnection) {
      this.#flow.reset();
      this.#brought = 0;
    }
    if (this.#flow.isIdle) this.#pace.begin();
    this.#flow.pump();
  }

  stop(): void {
    this.#flow.stop();
  }

  #next(): KeyToCopy<Mark> | undefined {
    const { peer, options } = this;
    const { keeper } = options;
    if (this.#isHeldUp || !peer.connected || keeper.problem !== undefined) return undefined;
    const of = keeper.hints.take(peer.nodeId);
    if (of === undefined) return undefined;
    const key = keyOfMark(of);
    return { of, key, keyHash: hash32(key), from: keeper, to: peer };
  }

  #onEnd(copy: Copy<Mark>, end: CopyEnd): void {
    const { hints } = this.options.keeper;
    const { nodeId } = this.peer;
    if (end === 'taken') {
      hints.settle(nodeId, copy.of);
      if (this.#brought !== undefined) this.#brought += 1;
    } else if (end === 'absent' || this.#isForGood(copy, end)) {
      // Gone under a fence, damaged, or nothing that sending it again would change.
      hints.drop(nodeId, copy.of);
    } else {
      hints.giveBack(nodeId, copy.of);
      this.#isHeldUp = true;
    }
    if (hints.owedTo(nodeId) === 0) this.#tell();
  }

  /** Once after it has come back: later misses are single ones, and told of elsewhere. */
  #tell(): void {
    const keys = this.#brought ?? 0;
    this.#brought = undefined;
    if (keys === 0) return;
    const { nodeId } = this.peer;
    this.options.log.info({ peer: nodeId, keys }, `${nodeId} has the ${keys} keys that it missed`);
  }

  #isForGood(copy: Copy<Mark>, { kind, code }: ReplicaFailure): boolean {
    const { keeper } = this.options;
    if (copy.answeredBy !== keeper) return kind === 'refused' && !PASSING.has(code);
    // One block of its disk may be damaged, and the rest of it sound.
    return !PASSING.has(code) || (code === 'STORE_FAILED' && keeper.problem === undefined);
  }
}
