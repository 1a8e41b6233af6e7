import type { Consistency } from '../core/consistency.js';
import type { Version } from '../core/version.js';
import type { CallKind, NodeAnswer, NodeFailure, NodePage, NodeScan } from '../io/link.js';
import type { ReadAnswer } from '../io/peer.js';

/**
 * One get, put or outcome that this node coordinates. The object is the caller's own and carries no closures: a channel's call is
 * the operation.
 */
export interface Operation {
  readonly kind: CallKind;
  readonly key: Uint8Array;
  /** For a put (a delete is a put of a tombstone): the encoded record. Otherwise empty. */
  readonly record: Uint8Array;
  /** For a get: 16 bytes, or empty. For an outcome: the id of the request that is asked about. */
  readonly minVersion: Uint8Array;
  /** For a compare-and-set: what it expects (`core/expectation.ts`). Otherwise empty. */
  readonly expect: Uint8Array;
  readonly level: Consistency;
  /** For the local levels. */
  readonly zone: string;
  /** On the node's monotonic clock. */
  readonly deadlineMs: number;
  readonly receipt: boolean;
  /** W3C trace parent, 25 bytes, or empty. */
  readonly traceparent: Uint8Array;
  onAnswer(answer: NodeAnswer): void;
}

/** Serves requests: fans out to the replicas, tallies, repairs, answers. */
export interface Coordinator {
  /**
   * Checks the operation and carries it out. `operation.onAnswer` follows exactly once; a refusal may come within this call.
   * The bytes of the operation are kept until then and longer, so they must not be reused.
   */
  execute(operation: Operation): void;
  /** Nobody waits any more: answers CANCELLED at once and sends nothing further. Harmless after the answer. */
  cancel(operation: Operation): void;
  /** `deadlineMs` is on the node's monotonic clock and stands in for the request's timeout. */
  scan(
    request: NodeScan,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<NodePage | NodeFailure>;
  /** What every replica of a key holds, in the order of the preference list. */
  explain(key: Uint8Array, deadlineMs: number): Promise<readonly ReplicaCopy[]>;
  /** A stamp for a request that came without one. Waits for the clock's bound where that must be extended first. */
  stamp(): Promise<Version>;
  readonly counters: CoordinatorCounters;
  /** Refuses new operations with UNAVAILABLE, and resolves when those under way are answered or `graceMs` has passed. */
  drain(graceMs: number): Promise<void>;
}

export interface ReplicaCopy {
  readonly node: string;
  readonly answer: ReadAnswer;
}

export interface CoordinatorCounters {
  readonly inFlight: number;
  readonly writes: number;
  readonly reads: number;
  readonly scans: number;
  /** Ballots tried, for LINEARIZABLE requests and for what they kept from going the plain way. */
  readonly rounds: number;
  readonly repairs: number;
  readonly hedges: number;
  /** Refused with OVERLOADED. */
  readonly shed: number;
  readonly driftRefusals: number;
}
