import { writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { Command } from 'commander';
import type { BenchStore } from '../../cli/bench/bench-run.js';
import { EtcdCluster, etcdVersion } from './speed/etcd.js';
import { measureGrowth, type GrowthPoint } from './speed/growth.js';
import { Limit } from './speed/limit.js';
import { machineOf } from './speed/machine.js';
import { OWN_CLUSTER_ROWS } from './speed/own-cluster-rows.js';
import { Processes } from './speed/processes.js';
import { profileBoth } from './speed/profiles.js';
import { QuorateCluster } from './speed/quorate.js';
import {
  limitSystem,
  measureRows,
  storeSystem,
  type RowResult,
  type System,
} from './speed/rounds.js';
import { ROWS, type Row, type Task } from './speed/rows.js';
import { growthText, machineText, rowsText, verdictsText } from './speed/tables.js';
import { benchRun, loadScanned, sliceBySlice, VALUE_BYTES } from './speed/work.js';

// How fast three nodes are beside three of etcd and beside what the disk and the cores allow, in one run (README.md).
//
// Progress goes to standard error, tables to standard output. Needs Linux; `etcd` on the PATH for the rows against it.

interface Flags {
  readonly rows?: string;
  readonly rounds?: string;
  readonly seconds?: string;
  readonly records?: string;
  readonly keys?: string;
  readonly quick: boolean;
  readonly growth: boolean;
  readonly growthMinutes?: string;
  readonly profile?: string;
  readonly json?: string;
  readonly folder: string;
}

const options = new Command('npm run bench --')
  .description('Measures three nodes beside three of etcd, and beside what disk and cores allow.')
  .option('--rows <names>', 'only these, with commas between them (default: all)')
  .option('--rounds <n>', 'how often each row is measured (default: 5)')
  .option('--seconds <n>', 'how long each time (default: 3)')
  .option('--records <n>', 'keys that are there before (default: 10000)')
  .option('--keys <n>', 'of the row restart (default: 1000000)')
  .option('--quick', 'every row once, briefly: whether it works, not how fast it is', false)
  .option('--growth', 'how cost grows with nodes, values and keys', false)
  .option('--growth-minutes <n>', 'at most so long (default: 30)')
  .option('--profile <folder>', 'write CPU profiles of a client and a node')
  .option('--json <file>', 'write the figures there as well')
  .option('--folder <folder>', 'where the data lies: its disk is what writes wait for', tmpdir())
  .parse()
  .opts<Flags>();

const { quick } = options;
const number = (given: string | undefined, quickly: number, usually: number): number => {
  const value = given === undefined ? (quick ? quickly : usually) : Number(given);
  if (!(value > 0)) throw new Error(`not a number above 0: ${given}`);
  return value;
};
const rounds = number(options.rounds, 1, 5);
const sliceMs = number(options.seconds, 1, 3) * 1_000;
const records = number(options.records, 2_000, 10_000);
const keys = number(options.keys, 20_000, 1_000_000);
const growthMs = number(options.growthMinutes, 2, 30) * 60_000;
const cities = quick ? 5_000 : undefined;
const pace = { rounds, sliceMs, warmUpMs: quick ? 300 : 2_000 };

const allNames = [...ROWS.map(({ name }) => name), ...Object.keys(OWN_CLUSTER_ROWS)];
const names = options.rows?.split(',') ?? (options.growth ? [] : allNames);
const unknown = names.filter((name) => !allNames.includes(name));
if (unknown.length > 0) {
  throw new Error(`no row is called ${unknown.join(' or ')}: ${allNames.join(', ')}`);
}

const startedMs = performance.now();
const tell = (progress: string): void => {
  const seconds = ((performance.now() - startedMs) / 1_000).toFixed(1).padStart(7);
  process.stderr.write(`${seconds} s  ${progress}\n`);
};

const processes = new Processes(options.folder);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  // Leaving is what ends all that was started.
  process.once(signal, () => process.exit(130));
}

const etcd = await etcdVersion();
const machine = machineOf(processes.folder, etcd);
const results: RowResult[] = [];
const growth: GrowthPoint[] = [];
try {
  await Promise.race([measure(), processes.broken]);
  tell('done');
} catch (error) {
  console.error(error);
  tell('stopped: what follows is what had been measured before');
  process.exitCode = 1;
}
report();
process.exit();

async function measure(): Promise<void> {
  const compared = ROWS.filter(({ name }) => names.includes(name));
  if (compared.length > 0) results.push(...(await measureCompared(compared, etcd !== undefined)));
  for (const [name, row] of Object.entries(OWN_CLUSTER_ROWS)) {
    if (!names.includes(name)) continue;
    results.push(await row({ processes, rounds, sliceMs, cities, keys, tell }));
  }
  if (options.growth) {
    const setting = { processes, ...pace, withinMs: growthMs, isQuick: quick, tell };
    await measureGrowth(setting, growth);
  }
}

function report(): void {
  const tables = [machineText(machine)];
  if (results.length > 0) tables.push(rowsText(results), verdictsText(results));
  if (growth.length > 0) tables.push(growthText(growth));
  if (quick)
    tables.push(
      'A quick run shows that every row works; what it says of speed and targets means nothing.',
    );
  console.log(tables.filter((table) => table !== '').join('\n'));
  if (options.json !== undefined) {
    const settings = { ...pace, records, keys, valueBytes: VALUE_BYTES };
    const document = { machine, settings, rows: results, growth };
    writeFileSync(options.json, `${JSON.stringify(document, undefined, 2)}\n`);
  }
}

/** The rows that are measured by turns on every system, all of which run all the time. */
async function measureCompared(rows: readonly Row[], hasEtcd: boolean): Promise<RowResult[]> {
  tell('starting three nodes');
  const profileFolder = options.profile;
  const quorate = await QuorateCluster.start(processes, 'quorate', { size: 3, profileFolder });
  const strong = quorate.kv;
  await load('quorate', strong, rows);
  const rival = hasEtcd ? await startEtcd(rows) : undefined;
  const isOpen = rows.some(({ task }) => task.kind === 'workload' && task.isOpen === true);
  const rate = isOpen && rival !== undefined ? await halfOfGreatest(rival.many) : undefined;
  if (isOpen && rate === undefined) tell('put-open is left out: it needs etcd to say the rate');
  const one = strong.with({ consistency: 'ONE' });
  const own = (task: Task) => (isAtOne(task) ? one : strong);
  const systems: System[] = [storeSystem('quorate', quorate.pids, own, records, rate)];
  if (rival !== undefined) {
    systems.push(storeSystem('etcd', rival.cluster.pids, rival.storeFor, records, rate));
  }
  const limit = rows.some(({ targets }) => targets.some(({ against }) => against === 'limit'));
  if (limit) systems.push(limitSystem(await Limit.start(processes, records, VALUE_BYTES)));
  const measured = await measureRows(rows, systems, pace, () => processes.pids, tell);
  if (profileFolder !== undefined) await profile(rows, systems[0] as System, profileFolder);
  await Promise.all([quorate.stop(), rival?.cluster.stop()]);
  return measured;
}

async function startEtcd(rows: readonly Row[]) {
  tell('starting three nodes of etcd');
  const cluster = await EtcdCluster.start(processes);
  const many = cluster.store('linearizable', 'all');
  const lone = cluster.store('linearizable', 'leader');
  const serializable = cluster.store('serializable', 'all');
  const storeFor = (task: Task) =>
    isAtOne(task) ? serializable : task.inFlight === 1 ? lone : many;
  await load('etcd', many, rows);
  return { cluster, many, storeFor };
}

function isAtOne(task: Task): boolean {
  return task.kind === 'workload' && task.reads === 'one';
}

async function load(name: string, store: BenchStore, rows: readonly Row[]): Promise<void> {
  tell(`storing ${records} records in ${name}`);
  const task = { kind: 'workload', workload: 'get', reads: 'strong', inFlight: 1 } as const;
  await benchRun(store, task, records, undefined).load(() => {});
  if (rows.some(({ task: { kind } }) => kind === 'scan')) await loadScanned(store);
}

/** Operations a second: half of the most puts that etcd was seen to take. */
async function halfOfGreatest(store: BenchStore): Promise<number> {
  let greatest = 0;
  for (const inFlight of [256, 1_024]) {
    tell(`looking for etcd's greatest rate of puts, ${inFlight} in flight`);
    const task = { kind: 'workload', workload: 'put', reads: 'strong', inFlight } as const;
    const work = sliceBySlice(benchRun(store, task, records, undefined));
    await work(pace.warmUpMs);
    const { operations, durationMs } = await work(sliceMs);
    greatest = Math.max(greatest, (operations / durationMs) * 1_000);
  }
  tell(`it takes ${Math.round(greatest)} puts a second`);
  return greatest / 2;
}

/** One more slice of each row, which is not counted: being profiled costs time. */
async function profile(rows: readonly Row[], quorate: System, folder: string): Promise<void> {
  for (const row of rows) {
    const work = quorate.work(row);
    if (work === undefined) continue;
    tell(`profiling ${row.name}`);
    await work(pace.warmUpMs);
    const pid = quorate.pids[0] as number;
    const lines = await profileBoth(row.name, folder, pid, () => work(sliceMs));
    console.log(`${lines.join('\n')}\n`);
  }
}
