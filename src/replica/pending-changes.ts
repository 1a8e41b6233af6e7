import { KvError } from '../core/errors.js';
import type { ReplicaFailure } from '../io/peer.js';
import type { StoreBatch } from '../io/store.js';

/** Changes that wait for the next batch; see `GroupCommit.change`. */
export interface PendingChange {
  readonly fill: (batch: StoreBatch) => void;
  readonly resolve: () => void;
  readonly reject: (error: KvError) => void;
}

/** See `GroupCommit.alone`. */
export interface PendingTask {
  readonly run: (batch: StoreBatch) => Promise<(() => void) | undefined>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export function rejectAll(changes: readonly PendingChange[], failure: ReplicaFailure): void {
  const outcome = failure.kind === 'failed' ? 'unknown' : 'none';
  for (const change of changes)
    change.reject(new KvError(failure.code, failure.message, { outcome }));
}
