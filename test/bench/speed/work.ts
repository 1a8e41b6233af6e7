import { BenchRun, type BenchResult, type BenchStore } from '../../../cli/bench/bench-run.js';
import { Dice } from '../../../cli/bench/dice.js';
import { Latencies } from '../../../cli/bench/latencies.js';
import { runClosedLoop } from '../../../cli/bench/load.js';
import { BenchRecords } from '../../../cli/bench/records.js';
import { WORKLOADS } from '../../../cli/bench/workloads.js';
import { prefixEnd } from '../../../src/core/key-range.js';
import type { Seen } from './measured.js';
import type { Task } from './rows.js';

/** One row on one system: so much more of it each time. */
export type Work = (durationMs: number) => Promise<Seen>;

export const VALUE_BYTES = 256;
/** For the writes that fill a store, which nobody measures: a busy machine is to cost time, not the run. */
export const LOAD_TIMEOUT_MS = 60_000;
const PREFIX = 'bench/';
const SCANNED_GROUPS = 10;
const SCANNED_KEYS = 1_000;
const LOAD_IN_FLIGHT = 256;
const SEED = 1;

/** The same keys and values are asked for in the same order on every system. */
export function benchRun(
  store: BenchStore,
  task: Extract<Task, { kind: 'workload' }>,
  records: number,
  perSecond: number | undefined,
  valueBytes = VALUE_BYTES,
): BenchRun {
  const workload = WORKLOADS[task.workload];
  return new BenchRun(store, {
    workload,
    distribution: workload.distribution,
    records,
    valueBytes,
    inFlight: task.inFlight,
    perSecond,
    prefix: PREFIX,
    seed: SEED,
  });
}

export function workOf(
  store: BenchStore,
  task: Task,
  records: number,
  perSecond: number | undefined,
): Work {
  return task.kind === 'scan'
    ? scanning(store, task.inFlight)
    : sliceBySlice(benchRun(store, task, records, perSecond));
}

export function sliceBySlice(run: BenchRun): Work {
  return async (durationMs) => {
    run.forget();
    const startedMs = performance.now();
    await run.measure({ operations: Number.POSITIVE_INFINITY, durationMs });
    const tookMs = performance.now() - startedMs;
    const result = run.result();
    return {
      operations: result.operations,
      durationMs: tookMs,
      errors: errorsOf(result),
      ...(result.firstError !== undefined && { firstError: result.firstError }),
      missing: result.missing,
      latency: run.overall(),
    };
  };
}

function errorsOf({ errors }: BenchResult): number {
  return Object.values(errors).reduce((sum, count) => sum + count, 0);
}

function groupPrefix(group: number): string {
  return `scan/${group}/`;
}

/** All that {@link scanning} asks for. */
export async function loadScanned(store: BenchStore): Promise<void> {
  const dice = new Dice(SEED);
  const groups = Array.from({ length: SCANNED_GROUPS }, (_, group) => {
    return new BenchRecords(groupPrefix(group), VALUE_BYTES, dice);
  });
  let next = 0;
  const put = async () => {
    const number = next++;
    const records = groups[number % SCANNED_GROUPS] as BenchRecords;
    await store.put(records.key(Math.floor(number / SCANNED_GROUPS)), records.nextValue());
  };
  const operations = SCANNED_GROUPS * SCANNED_KEYS;
  await runClosedLoop(put, LOAD_IN_FLIGHT, { operations, durationMs: Number.POSITIVE_INFINITY });
}

/** An operation is a scan to its end, as a program writes it that does not know how many keys there are. */
function scanning(store: BenchStore, inFlight: number): Work {
  const dice = new Dice(SEED);
  const ranges = Array.from({ length: SCANNED_GROUPS }, (_, group) => {
    const gte = Buffer.from(groupPrefix(group));
    return { gte, lt: prefixEnd(gte) as Uint8Array };
  });
  return async (durationMs) => {
    const latencies = new Latencies();
    const errors: unknown[] = [];
    let missing = 0;
    const scan = async (beganMs: number) => {
      try {
        let found = 0;
        const range = ranges[dice.below(SCANNED_GROUPS)] as (typeof ranges)[number];
        for await (const _ of store.scan(range)) found++;
        missing += SCANNED_KEYS - found;
        latencies.record(performance.now() - beganMs);
      } catch (error) {
        errors.push(error);
      }
    };
    const extent = { operations: Number.POSITIVE_INFINITY, durationMs };
    const tookMs = await runClosedLoop(scan, inFlight, extent);
    const latency = latencies.summary();
    const firstError = errors[0] instanceof Error ? { firstError: errors[0].message } : {};
    return {
      operations: latency.count,
      durationMs: tookMs,
      errors: errors.length,
      ...firstError,
      missing,
      latency,
    };
  };
}
