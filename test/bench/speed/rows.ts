import type { WorkloadName } from '../../../cli/bench/workloads.js';
import type { SystemName } from './measured.js';

/** What is asked: a workload of cli/bench, or all keys of a prefix. */
export type Task =
  | {
      readonly kind: 'workload';
      readonly workload: WorkloadName;
      readonly reads: 'strong' | 'one';
      readonly inFlight: number;
      /** Operations begin on schedule, at half of etcd's greatest rate of puts. */
      readonly isOpen?: true;
    }
  | { readonly kind: 'scan'; readonly inFlight: number };

/** What Quorate's figure must be, against that of another. */
export interface Target {
  readonly against: Exclude<SystemName, 'quorate'>;
  readonly of: 'perSecond' | 'p50Ms' | 'p99Ms';
  /** Of the ratio Quorate / other. */
  readonly bound: { readonly atLeast: number } | { readonly atMost: number };
}

export interface Row {
  readonly name: string;
  readonly about: string;
  readonly task: Task;
  readonly targets: readonly Target[];
}

function faster(times: number, against: Target['against'] = 'etcd'): Target {
  return { against, of: 'perSecond', bound: { atLeast: times } };
}

function noSlower(of: 'p50Ms' | 'p99Ms'): Target {
  return { against: 'etcd', of, bound: { atMost: 1 } };
}

function workload(
  name: string,
  about: string,
  task: Omit<Extract<Task, { kind: 'workload' }>, 'kind'>,
  ...targets: readonly Target[]
): Row {
  return { name, about, task: { kind: 'workload', ...task }, targets };
}

const PUT = { workload: 'put', reads: 'strong' } as const;
const GET = { workload: 'get', reads: 'strong' } as const;

/** Strong reads are those at QUORUM, and the linearizable ones of etcd; reads at ONE stand against its serializable ones. */
export const ROWS: readonly Row[] = [
  workload(
    'put-1024',
    'QUORUM put, 1,024 in flight',
    { ...PUT, inFlight: 1_024 },
    faster(0.4, 'limit'),
    faster(8),
  ),
  workload('put-256', 'QUORUM put, 256 in flight', { ...PUT, inFlight: 256 }, faster(5)),
  workload('get-256', 'QUORUM get, 256 in flight', { ...GET, inFlight: 256 }, faster(6)),
  workload(
    'get-one-256',
    'ONE get, 256 in flight',
    { workload: 'get', reads: 'one', inFlight: 256 },
    faster(8),
  ),
  workload('put-1', 'QUORUM put, 1 in flight', { ...PUT, inFlight: 1 }, noSlower('p50Ms')),
  workload('get-1', 'QUORUM get, 1 in flight', { ...GET, inFlight: 1 }, noSlower('p50Ms')),
  workload(
    'put-open',
    "QUORUM put at half of etcd's greatest rate",
    // As many as can be late in the longest stall that is still told apart from a failure.
    { ...PUT, inFlight: 10_000, isOpen: true },
    noSlower('p99Ms'),
  ),
  {
    name: 'scan',
    about: '1,000 keys by prefix, 1 in flight',
    task: { kind: 'scan', inFlight: 1 },
    targets: [noSlower('p50Ms')],
  },
  ...(['A', 'B', 'C', 'D', 'F'] as const).map((name) =>
    workload(
      `ycsb-${name.toLowerCase()}`,
      `YCSB ${name} at QUORUM, 256 in flight`,
      { workload: name, reads: 'strong', inFlight: 256 },
      faster(4),
    ),
  ),
];
