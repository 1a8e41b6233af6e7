import type { Version } from '../core/version.js';
import { versionFromWire, versionToWire } from './codec.js';
import type { v1 } from './messages.js';
import { oneOf } from './one-of.js';

/** What one replica holds of a key. */
export interface ExplainedReplica {
  readonly node: string;
  readonly result: 'found' | 'absent' | 'refused' | 'failed' | 'unreachable';
  readonly version?: Version;
  /** 16 hexadecimal characters; empty unless found. */
  readonly digest: string;
  readonly recordBytes: number;
  readonly valueBytes: number;
  readonly tombstone: boolean;
  /** Wall ms. */
  readonly expiresAtMs?: number;
  /** Whether it had expired by the clock of the node that answers: then it is as good as a tombstone. */
  readonly expired: boolean;
  /** Whether the replicas that have nothing have committed a fence that hides this record: then it is as good as none. */
  readonly hidden: boolean;
  /** Why there is no answer; else empty. */
  readonly reason: string;
}

const RESULTS = ['found', 'absent', 'refused', 'failed', 'unreachable'] as const;

export function replicaToWire(report: ExplainedReplica): v1.ExplainReplica.$Properties {
  const { version, ...rest } = report;
  return { ...rest, ...(version === undefined ? {} : { version: versionToWire(version) }) };
}

export function replicaFromWire(replica: v1.ExplainReplica.$Properties): ExplainedReplica {
  return {
    node: replica.node ?? '',
    result: oneOf(RESULTS, replica.result ?? '', 'replicas.result'),
    ...(replica.version ? { version: versionFromWire(replica.version, 'replicas.version') } : {}),
    digest: replica.digest ?? '',
    recordBytes: replica.recordBytes ?? 0,
    valueBytes: replica.valueBytes ?? 0,
    tombstone: replica.tombstone ?? false,
    ...(replica.expiresAtMs ? { expiresAtMs: replica.expiresAtMs } : {}),
    expired: replica.expired ?? false,
    hidden: replica.hidden ?? false,
    reason: replica.reason ?? '',
  };
}
