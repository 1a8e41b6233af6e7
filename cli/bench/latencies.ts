import { build, type Histogram } from 'hdr-histogram-js';

const LONGEST_US = 600_000_000;

/** Latencies of one kind of operation, exact to a thousandth. */
export class Latencies {
  readonly #histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: LONGEST_US,
    numberOfSignificantValueDigits: 3,
    bitBucketSize: 32,
  });

  record(latencyMs: number): void {
    this.#histogram.recordValue(Math.min(Math.max(Math.round(latencyMs * 1_000), 0), LONGEST_US));
  }

  add(other: Latencies): void {
    this.#histogram.add(other.#histogram);
  }

  get count(): number {
    return this.#histogram.totalCount;
  }

  summary(): LatencySummary {
    // A percentile is the upper end of its bucket, which may lie above the highest value that was seen.
    const most = this.#histogram.maxValue;
    const at = (percentile: number) =>
      Math.min(this.#histogram.getValueAtPercentile(percentile), most) / 1_000;
    return {
      count: this.count,
      meanMs: Math.round(this.#histogram.mean) / 1_000,
      p50Ms: at(50),
      p90Ms: at(90),
      p99Ms: at(99),
      p999Ms: at(99.9),
      maxMs: most / 1_000,
    };
  }
}

export interface LatencySummary {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}
