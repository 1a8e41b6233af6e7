import type { Consistency } from '../core/consistency.js';
import type { ErrorCode, Outcome } from '../core/errors.js';
import type { AnsweredCode } from '../core/ledger.js';
import type { Member } from '../core/placement.js';
import type { Receipt } from '../core/receipt.js';

/** A node as the SDK sees it: one channel that carries many calls at once. */
export interface Link {
  /** `host:port`. */
  readonly endpoint: string;
  /** What the node said when the channel opened; undefined while it is not open. */
  readonly welcome: Welcome | undefined;
  /** Sends the call with whatever else is ready in this turn. `call.onAnswer` follows exactly once, never within this. */
  send(call: NodeCall): void;
  /** Tells the node that nobody waits any more. `onAnswer` follows with CANCELLED, unless an answer was on its way. */
  cancel(call: NodeCall): void;
  /** An aborted `signal` tells the node, and answers CANCELLED. */
  scan(request: NodeScan, signal?: AbortSignal): Promise<NodePage | NodeFailure>;
  ping(timeoutMs: number): Promise<NodePong | NodeFailure>;
  /** Lets calls under way finish for up to `graceMs`, then closes. */
  close(graceMs: number): Promise<void>;
}

/** Opens links. The SDK's core knows nothing else of the network, so that the simulation can be its network. */
export interface Linker {
  /** Starts connecting, and reconnects by itself until closed. `onState` hears of every change. */
  open(endpoint: string, onState: (state: LinkState) => void): Link;
}

export type LinkState =
  | { readonly kind: 'open'; readonly welcome: Welcome; readonly roundTripMs: number }
  /** `fatal`: it will not be tried again (another cluster, another protocol). */
  | {
      readonly kind: 'closed';
      readonly code: ErrorCode;
      readonly message: string;
      readonly fatal: boolean;
    };

/** What a node tells whoever connects: enough to find the rest of the cluster and the replicas of every key. */
export interface Welcome {
  readonly nodeId: string;
  readonly clusterName: string;
  readonly clusterId: string;
  readonly members: readonly Member[];
  readonly replicationFactor: number;
  readonly placementVersion: number;
  readonly wallMs: number;
  readonly quarantined: boolean;
  readonly maxDriftMs: number;
  readonly maxKeyBytes: number;
  readonly maxValueBytes: number;
}

/** What every call to a node carries. */
export interface NodeRequest {
  readonly level: Consistency;
  /** For the local levels. */
  readonly zone: string;
  readonly timeoutMs: number;
  /** W3C trace parent, 25 bytes, or empty. */
  readonly traceparent: Uint8Array;
}

/** A delete is a put of a tombstone. An outcome asks what became of a put at LINEARIZABLE. */
export type CallKind = 'get' | 'put' | 'outcome';

/** One attempt of one request on one node. Calls carry no closures: the SDK's attempt is the call. */
export interface NodeCall extends NodeRequest {
  readonly kind: CallKind;
  readonly key: Uint8Array;
  /**
   * For a put: the record, encoded once by the SDK. Otherwise empty. At LINEARIZABLE its version is the id of the request, the
   * same in all its attempts, and what is stored gets a version above it.
   */
  readonly record: Uint8Array;
  /** For a get: 16 bytes of `minVersion`, or empty. For an outcome: the id of the request that is asked about. */
  readonly minVersion: Uint8Array;
  /** For a compare-and-set, a put at LINEARIZABLE: what it expects to find (`core/expectation.ts`). Otherwise empty. */
  readonly expect: Uint8Array;
  readonly receipt: boolean;
  onAnswer(answer: NodeAnswer): void;
}

export interface NodeAnswer {
  /** Undefined: it succeeded. */
  readonly code: ErrorCode | undefined;
  readonly outcome: Outcome;
  readonly message: string;
  /**
   * For a get: the record with the newest version, tombstones included; undefined when absent. One that has expired, by the
   * clock of the coordinator, is answered as the tombstone of its version (`core/expiry.ts`). For a compare-and-set that lost:
   * what it found. May be kept.
   */
  readonly record: Uint8Array | undefined;
  /** For a put that lost: the header of the record that shadows it. */
  readonly shadow: Uint8Array | undefined;
  readonly receipt: Receipt | undefined;
  /** For a put at LINEARIZABLE and for an outcome: what became of it. */
  readonly result?: AnsweredCode;
  /**
   * With `result`, 16 bytes: the version, as users see it, of what took effect or was found; absent where nothing was. With the
   * refusal of a request that came too late to be known: the version that its id would have to be above.
   */
  readonly version?: Uint8Array;
}

/** One page of a scan: keys from `gte` (inclusive) to `lt` (exclusive; empty: to the end). */
export interface NodeScan extends NodeRequest {
  readonly gte: Uint8Array;
  readonly lt: Uint8Array;
  readonly reverse: boolean;
  readonly limit: number;
  readonly keysOnly: boolean;
  /** The token of the page before, or empty. Opaque, and bound to the cluster and to the range. */
  readonly token: Uint8Array;
}

export interface NodePage {
  readonly kind: 'page';
  /** In order, without what is deleted or has expired. With `keysOnly` the record is a head (`headOf`). */
  readonly entries: readonly { readonly key: Uint8Array; readonly record: Uint8Array }[];
  /** Empty: the range is at its end. A page may be empty and yet have a token. */
  readonly token: Uint8Array;
}

export interface NodePong {
  readonly kind: 'pong';
  readonly wallMs: number;
  readonly quarantined: boolean;
  readonly placementVersion: number;
}

export interface NodeFailure {
  readonly kind: 'failure';
  readonly code: ErrorCode;
  readonly outcome: Outcome;
  readonly message: string;
}
