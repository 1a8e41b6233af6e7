import { backoffMs } from '../core/backoff.js';
import type { ErrorCode } from '../core/errors.js';
import type { Link, Welcome } from '../io/link.js';
import { OffsetSamples } from './server-clock.js';

/** Why a link is not open. */
export interface LinkFailure {
  readonly code: ErrorCode;
  readonly message: string;
  /** It will not be tried again. */
  readonly fatal: boolean;
}

/** Of so many round trips the shortest says how far a node is: the others may have waited for its work, or for ours. */
const ROUND_TRIPS = 3;

/** How long a node that failed is passed over while others are there. */
const AVOIDANCE = { baseMs: 500, maxMs: 8_000 };

/** What this connection knows of the node behind one link. Routing reads it for every operation, so it is plain fields. */
export class NodeState {
  /** Set right after the link has been opened; a link reports nothing before. */
  link!: Link;
  /** The node's own id once it has greeted, and also while the link is down later; the endpoint until then. */
  name: string;
  /** The id of the node behind the link; undefined until it has greeted. */
  nodeId: string | undefined;
  zone = '';
  open = false;
  quarantined = false;
  /** Its last ping was not answered in time. */
  silent = false;
  /** Its round trips are much longer than those of the nearest node. */
  slow = false;
  /** The last that was measured; undefined until one was. */
  roundTripMs: number | undefined;
  /** The shortest of the last few; 0 until one was measured. */
  distanceMs = 0;
  /** What `gathering.ts` keeps of it: the last turn in which it was given writes, the bytes of that turn, and of all. */
  gatheredTurn = 0;
  turnBytes = 0;
  gatheredBytes = 0;
  readonly offsets = new OffsetSamples();
  /** Why it is not open; undefined while it has not been tried. */
  failure: LinkFailure | undefined;
  #roundTripsMs: readonly number[] = [];
  #failures = 0;
  #avoidUntilMs = 0;

  constructor(
    readonly endpoint: string,
    /** The member that should be there, as a node said; undefined: the user named the endpoint. */
    readonly memberId?: string,
  ) {
    this.name = endpoint;
  }

  opened(welcome: Welcome): void {
    this.open = true;
    this.#roundTripsMs = [];
    this.failure = undefined;
    this.silent = false;
    this.nodeId = welcome.nodeId;
    this.name = welcome.nodeId;
    this.quarantined = welcome.quarantined;
    this.#failures = 0;
    this.#avoidUntilMs = 0;
  }

  closed(failure: LinkFailure): void {
    this.open = false;
    this.failure = failure;
  }

  measured(roundTripMs: number): void {
    this.roundTripMs = roundTripMs;
    this.#roundTripsMs = [...this.#roundTripsMs, roundTripMs].slice(-ROUND_TRIPS);
    this.distanceMs = Math.min(...this.#roundTripsMs);
  }

  /** It answered, whatever it answered. */
  answered(): void {
    this.#failures = 0;
    this.#avoidUntilMs = 0;
  }

  /**
   * It did not answer in time, or could not do what it is there for: passed over for a while, twice as long every time. What
   * fails while it is passed over anyway was sent before, and adds nothing.
   */
  failed(nowMs: number): void {
    if (this.#avoidUntilMs > nowMs) return;
    this.#avoidUntilMs = nowMs + backoffMs(AVOIDANCE, this.#failures, 1);
    this.#failures++;
  }

  isAvoided(nowMs: number): boolean {
    return this.silent || this.#avoidUntilMs > nowMs;
  }
}
