/** The time, as one machine sees it. The simulation gives each node its own, with skew, drift and jumps. */
export interface Clock {
  /** Milliseconds since 1970, whole. May jump, either way. For versions and expiry only. */
  wallMs(): number;
  /** Milliseconds since some moment, with fractions. Never goes back. For deadlines and latencies. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
};
