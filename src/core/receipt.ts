import type { Version } from './version.js';

/** What one replica did with a request. */
export interface ReplicaOutcome {
  readonly node: string;
  /**
   * `ok`: has the record (or a newer one) on disk, or answered the read. `repaired`: was behind and has it now.
   * `refused`: has not applied it and never will. `failed`: may have. `unreachable`: it was not sent. `pending`: no answer
   * yet when the response was given. `not-asked`: not needed for the level.
   */
  readonly result:
    'ok' | 'repaired' | 'refused' | 'failed' | 'unreachable' | 'pending' | 'not-asked';
  /** The version the replica held after the request; absent when unknown or none. */
  readonly version?: Version;
  /** Why, for what is not `ok`. */
  readonly reason?: string;
}

/** How a response was reached. */
export interface Receipt {
  readonly coordinator: string;
  /** How many replicas the level asked for. */
  readonly needed: number;
  /** How many had answered so that they count. */
  readonly answered: number;
  readonly replicas: readonly ReplicaOutcome[];
  /** A write that lost: the newer version that hides it. */
  readonly shadowedBy?: Version;
}
