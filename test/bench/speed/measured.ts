import type { LatencySummary } from '../../../cli/bench/latencies.js';
import { anonBytesOf, busySeconds, cpuSecondsOf } from '../repair/kernel-counts.js';

export type SystemName = 'quorate' | 'etcd' | 'limit';

/** What a client saw of one slice of a row. */
export interface Seen {
  readonly operations: number;
  readonly durationMs: number;
  readonly errors: number;
  /** What the first of them said. */
  readonly firstError?: string;
  /** Reads that found nothing, though all that is asked for is there: a sign that something else was measured. */
  readonly missing: number;
  /** Absent where operations are not answered one by one. */
  readonly latency?: LatencySummary;
}

/** The same in numbers that can be compared, with what it cost. Undefined: it does not apply. */
export interface Figures {
  readonly perSecond: number;
  readonly seconds: number;
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
  readonly p999Ms: number | undefined;
  /** CPU of the client for each operation, and of all nodes together. */
  readonly clientMicros: number | undefined;
  readonly nodesMicros: number;
  /** RssAnon of the largest node at its peak, sampled. */
  readonly peakAnonBytes: number;
  /** Cores that were busy with what is no part of the benchmark, on average. */
  readonly elsewhereCores: number;
  readonly errors: number;
  readonly missing: number;
}

const SAMPLE_MS = 100;

/** What some processes use while something is measured. */
export class Meter {
  /** `client`: undefined where nobody asks for anything. `ours`: all processes of the benchmark. */
  constructor(
    private readonly nodes: readonly number[],
    private readonly client: number | undefined,
    private readonly ours: () => readonly number[],
  ) {}

  async around(measure: () => Promise<Seen>): Promise<{ figures: Figures; seen: Seen }> {
    const before = await this.#read();
    const peak = new PeakMemory(this.nodes);
    const startedMs = performance.now();
    let seen: Seen;
    try {
      seen = await measure();
    } finally {
      peak.stop();
    }
    const seconds = (performance.now() - startedMs) / 1_000;
    const after = await this.#read();
    const each = (cpuSeconds: number) => (cpuSeconds * 1e6) / Math.max(seen.operations, 1);
    const elsewhere = after.busy - before.busy - (after.ours - before.ours);
    const figures: Figures = {
      perSecond: (seen.operations / seen.durationMs) * 1_000,
      seconds: seen.durationMs / 1_000,
      p50Ms: seen.latency?.p50Ms,
      p99Ms: seen.latency?.p99Ms,
      p999Ms: seen.latency?.p999Ms,
      clientMicros: this.client === undefined ? undefined : each(after.client - before.client),
      nodesMicros: each(after.nodes - before.nodes),
      peakAnonBytes: peak.bytes,
      elsewhereCores: Math.max(0, elsewhere / seconds),
      errors: seen.errors,
      missing: seen.missing,
    };
    return { figures, seen };
  }

  async #read() {
    return {
      busy: await busySeconds(),
      nodes: await cpuOf(this.nodes),
      client: this.client === undefined ? 0 : await cpuOf([this.client]),
      ours: await cpuOf([process.pid, ...this.ours()]),
    };
  }
}

export async function cpuOf(pids: readonly number[]): Promise<number> {
  // One that has just ended has no more to tell.
  const used = await Promise.all(pids.map((pid) => cpuSecondsOf(pid).catch(() => 0)));
  return used.reduce((sum, seconds) => sum + seconds, 0);
}

/** The most anonymous memory that any of some processes has, until it is stopped. */
export class PeakMemory {
  bytes = 0;
  readonly #sampling: NodeJS.Timeout;

  constructor(private readonly pids: readonly number[]) {
    void this.#sample();
    this.#sampling = setInterval(() => void this.#sample(), SAMPLE_MS);
  }

  stop(): void {
    clearInterval(this.#sampling);
  }

  async #sample(): Promise<void> {
    const sizes = await Promise.all(this.pids.map((pid) => anonBytesOf(pid).catch(() => 0)));
    this.bytes = Math.max(this.bytes, ...sizes);
  }
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >>> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? upper) + upper) / 2;
}

/** Of each figure the median over the rounds; of errors and missing reads the sum, of memory the most. */
export function mediansOf(rounds: readonly Figures[]): Figures {
  const of = (name: keyof Figures) => rounds.flatMap((round) => round[name] ?? []);
  const perhaps = (name: keyof Figures) => (of(name).length === 0 ? undefined : median(of(name)));
  const sum = (name: keyof Figures) => of(name).reduce((total, each) => total + each, 0);
  return {
    perSecond: median(of('perSecond')),
    seconds: median(of('seconds')),
    p50Ms: perhaps('p50Ms'),
    p99Ms: perhaps('p99Ms'),
    p999Ms: perhaps('p999Ms'),
    clientMicros: perhaps('clientMicros'),
    nodesMicros: median(of('nodesMicros')),
    peakAnonBytes: Math.max(...of('peakAnonBytes')),
    elsewhereCores: median(of('elsewhereCores')),
    errors: sum('errors'),
    missing: sum('missing'),
  };
}
