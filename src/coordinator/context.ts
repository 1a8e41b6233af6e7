import type { HedgeBudget } from '../core/hedge-budget.js';
import type { Version } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { InFlight } from './in-flight.js';

/**
 * Which replicas are known to be in a later life than before. What a replica said in an earlier one may be gone from it, so it
 * is not counted beside what others say that know of the later one (core/replica-groups.ts has the argument).
 */
export interface Lives {
  /** Grows with every replica that is found to be in a later life. */
  readonly version: number;
  /** The {@link version} at which that was so of this replica last. */
  changedAt(nodeId: string): number;
}

/** What every operation of a coordinator shares. */
export interface Context {
  readonly nodeId: string;
  readonly lives: Lives;
  readonly clock: Clock;
  readonly inFlight: InFlight;
  readonly hedges: HedgeBudget;
  readonly counters: Counters;
  readonly observe: (version: Version) => void;
  readonly owed: (nodeId: string, key: Uint8Array, keeper: string) => void;
}

export interface Counters {
  writes: number;
  reads: number;
  scans: number;
  repairs: number;
  hedges: number;
  shed: number;
  driftRefusals: number;
}
