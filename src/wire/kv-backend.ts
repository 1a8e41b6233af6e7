import type { NodeCall, NodeFailure, NodePage, NodeScan } from '../io/link.js';
import type { Version } from '../core/version.js';

/** One get, put or outcome to coordinate: what the SDK sends, with its timeout as a moment of the node's monotonic clock. */
export interface KvOperation extends Omit<NodeCall, 'timeoutMs'> {
  readonly deadlineMs: number;
}

/** What serves the calls of clients: the coordinator, seen from the wire. */
export interface KvBackend {
  /** `operation.onAnswer` follows exactly once, maybe within this call. */
  execute(operation: KvOperation): void;
  cancel(operation: KvOperation): void;
  scan(
    request: NodeScan,
    deadlineMs: number,
    signal?: AbortSignal,
  ): Promise<NodePage | NodeFailure>;
  /** A stamp for a write that came without one. */
  stamp(): Promise<Version>;
}
