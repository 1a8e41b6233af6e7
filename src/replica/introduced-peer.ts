import { compareIncarnations } from '../core/incarnation.js';
import type { Clock } from '../io/clock.js';
import {
  isReplicaFailure,
  type ApplyCall,
  type Lives,
  type Peer,
  type PeerEvents,
  type PingAnswer,
  type PingRequest,
  type PrepareCall,
  type ReadCall,
  type ReplicaFailure,
  type ReplicaPage,
  type ReplicaScan,
} from '../io/peer.js';
import type {
  AskKind,
  AskReply,
  AskRequest,
  Introduction,
  IntroductionReply,
} from '../io/peer-asks.js';
import type { Timers } from '../io/timers.js';
import { isAhead, type PeerMemory } from './peer-memory.js';

const TIMEOUT_MS = 2_000;
const FIRST_PAUSE_MS = 50;
const MAX_PAUSE_MS = 1_000;

const NOT_INTRODUCED: ReplicaFailure = {
  kind: 'unreachable',
  code: 'UNAVAILABLE',
  message: 'not introduced yet',
};

/** What may be asked of a node before it is known what it has forgotten. */
const BEFORE_INTRODUCTION: ReadonlySet<AskKind> = new Set([
  'introduce',
  'record-life',
  'members',
  'probe',
]);

export interface IntroductionPorts {
  readonly nodeId: string;
  /** Opens the way to it. */
  readonly connect: (events: PeerEvents) => Peer;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly memory: PeerMemory;
  /** What this node says of itself, and remembers of the other, now. */
  readonly introduction: () => Introduction;
  /** It is connected: each time, before anything is known of it. */
  readonly onReachable: () => void;
  /** What the other has answered, whether it serves or not. */
  readonly onMet: (reply: IntroductionReply) => void;
  /** It has been introduced and serves: each time after it connected. */
  readonly onIntroduced: () => void;
}

/**
 * A peer that counts as connected only once the two have told each other who they are and what they remember of each other,
 * and neither has forgotten: so nothing is ever counted that a node says which does not know what it lacks.
 */
export class IntroducedPeer implements Peer {
  readonly nodeId: string;
  readonly #ports: IntroductionPorts;
  readonly #peer: Peer;
  #closed = false;
  /** The one in which it serves; undefined while it is not introduced. */
  #life: Uint8Array | undefined;
  /**
   * Heard last, and not learned before something more is heard: it may be of the greeting of a new connection, and what is
   * remembered from earlier ones is what tells the other that it has forgotten.
   */
  #counter: number | undefined;
  /** Grows with every connection and every change of life: what was begun before that is void. */
  #attempts = 0;
  /** Ends the pause before the next attempt; undefined while there is none. */
  #hurry: (() => void) | undefined;
  /** How far the other was when it introduced itself last. */
  #heardAt = -1;

  constructor(ports: IntroductionPorts) {
    this.#ports = ports;
    this.nodeId = ports.nodeId;
    this.#peer = ports.connect({
      onConnected: () => this.#onConnected(),
      onLives: (lives) => this.#onLives(lives),
      onCommitCounter: (commitCounter) => {
        this.#learnCounter();
        this.#counter = commitCounter;
      },
    });
  }

  /** The bare way to it, for what has nothing to do with what it holds. */
  get way(): Peer {
    return this.#peer;
  }

  get connected(): boolean {
    return this.#life !== undefined && this.#peer.connected;
  }

  /** Whether it can be asked who it is, which it answers in any state. */
  get reachable(): boolean {
    return this.#peer.connected;
  }

  apply(call: ApplyCall, slot: number): void {
    if (this.#life !== undefined) this.#peer.apply(call, slot);
    else this.#ports.timers.turn(() => call.onApplied(slot, NOT_INTRODUCED));
  }

  read(call: ReadCall, slot: number, part: 'record' | 'header'): void {
    if (this.#life !== undefined) this.#peer.read(call, slot, part);
    else this.#ports.timers.turn(() => call.onRead(slot, NOT_INTRODUCED));
  }

  prepare(call: PrepareCall, slot: number): void {
    if (this.#life !== undefined) this.#peer.prepare(call, slot);
    else this.#ports.timers.turn(() => call.onPrepared(slot, NOT_INTRODUCED));
  }

  async scan(request: ReplicaScan, deadlineMs: number): Promise<ReplicaPage | ReplicaFailure> {
    return this.#life !== undefined ? this.#peer.scan(request, deadlineMs) : NOT_INTRODUCED;
  }

  ping(request: PingRequest, deadlineMs: number): Promise<PingAnswer | ReplicaFailure> {
    return this.#peer.ping(request, deadlineMs);
  }

  async ask<K extends AskKind>(
    kind: K,
    request: AskRequest<K>,
    deadlineMs: number,
  ): Promise<AskReply<K> | ReplicaFailure> {
    if (this.#life === undefined && !BEFORE_INTRODUCTION.has(kind)) return NOT_INTRODUCED;
    return this.#peer.ask(kind, request, deadlineMs);
  }

  /** The other has introduced itself: if it has changed, it is worth asking again at once. */
  heard({ commitCounter }: Introduction): void {
    if (commitCounter === this.#heardAt) return;
    this.#heardAt = commitCounter;
    this.#hurry?.();
  }

  /** The own node has changed: the other is told at once, rather than when it asks next. */
  announce(): void {
    if (this.#hurry !== undefined) this.#hurry();
    else if (this.#life !== undefined && this.#peer.connected) void this.#introduce();
  }

  /**
   * A later life of it is known here than the one in which it serves: an old folder was put back, and it has not met those who
   * recorded the later one. Nothing that it says counts any more, and it is told.
   */
  outlived(): void {
    if (this.#life !== undefined && this.#isOutlived(this.#life)) this.#startIntroducing();
  }

  /** No further attempt is made. The way to the peer is closed by whoever opened it. */
  close(): void {
    this.#learnCounter();
    this.#closed = true;
    this.#hurry?.();
  }

  /**
   * What frames say of their sender's own life is not taken for granted: it may not serve in it yet, and what is remembered of
   * it is what tells it that it has forgotten.
   */
  #onLives({ incarnation, known }: Lives): void {
    this.#ports.memory.learnAll(known);
    if (this.#life === undefined || compareIncarnations(incarnation, this.#life) === 0) return;
    this.#life = undefined;
    if (this.#peer.connected) this.#startIntroducing();
  }

  #onConnected(): void {
    if (this.#closed) return;
    this.#ports.onReachable();
    this.#startIntroducing();
  }

  #learnCounter(): void {
    if (this.#life === undefined || this.#counter === undefined) return;
    this.#ports.memory.learn(this.nodeId, this.#life, this.#counter);
  }

  #startIntroducing(): void {
    this.#life = undefined;
    this.#counter = undefined;
    this.#attempts++;
    this.#hurry?.();
    void this.#keepIntroducing(this.#attempts);
  }

  async #keepIntroducing(attempts: number): Promise<void> {
    const isCurrent = (): boolean =>
      !this.#closed && attempts === this.#attempts && this.#peer.connected;
    for (let pauseMs = FIRST_PAUSE_MS; isCurrent(); pauseMs = Math.min(2 * pauseMs, MAX_PAUSE_MS)) {
      const life = await this.#introduce();
      if (!isCurrent()) return;
      if (life !== undefined) {
        this.#life = life;
        this.#ports.onIntroduced();
        return;
      }
      await this.#pause(pauseMs);
    }
  }

  /** The life of the other, when it serves and lacks nothing that is remembered of it here. */
  async #introduce(): Promise<Uint8Array | undefined> {
    const { clock, memory, introduction, onMet } = this.#ports;
    const said = introduction();
    const attempts = this.#attempts;
    const reply = await this.#peer.ask('introduce', said, clock.monotonicMs() + TIMEOUT_MS);
    if (isReplicaFailure(reply) || this.#closed || attempts !== this.#attempts) return undefined;
    onMet(reply);
    if (reply.state !== 'serving') return undefined;
    // It has been told, and says that it serves nevertheless: that is not to be relied on.
    if (said.remembers !== undefined && isAhead(said.remembers, reply)) return undefined;
    memory.learn(this.nodeId, reply.incarnation, reply.commitCounter);
    // Somebody may have told of a later life meanwhile.
    return this.#isOutlived(reply.incarnation) ? undefined : reply.incarnation;
  }

  #isOutlived(life: Uint8Array): boolean {
    const known = this.#ports.memory.of(this.nodeId)?.incarnation;
    return known !== undefined && compareIncarnations(known, life) > 0;
  }

  #pause(pauseMs: number): Promise<void> {
    return new Promise((resolve) => {
      const hurry = (): void => {
        this.#hurry = undefined;
        cancel();
        resolve();
      };
      const cancel = this.#ports.timers.after(pauseMs, hurry);
      this.#hurry = hurry;
    });
  }
}
