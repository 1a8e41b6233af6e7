import { AimdWindow } from '../core/aimd-window.js';
import { NO_FENCE } from '../core/fence.js';
import type { Clock } from '../io/clock.js';
import type {
  ApplyAnswer,
  ApplyCall,
  Peer,
  ReadAnswer,
  ReadCall,
  ReplicaFailure,
} from '../io/peer.js';
import { sleep, type Timers } from '../io/timers.js';
import type { Pace } from './pace.js';

/** Copies under way at once. */
const MIN_WINDOW = 16;
const MAX_WINDOW = 256;
/** The most while the node has work in the foreground. */
const BUSY_WINDOW = 16;
/** About how many bytes of records are under way at once; a single one of any size is let through. */
const WINDOW_BYTES = 2 * 1024 * 1024;
const CALL_TIMEOUT_MS = 5_000;
/** How long it waits before it asks again one who had too much to do. */
const OVERLOAD_PAUSE_MS = 20;
/** Ids, deadline, lengths: about what a call, and an answer, costs on the wire beside key and record. */
const CALL_BYTES = 20;
const ANSWER_BYTES = 8;

const NO_BYTES = new Uint8Array(0);

/** What became of copies: those of one partition share one. */
export interface CopyCounts {
  /** The own replica took it, or had as new a record by then. */
  pulled: number;
  /** The same for the peer. */
  pushed: number;
  /** Not taken, because the replica has committed a fence that the holder has not. */
  fenced: number;
  /** One of the two cannot read the key. */
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

/**
 * Brings records from one replica to the other, either way: reads where it is newer, applies where it is older, many keys at
 * once and never too many. The holder's record is read when its turn comes, so what travels is never older than what was
 * compared; it goes with the committed fence of its holder.
 */
export class CopyWindow {
  readonly #options: CopyWindowOptions;
  readonly #groups = new Set<CopyGroup>();
  /** Taken from the end. */
  #waiting: KeyCopy[] = [];
  #underWay = 0;
  readonly #window = new AimdWindow(MIN_WINDOW, MAX_WINDOW);
  /** A record lately seen is at most about this large. */
  #recordBytes = 1;
  #paused = false;
  #stopped = false;

  constructor(options: CopyWindowOptions) {
    this.#options = options;
  }

  /** Resolves when each of the keys was copied, or could not be, or the window was stopped. */
  copy(keys: readonly KeyToCopy[], counts: CopyCounts): Promise<void> {
    if (keys.length === 0 || this.#stopped) return Promise.resolve();
    const { self, peer } = this.#options;
    return new Promise((resolve) => {
      const group: CopyGroup = { counts, left: keys.length, resolve };
      for (const { key, keyHash, winner } of keys) {
        const [from, to] = winner === 'own' ? [self, peer] : [peer, self];
        this.#waiting.push(new KeyCopy(this, group, key, keyHash, from, to));
      }
      this.#groups.add(group);
      this.#pump();
    });
  }

  /** Starts nothing more, and lets go of whoever waits. What is under way may still be answered, and counts no more. */
  stop(): void {
    this.#stopped = true;
    this.#waiting = [];
    for (const { resolve } of this.#groups) resolve();
    this.#groups.clear();
  }

  /** Of a {@link KeyCopy} only. */
  onRead(copy: KeyCopy, answer: ReadAnswer): void {
    const isPull = copy.from === this.#options.peer;
    const { traffic } = this.#options;
    if (isPull) traffic.bytesReceived += ANSWER_BYTES;
    if (answer.kind === 'found' && answer.record !== undefined) {
      const { record } = answer;
      const bytes = copy.key.length + record.length + CALL_BYTES;
      this.#recordBytes = Math.max(record.length, this.#recordBytes * 0.98);
      if (isPull) traffic.bytesReceived += record.length;
      if (!this.#stopped) {
        if (!isPull) traffic.bytesSent += bytes;
        copy.record = record;
        copy.fence = answer.fence ?? NO_FENCE;
        copy.to.apply(copy, 0);
        return;
      }
    } else if (answer.kind !== 'absent' && answer.kind !== 'found') {
      if (this.#isRetried(copy, copy.from.nodeId, answer)) return;
    }
    // Absent: it went while it waited, so there is nothing to copy.
    this.#finish(copy);
  }

  /** Of a {@link KeyCopy} only. */
  onApplied(copy: KeyCopy, answer: ApplyAnswer): void {
    const isPull = copy.from === this.#options.peer;
    if (!isPull) this.#options.traffic.bytesReceived += ANSWER_BYTES;
    const { record } = copy;
    copy.record = NO_BYTES;
    if (answer.kind === 'applied' || answer.kind === 'kept') {
      if (isPull) copy.group.counts.pulled += 1;
      else copy.group.counts.pushed += 1;
      this.#options.traffic.recordBytes += record.length;
      this.#window.grow();
    } else if (this.#isRetried(copy, copy.to.nodeId, answer)) {
      return;
    }
    this.#finish(copy);
  }

  /** Judges a failure; true when the copy waits for another try. */
  #isRetried(copy: KeyCopy, nodeId: string, failure: ReplicaFailure): boolean {
    const { counts } = copy.group;
    if (failure.kind !== 'refused') {
      this.#options.onFailure(nodeId, failure);
      return false;
    }
    if (failure.code === 'OVERLOADED' && !this.#stopped) {
      this.#underWay -= 1;
      this.#waiting.push(copy);
      this.#window.cut(copy.sentAtMs, this.#options.clock.monotonicMs());
      void this.#pause(sleep(this.#options.timers, OVERLOAD_PAUSE_MS));
      return true;
    }
    if (failure.code === 'RECORD_CORRUPT') counts.corrupt += 1;
    else if (failure.code === 'REFUSED') counts.fenced += 1;
    else this.#options.onFailure(nodeId, failure);
    return false;
  }

  #pump(): void {
    while (!this.#paused && this.#waiting.length > 0 && this.#underWay < this.#room()) {
      const rest = this.#options.pace.rest();
      if (rest !== undefined) {
        void this.#pause(rest);
        return;
      }
      const copy = this.#waiting.pop() as KeyCopy;
      this.#underWay += 1;
      copy.sentAtMs = this.#options.clock.monotonicMs();
      if (copy.from === this.#options.peer) {
        this.#options.traffic.bytesSent += copy.key.length + CALL_BYTES;
      }
      copy.from.read(copy, 0, 'record');
    }
  }

  #room(): number {
    const window = this.#options.pace.busy
      ? Math.min(this.#window.size, BUSY_WINDOW)
      : this.#window.size;
    return Math.max(1, Math.min(window, Math.floor(WINDOW_BYTES / this.#recordBytes)));
  }

  async #pause(until: Promise<void>): Promise<void> {
    if (this.#paused) return;
    this.#paused = true;
    await until;
    this.#paused = false;
    this.#pump();
  }

  #finish(copy: KeyCopy): void {
    const { group } = copy;
    this.#underWay -= 1;
    group.left -= 1;
    if (group.left === 0) {
      this.#groups.delete(group);
      group.resolve();
    }
    this.#pump();
  }

  get placementVersion(): number {
    return this.#options.placementVersion;
  }
}

interface KeyToCopy {
  readonly key: Uint8Array;
  readonly keyHash: number;
  /** Which of the two holds the newer record. */
  readonly winner: 'own' | 'theirs';
}

interface CopyGroup {
  readonly counts: CopyCounts;
  left: number;
  readonly resolve: () => void;
}

/** One key on its way: the call that it is read with, then the call that it is applied with. */
class KeyCopy implements ReadCall, ApplyCall {
  readonly source = 'copy';
  readonly traceparent = NO_BYTES;
  readonly placementVersion: number;
  record: Uint8Array = NO_BYTES;
  fence: Uint8Array = NO_FENCE;
  sentAtMs = 0;

  constructor(
    private readonly window: CopyWindow,
    readonly group: CopyGroup,
    readonly key: Uint8Array,
    readonly keyHash: number,
    readonly from: Peer,
    readonly to: Peer,
  ) {
    this.placementVersion = window.placementVersion;
  }

  get deadlineMs(): number {
    return this.sentAtMs + CALL_TIMEOUT_MS;
  }

  onRead(_slot: number, answer: ReadAnswer): void {
    this.window.onRead(this, answer);
  }

  onApplied(_slot: number, answer: ApplyAnswer): void {
    this.window.onApplied(this, answer);
  }
}
