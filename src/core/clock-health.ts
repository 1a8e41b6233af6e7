/** What a node concludes about its own clock. */
export interface ClockJudgement {
  /** How far the clock is from the median of the cluster: positive when it is behind, and should be set forward. */
  readonly offsetMs: number;
  /** True: the node coordinates no writes until it is within `maxDriftMs` again. */
  readonly quarantined: boolean;
}

/**
 * Judges a node's clock by those of the peers it hears. `offsetsMs` are peer minus own; the own 0 counts as well. A median
 * does not move when fewer than half of the clocks are wrong. With an even count the two middle offsets leave open where
 * between them it is, and a clock is blamed only for being outside both: of two nodes that disagree neither is, and a node
 * alone is healthy.
 *
 * `offsetMs` is the distance from the own clock to that interval, 0 within it.
 */
export function judgeClock(offsetsMs: readonly number[], maxDriftMs: number): ClockJudgement {
  const [low, high] = middle([0, ...offsetsMs]);
  const offsetMs = Math.max(low, 0) + Math.min(high, 0);
  return { offsetMs, quarantined: Math.abs(offsetMs) > maxDriftMs };
}

/** The offset that an SDK adds to its own wall: the median of the healthy nodes it knows, 0 while it knows none. */
export function medianOffset(healthyOffsetsMs: readonly number[]): number {
  if (healthyOffsetsMs.length === 0) return 0;
  const [low, high] = middle(healthyOffsetsMs);
  return low + (high - low) / 2;
}

/** The two middle values: the same one twice when the count is odd. */
function middle(values: readonly number[]): readonly [low: number, high: number] {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  const high = sorted[half] as number;
  return [sorted.length % 2 === 0 ? (sorted[half - 1] as number) : high, high];
}
