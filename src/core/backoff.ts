/** How long to wait before trying again: doubles from `baseMs`, up to `maxMs`. */
export interface Backoff {
  readonly baseMs: number;
  readonly maxMs: number;
}

/**
 * The wait before retry number `retry` (0 for the first), in milliseconds: uniform between 0 and the doubled base, as
 * `fraction` in [0, 1) draws it. "Full jitter" (Brooker, "Exponential Backoff and Jitter", 2015): of all the ways to spread
 * callers that failed together it leaves the fewest to collide again.
 */
export function backoffMs(backoff: Backoff, retry: number, fraction: number): number {
  return fraction * Math.min(backoff.maxMs, backoff.baseMs * 2 ** retry);
}
