import type { Clock } from '../io/clock.js';
import { isReplicaFailure, type Peer, type ReplicaFailure } from '../io/peer.js';
import type { AskKind, AskReply, AskRequest } from '../io/peer-asks.js';
import { sleep, type Timers } from '../io/timers.js';
import type { Traffic } from './copy-window.js';
import type { Pace } from './pace.js';

/** Digests are in memory: who does not answer with them soon cannot be heard, and keeps everybody waiting who has no turn. */
const DIGESTS_TIMEOUT_MS = 3_000;
/** Keys are read from the disk. */
const KEYS_TIMEOUT_MS = 10_000;
const LATE = 'its time was up';
/** About what an ask or its reply costs on the wire beside what it carries. */
const MESSAGE_BYTES = 40;

/**
 * `complete`: every partition has been compared, and what differed was copied or left for a reason that is counted. The others
 * say why it came to an end before that. `busy`: one of the two is comparing with somebody else, so it is to be tried again
 * soon. `not-ready`: one of them has no trees yet. `late`: the deadline passed. `failed`: the peer went away, or a disk failed.
 */
export type DialogueEnd = 'complete' | 'busy' | 'not-ready' | 'late' | 'stopped' | 'failed';

/** The kinds of asks by which two replicas are compared. */
type ComparingKind = 'digests' | 'segments' | 'keys';

/** What both replicas answered to one ask. */
export interface Both<K extends AskKind> {
  readonly own: AskReply<K>;
  readonly theirs: AskReply<K>;
}

/** One of two replicas, and why its disk does not say what it was asked. */
export interface Unreadable {
  readonly nodeId: string;
  readonly message: string;
}

export interface DialogueOptions {
  /** The node that asks. */
  readonly from: string;
  /** It takes what is newer and brings nothing. Default: false. */
  readonly takes?: boolean;
  readonly self: Peer;
  readonly peer: Peer;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly pace: Pace;
  readonly deadlineMs: number;
  readonly signal: AbortSignal | undefined;
  /** Who does not answer one question for so long fails: sooner than by itself. */
  readonly timeoutMs?: number;
}

/**
 * What is asked of two replicas while they are compared, until it has come to an end: by itself, at its deadline, when it is
 * stopped, or when one of them fails. After that whatever waits here resolves to undefined, so everything unwinds.
 */
export class Dialogue {
  readonly traffic: Traffic = { asks: 0, bytesSent: 0, bytesReceived: 0, recordBytes: 0 };
  readonly from: string;
  readonly takes: boolean;
  readonly self: Peer;
  readonly peer: Peer;
  readonly #options: DialogueOptions;
  /** Which of the two has failed. */
  failed: string | undefined;
  #end: { readonly end: DialogueEnd; readonly reason: string } | undefined;
  /** To be called at the end: all that wait here. */
  readonly #waiting = new Set<() => void>();
  readonly #cancelDeadline: () => void;
  readonly #onAbort = (): void => this.finish('stopped', 'it was stopped');

  constructor(options: DialogueOptions) {
    const { clock, timers, deadlineMs, signal } = options;
    this.from = options.from;
    this.takes = options.takes ?? false;
    this.self = options.self;
    this.peer = options.peer;
    this.#options = options;
    const leftMs = deadlineMs - clock.monotonicMs();
    this.#cancelDeadline = timers.after(leftMs, () => this.finish('late', LATE));
    if (leftMs <= 0) this.finish('late', LATE);
    signal?.addEventListener('abort', this.#onAbort);
    if (signal?.aborted === true) this.#onAbort();
  }

  /** Whether the node has work in the foreground. */
  get busy(): boolean {
    return this.#options.pace.busy;
  }

  get over(): boolean {
    return this.#end !== undefined;
  }

  get end(): { readonly end: DialogueEnd; readonly reason: string } {
    return this.#end ?? { end: 'complete', reason: '' };
  }

  /** Resolves when it has come to an end. */
  whenOver(): Promise<void> {
    return new Promise((resolve) => {
      if (this.over) resolve();
      else this.#waiting.add(resolve);
    });
  }

  /** The first end counts. */
  finish(end: DialogueEnd, reason: string): void {
    if (this.#end !== undefined) return;
    this.#end = { end, reason };
    this.#cancelDeadline();
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    for (const letGo of this.#waiting) letGo();
    this.#waiting.clear();
  }

  fail(nodeId: string, failure: ReplicaFailure): void {
    if (!this.over) this.failed = nodeId;
    this.finish('failed', `${nodeId}: ${failure.message}`);
  }

  /** Resolves after a while, or at the end. */
  async wait(delayMs: number): Promise<void> {
    await this.#untilOver(sleep(this.#options.timers, delayMs));
  }

  async askSelf<K extends ComparingKind>(
    kind: K,
    request: AskRequest<K>,
  ): Promise<AskReply<K> | undefined> {
    return this.#orEnd(this.self, await this.#request(this.self, kind, request));
  }

  async askPeer<K extends ComparingKind>(
    kind: K,
    request: AskRequest<K>,
  ): Promise<AskReply<K> | undefined> {
    return this.#orEnd(this.peer, await this.#requestPeer(kind, request));
  }

  /** Asks both at the same time, so that they are compared as of nearly the same moment. */
  async askBoth<K extends ComparingKind>(
    kind: K,
    request: AskRequest<K>,
  ): Promise<Both<K> | undefined> {
    const [own, theirs] = await Promise.all([
      this.askSelf(kind, request),
      this.askPeer(kind, request),
    ]);
    return own === undefined || theirs === undefined ? undefined : { own, theirs };
  }

  /**
   * The keys of some segments as both list them. A disk that cannot be read there is no end, for elsewhere it may be sound.
   * Undefined: the dialogue has come to an end.
   */
  async listBoth(request: AskRequest<'keys'>): Promise<Both<'keys'> | Unreadable | undefined> {
    const [own, theirs] = await Promise.all([
      this.#request(this.self, 'keys', request),
      this.#requestPeer('keys', request),
    ]);
    if (own === undefined || theirs === undefined) return undefined;
    if (!isReplicaFailure(own) && !isReplicaFailure(theirs)) return { own, theirs };
    for (const [{ nodeId }, reply] of [[this.self, own] as const, [this.peer, theirs] as const]) {
      if (!isReplicaFailure(reply)) continue;
      const { kind, code, message } = reply;
      if (kind === 'refused' && code === 'STORE_FAILED') return { nodeId, message };
      this.fail(nodeId, reply);
      break;
    }
    return undefined;
  }

  /** False, and the end: one of the replies is not as long as it must be. */
  expectBytes(own: Uint8Array, theirs: Uint8Array, length: number): boolean {
    if (own.length === length && theirs.length === length) return true;
    const [nodeId, got] =
      own.length === length ? [this.peer.nodeId, theirs.length] : [this.self.nodeId, own.length];
    this.finish('failed', `${nodeId}: answered ${got} bytes of digests where ${length} were due`);
    return false;
  }

  async #requestPeer<K extends ComparingKind>(
    kind: K,
    request: AskRequest<K>,
  ): Promise<AskReply<K> | ReplicaFailure | undefined> {
    const { traffic } = this;
    traffic.asks += 1;
    traffic.bytesSent += MESSAGE_BYTES + carriedBytes(request);
    const reply = await this.#request(this.peer, kind, request);
    if (reply !== undefined) traffic.bytesReceived += MESSAGE_BYTES + carriedBytes(reply);
    return reply;
  }

  /** Undefined: the dialogue has come to an end. */
  async #request<K extends ComparingKind>(
    whom: Peer,
    kind: K,
    request: AskRequest<K>,
  ): Promise<AskReply<K> | ReplicaFailure | undefined> {
    const rest = this.#options.pace.rest();
    if (rest !== undefined) await this.#untilOver(rest);
    if (this.over) return undefined;
    const { clock, timeoutMs = Infinity } = this.#options;
    const patienceMs = kind === 'keys' ? KEYS_TIMEOUT_MS : DIGESTS_TIMEOUT_MS;
    const untilMs = clock.monotonicMs() + Math.min(patienceMs, timeoutMs);
    const deadlineMs = Math.min(this.#options.deadlineMs, untilMs);
    const reply = await this.#untilOver(whom.ask(kind, request, deadlineMs));
    return this.over ? undefined : reply;
  }

  #orEnd<T extends { readonly kind: string }>(
    whom: Peer,
    reply: T | ReplicaFailure | undefined,
  ): T | undefined {
    if (reply === undefined || !isReplicaFailure(reply)) return reply;
    this.fail(whom.nodeId, reply);
    return undefined;
  }

  /**
   * What `answer` resolves with; undefined when the end comes first. A race against one promise for the end would keep every
   * answer in memory until then.
   */
  #untilOver<T>(answer: Promise<T>): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const letGo = (): void => resolve(undefined);
      if (this.over) letGo();
      else this.#waiting.add(letGo);
      answer.then(resolve, reject).finally(() => this.#waiting.delete(letGo));
    });
  }
}

/** About the size of what a message carries: its bytes, and 2 for each number in a list. */
function carriedBytes(message: object): number {
  let bytes = 0;
  for (const value of Object.values(message) as unknown[]) {
    if (value instanceof Uint8Array) bytes += value.length;
    else if (Array.isArray(value)) {
      for (const item of value) bytes += 2 + (item instanceof Uint8Array ? item.length : 0);
    }
  }
  return bytes;
}
