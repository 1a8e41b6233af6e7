import type { HedgeBudget } from '../core/hedge-budget.js';
import type { Outcome } from '../core/errors.js';
import type { Version } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { Timers } from '../io/timers.js';
import type { Level } from './door.js';
import type { InFlight } from './in-flight.js';
import type { Operation } from './operation.js';
import type { Route } from './routes.js';

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
  readonly timers: Timers;
  readonly inFlight: InFlight;
  readonly hedges: HedgeBudget;
  readonly counters: Counters;
  readonly observe: (version: Version) => void;
  readonly owed: (nodeId: string, key: Uint8Array, keeper: string) => void;
  readonly rounds: Rounds;
}

/** Brings on by a round what promises of rounds keep from going the plain way (DESIGN section 5). */
export interface Rounds {
  /** A read whose replicas differ, and may not simply be made equal. Takes over the operation. */
  read(operation: Operation, keyHash: number, route: Route, level: Level): void;
  /** A write that replicas refused because of a promise. `outcome`: of what has been sent of it. Takes over the operation. */
  write(operation: Operation, keyHash: number, route: Route, level: Level, outcome: Outcome): void;
}

export interface Counters {
  writes: number;
  reads: number;
  scans: number;
  rounds: number;
  repairs: number;
  hedges: number;
  shed: number;
  driftRefusals: number;
}
