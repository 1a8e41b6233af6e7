import { MAX_RETRY_AGE_MS, MAX_TIMEOUT_MS } from './limits.js';

/** How often a node does what it does by itself. All in milliseconds. Tests and simulations give their own. */
export interface Tempo {
  /** Between two rounds of gossip: pings to a bounded number of peers. */
  readonly gossipMs: number;
  /** Between two comparisons of trees, each with one peer. */
  readonly antiEntropyMs: number;
  /** Between two looks for tombstones that can go. */
  readonly fenceEveryMs: number;
  /** How far a fence stays behind the clock: more than a stamped write is ever sent again. */
  readonly fenceLagMs: number;
  /** Between two partitions of the scrub; a pass over all of them takes 256 times as long. */
  readonly scrubMs: number;
  /** The longest that a request is under way: so long a replica waits whose earlier answers may still be counted. */
  readonly longestRequestMs: number;
}

export const DEFAULT_TEMPO: Tempo = {
  gossipMs: 1_000,
  antiEntropyMs: 1_000,
  fenceEveryMs: 60_000,
  fenceLagMs: 2 * MAX_RETRY_AGE_MS,
  scrubMs: 5 * 60_000,
  longestRequestMs: MAX_TIMEOUT_MS,
};
