import type { Clock } from '../io/clock.js';
import type { Peer, ReplicaFailure } from '../io/peer.js';
import { sleep, type Timers } from '../io/timers.js';
import { CopyFlow, type Copy, type CopyEnd, type KeyToCopy } from './copy-flow.js';
import type { KeyDifference } from './key-difference.js';
import type { Pace } from './pace.js';

/** Copies under way at once. */
const MAX_WINDOW = 256;
/** The most while the node has work in the foreground. */
const BUSY_WINDOW = 4;
/** How long it waits before it asks again one who had too much to do. */
const OVERLOAD_PAUSE_MS = 20;
/** Ids, deadline, lengths: about what a call, and an answer, costs on the wire beside key and record. */
const CALL_BYTES = 20;
const ANSWER_BYTES = 8;

/** What became of copies: those of one partition share one. */
export interface CopyCounts {
  /** The own replica took it, or had as new a record by then. */
  pulled: number;
  /** The same for the peer. */
  pushed: number;
  /** Not taken, because the replica has committed a fence that the holder has not. */
  fenced: number;
  /** One of the two cannot read the key; or a list of keys, which counts once. */
  corrupt: number;
}

/** What went over the wire, about. */
export interface Traffic {
  /** Requests other than copies. */
  asks: number;
  bytesSent: number;
  bytesReceived: number;
  /** Of that, bytes of the records that were copied, either way. */
  recordBytes: number;
}

export interface CopyWindowOptions {
  readonly self: Peer;
  readonly peer: Peer;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly placementVersion: number;
  readonly pace: Pace;
  readonly traffic: Traffic;
  /** A copy failed in a way that ends the exchange. */
  readonly onFailure: (nodeId: string, failure: ReplicaFailure) => void;
}

/** Brings to each of two replicas what is newer on the other, and counts what became of it. */
export class CopyWindow {
  readonly #options: CopyWindowOptions;
  readonly #flow: CopyFlow<CopyGroup>;
  readonly #groups = new Set<CopyGroup>();
  /** Taken from the end. */
  #waiting: KeyToCopy<CopyGroup>[] = [];
  #isStopped = false;

  constructor(options: CopyWindowOptions) {
    this.#options = options;
    const { clock, pace, placementVersion } = options;
    this.#flow = new CopyFlow({
      clock,
      pace,
      placementVersion: () => placementVersion,
      maxWindow: MAX_WINDOW,
      busyWindow: BUSY_WINDOW,
      next: () => this.#waiting.pop(),
      onEnd: (copy, end) => this.#onEnd(copy, end),
    });
  }

  /** Resolves when each of the keys was copied, or could not be, or the window was stopped. */
  copy(keys: readonly KeyDifference[], counts: CopyCounts): Promise<void> {
    if (keys.length === 0 || this.#isStopped) return Promise.resolve();
    const { self, peer } = this.#options;
    return new Promise((resolve) => {
      const of: CopyGroup = { counts, left: keys.length, resolve };
      for (const { key, keyHash, winner } of keys) {
        const [from, to] = winner === 'own' ? [self, peer] : [peer, self];
        this.#waiting.push({ of, key, keyHash, from, to });
      }
      this.#groups.add(of);
      this.#flow.pump();
    });
  }

  /** Starts nothing more, and lets go of whoever waits. What is under way may still be answered, and counts no more. */
  stop(): void {
    this.#isStopped = true;
    this.#flow.stop();
    this.#waiting = [];
    for (const { resolve } of this.#groups) resolve();
    this.#groups.clear();
  }

  #onEnd(copy: Copy<CopyGroup>, end: CopyEnd): void {
    if (this.#isStopped) return;
    const isPull = copy.from === this.#options.peer;
    this.#countTraffic(copy, isPull);
    const { counts } = copy.of;
    if (end === 'taken') {
      if (isPull) counts.pulled += 1;
      else counts.pushed += 1;
      this.#options.traffic.recordBytes += copy.record.length;
    } else if (end !== 'absent') {
      if (this.#isRetried(copy, end)) return;
    }
    // Absent: it went while it waited, so there is nothing to copy.
    copy.of.left -= 1;
    if (copy.of.left > 0) return;
    this.#groups.delete(copy.of);
    copy.of.resolve();
  }

  #countTraffic({ key, record }: Copy<CopyGroup>, isPull: boolean): void {
    const { traffic } = this.#options;
    if (isPull) {
      traffic.bytesSent += key.length + CALL_BYTES;
      traffic.bytesReceived += record.length + ANSWER_BYTES;
    } else if (record.length > 0) {
      traffic.bytesSent += key.length + record.length + CALL_BYTES;
      traffic.bytesReceived += ANSWER_BYTES;
    }
  }

  /** Judges a failure; true when the key waits for another try. */
  #isRetried(copy: Copy<CopyGroup>, failure: ReplicaFailure): boolean {
    const { onFailure, timers } = this.#options;
    const { counts } = copy.of;
    const { kind, code } = failure;
    if (kind === 'refused' && code === 'OVERLOADED') {
      this.#waiting.push(copy.again);
      void this.#flow.pause(sleep(timers, OVERLOAD_PAUSE_MS));
      return true;
    }
    if (kind === 'refused' && code === 'RECORD_CORRUPT') counts.corrupt += 1;
    else if (kind === 'refused' && code === 'REFUSED') counts.fenced += 1;
    else onFailure(copy.answeredBy.nodeId, failure);
    return false;
  }
}

interface CopyGroup {
  readonly counts: CopyCounts;
  left: number;
  readonly resolve: () => void;
}
