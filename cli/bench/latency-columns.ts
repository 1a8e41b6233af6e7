import { formatCount } from '../durations.js';
import type { Column } from '../output.js';
import type { LatencySummary } from './latencies.js';

/** How people see latencies, a row for each kind of operation. */
export function latencyColumns<T>(of: (row: T) => LatencySummary): readonly Column<T>[] {
  const ms = (title: string, pick: (latency: LatencySummary) => number): Column<T> => ({
    title,
    align: 'right',
    cell: (row) => `${pick(of(row)).toFixed(2)} ms`,
  });
  return [
    { title: 'COUNT', align: 'right', cell: (row) => formatCount(of(row).count) },
    ms('MEAN', ({ meanMs }) => meanMs),
    ms('P50', ({ p50Ms }) => p50Ms),
    ms('P90', ({ p90Ms }) => p90Ms),
    ms('P99', ({ p99Ms }) => p99Ms),
    ms('P99.9', ({ p999Ms }) => p999Ms),
    ms('MAX', ({ maxMs }) => maxMs),
  ];
}
