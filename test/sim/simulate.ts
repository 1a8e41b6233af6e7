import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { DEFECTS } from './defects.js';
import type { FaultName } from './faults.js';
import { summarize, type RunSummary } from './report.js';
import { run, type RunWish } from './run.js';
import type { WorkloadName } from './workload.js';

/** One run of many: plain data, since it goes to another thread. */
export interface Job {
  readonly seed: number;
  readonly nodes?: number;
  readonly faultsMs?: number;
  readonly faults?: readonly FaultName[];
  readonly workloads?: readonly WorkloadName[];
  /** A deliberate defect, by its name. */
  readonly defect?: string;
  /** Levels are weaker than the laws are told: reads and writes at ONE, judged as QUORUM. */
  readonly oneAsQuorum?: boolean;
}

/** Enough for all of a run. */
const STORY_TRACE_LINES = 200_000;

export function wishOf(job: Job): RunWish {
  const { defect: name, oneAsQuorum = false, ...rest } = job;
  if (oneAsQuorum) {
    return {
      ...rest,
      workloads: ['ones'],
      countAs: (level) => (level === 'ONE' ? 'QUORUM' : level),
    };
  }
  if (name === undefined) return rest;
  const defect = DEFECTS.find((one) => one.name === name);
  if (defect === undefined) throw new Error(`no defect is called ${name}`);
  const { faults, workloads, nodes, shape } = defect;
  return {
    defect,
    ...(faults === undefined ? {} : { faults }),
    ...(workloads === undefined ? {} : { workloads }),
    ...(nodes === undefined ? {} : { nodes }),
    ...(shape === undefined ? {} : { shape }),
    ...rest,
  };
}

/** Does one run; where it fails, once more with a trace to tell. */
export async function runAndTell(job: Job): Promise<RunSummary> {
  const wish = wishOf(job);
  const result = await run(wish);
  if (result.violations.length === 0 || job.defect !== undefined) return summarize(result);
  return summarize(await run({ ...wish, traceLines: STORY_TRACE_LINES }));
}

/** Does the runs that `jobs` names, on all cores. `onRun` hears of each as it ends, in no certain order. */
export async function runMany(
  jobs: Iterator<Job>,
  onRun: (summary: RunSummary, job: Job) => void,
  threads = availableParallelism(),
): Promise<void> {
  await Promise.all(Array.from({ length: threads }, () => runOnThread(jobs, onRun)));
}

function runOnThread(
  jobs: Iterator<Job>,
  onRun: (summary: RunSummary, job: Job) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./worker.js', import.meta.url));
    let job: Job;
    const feed = () => {
      const next = jobs.next();
      if (next.done === true) {
        worker.terminate().then(() => resolve(), reject);
        return;
      }
      job = next.value;
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      worker.postMessage(job);
    };
    worker.on('message', (summary: RunSummary) => {
      onRun(summary, job);
      feed();
    });
    worker.on('error', reject);
    feed();
  });
}

/** `count` jobs like `like`, with seeds from `first` on. */
export function* seedsFrom(
  first: number,
  count: number,
  like: Omit<Job, 'seed'> = {},
): Generator<Job> {
  for (let seed = first; seed < first + count; seed++) yield { ...like, seed };
}
