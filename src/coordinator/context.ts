import type { HedgeBudget } from '../core/hedge-budget.js';
import type { Version } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { InFlight } from './in-flight.js';

/** What every operation of a coordinator shares. */
export interface Context {
  readonly nodeId: string;
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
