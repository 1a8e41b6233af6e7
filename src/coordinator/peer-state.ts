import { CircuitBreaker } from '../core/circuit-breaker.js';
import { LatencyEstimate } from '../core/latency.js';
import type { MemberStatus } from '../core/membership.js';
import type { Member } from '../core/placement.js';
import type { Clock } from '../io/clock.js';
import type {
  ApplyAnswer,
  Peer,
  PrepareAnswer,
  ReadAnswer,
  ReplicaFailure,
  ReplicaPage,
} from '../io/peer.js';

type CallAnswer = ApplyAnswer | PrepareAnswer | ReadAnswer | ReplicaPage | ReplicaFailure;

/** A peer that answers slowly is owed what it misses, rather than holding more of this node's memory than this. */
const MAX_OUTSTANDING_CALLS = 16_384;
const MAX_OUTSTANDING_BYTES = 64 * 1024 * 1024;

/** A missed deadline says something about the peer only if the peer had this long; callers may ask for less. */
const FAIR_WAIT_MS = 250;

const NOT_CONNECTED: ReplicaFailure = {
  kind: 'unreachable',
  code: 'UNAVAILABLE',
  message: 'not connected',
};
const DEAD: ReplicaFailure = {
  kind: 'unreachable',
  code: 'UNAVAILABLE',
  message: 'it is believed to be dead: no node could reach it',
};
const TRIPPED: ReplicaFailure = {
  kind: 'unreachable',
  code: 'UNAVAILABLE',
  message: 'its circuit breaker is open',
};
const BURIED: ReplicaFailure = {
  kind: 'unreachable',
  code: 'OVERLOADED',
  message: 'too many calls to it are under way',
};

export interface PeerStateEvents {
  onBreaker(nodeId: string, isOpen: boolean): void;
  /** It has answered, though it is believed to be dead or suspected. */
  onAlive(nodeId: string): void;
}

/** What the coordinator knows of one node that stores data, itself included. */
export class PeerState {
  readonly nodeId: string;
  readonly zone: string;
  readonly breaker = new CircuitBreaker();
  /** Of reads and pings: writes wait for the disk, and go to every replica anyway. */
  readonly latency = new LatencyEstimate();
  /** What gossip believes of it, until it answers. */
  standing: MemberStatus = 'alive';
  #calls = 0;
  #bytes = 0;

  readonly #clock: Clock;
  readonly #events: PeerStateEvents;

  constructor(
    readonly peer: Peer,
    member: Member,
    /** The node itself. It is always asked: it says by itself when it cannot. */
    readonly local: boolean,
    clock: Clock,
    events: PeerStateEvents,
  ) {
    this.#clock = clock;
    this.#events = events;
    this.nodeId = member.id;
    this.zone = member.zone;
  }

  get typicalMs(): number {
    return this.latency.typicalMs;
  }

  get suspect(): boolean {
    return this.standing !== 'alive';
  }

  /** Why no call may be sent to it now; undefined when one may. */
  obstacle(nowMs: number): ReplicaFailure | undefined {
    if (this.local) return undefined;
    if (!this.peer.connected) return NOT_CONNECTED;
    if (this.standing === 'dead') return DEAD;
    if (!this.breaker.admits(nowMs)) return TRIPPED;
    if (this.#calls >= MAX_OUTSTANDING_CALLS || this.#bytes >= MAX_OUTSTANDING_BYTES) return BURIED;
    return undefined;
  }

  sent(nowMs: number, bytes: number): void {
    this.#calls++;
    this.#bytes += bytes;
    this.breaker.sent(nowMs);
  }

  /** An answer to a call of `bytes` that was sent at `sentAtMs`. */
  answered(answer: CallAnswer, bytes: number, sentAtMs: number): void {
    this.#calls--;
    this.#bytes -= bytes;
    if (answer.kind === 'unreachable') return;
    if (answer.kind !== 'failed') {
      this.alive();
      return;
    }
    const nowMs = this.#clock.monotonicMs();
    if (answer.code !== 'TIMED_OUT' || nowMs - sentAtMs >= FAIR_WAIT_MS) this.failing(nowMs);
  }

  /** It answered something, so it lives. */
  alive(): void {
    const wasClosed = this.breaker.closed;
    this.breaker.succeeded();
    if (!wasClosed) this.#events.onBreaker(this.nodeId, false);
    if (this.standing === 'alive') return;
    this.standing = 'alive';
    this.#events.onAlive(this.nodeId);
  }

  /** It did not answer, though it had the time. */
  failing(nowMs: number): void {
    if (this.local) return;
    const wasClosed = this.breaker.closed;
    this.breaker.failed(nowMs);
    if (wasClosed && !this.breaker.closed) this.#events.onBreaker(this.nodeId, true);
  }
}
