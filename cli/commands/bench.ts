import { Command, Option } from 'commander';
import { DEFAULT_CONSISTENCY } from '../../src/core/consistency.js';
import { DEFAULT_LIMITS } from '../../src/core/limits.js';
import type { BenchResult, BenchRun } from '../bench/bench-run.js';
import type { EchoResult } from '../bench/echo-run.js';
import { casReport } from '../bench/cas-report.js';
import { DISTRIBUTIONS, type Distribution } from '../bench/key-chooser.js';
import type { LatencySummary } from '../bench/latencies.js';
import { latencyColumns } from '../bench/latency-columns.js';
import type { Extent } from '../bench/load.js';
import { WORKLOADS, type Workload, type WorkloadName } from '../bench/workloads.js';
import { printable } from '../byte-text.js';
import { withKv } from '../connection.js';
import { formatCount, formatDuration } from '../durations.js';
import { usageError } from '../failure.js';
import { jsonText, note, renderTable, writeData, type Column } from '../output.js';
import { startProgress } from '../progress.js';
import { countArgument, durationArgument, settingsOf, type Settings } from '../settings.js';

interface BenchFlags {
  readonly workload: WorkloadName | 'cas';
  readonly records: number;
  readonly operations?: number;
  readonly seconds?: number;
  readonly warmup: number;
  readonly inFlight: number;
  readonly rate?: number;
  readonly valueBytes: number;
  readonly distribution?: Distribution;
  readonly prefix: string;
  readonly seed: number;
  readonly load: boolean;
  readonly echo?: true;
}

const DEFAULT_SECONDS = 10;
const ECHO_ROUNDS = 5;

export function benchCommand(): Command {
  return new Command('bench')
    .description('measure throughput and latency with the workloads of YCSB')
    .addOption(
      new Option('--workload <name>', 'see below')
        .choices([...Object.keys(WORKLOADS), 'cas'])
        .default('A'),
    )
    .addOption(count('--records <n>', 'records that are there', 1, 10_000_000).default(10_000))
    .addOption(count('--operations <n>', 'stop after so many', 1, 1e12))
    .addOption(
      count('--seconds <n>', `stop after so long (default: ${DEFAULT_SECONDS})`, 1, 86_400),
    )
    .addOption(
      new Option('--warmup <duration>', 'not measured')
        .default(1_000, '1s')
        .argParser(durationArgument),
    )
    .addOption(count('--in-flight <n>', 'operations at once', 1, 100_000).default(256))
    .addOption(count('--rate <n>', 'open loop: so many begin each second', 1, 1_000_000))
    .addOption(
      count('--value-bytes <n>', 'of each record', 0, DEFAULT_LIMITS.maxValueBytes).default(256),
    )
    .addOption(
      new Option('--distribution <name>', 'which records are asked for').choices(DISTRIBUTIONS),
    )
    .option('--prefix <prefix>', 'of the keys that it writes', 'bench/')
    .addOption(count('--seed <n>', 'of the choices', 0, 0xffff_ffff).default(1))
    .option('--no-load', 'the records are there from an earlier run')
    .option('--echo', 'measure a bare gRPC echo server too, and compare')
    .addHelpText(
      'after',
      `
Workloads:
${Object.entries(WORKLOADS)
  .map(([name, { about, distribution }]) => `  ${name.padEnd(4)} ${about} (${distribution})`)
  .join('\n')}
  cas  compare-and-sets without contention and LINEARIZABLE gets, by turns with puts and gets at QUORUM (each for --seconds)

A closed loop keeps --in-flight operations under way. With --rate, operations begin on schedule whatever the cluster does,
and latency counts from when they were due; at most --in-flight are under way, the rest wait. The records stay in the
cluster afterwards.

Examples:
  kvctl bench --workload put --seconds 20 --echo
  kvctl bench --workload B --rate 5000 --consistency ONE -o json`,
    )
    .action(async (flags: BenchFlags, command: Command) => {
      const settings = settingsOf(command);
      if (flags.prefix === '') throw usageError('--prefix: must not be empty');
      if (flags.workload === 'cas') {
        await measureCas(flags, settings);
        return;
      }
      const workload: Workload = WORKLOADS[flags.workload];
      const distribution = flags.distribution ?? workload.distribution;
      const extent = extentOf(flags);
      const { result, echo } = await withKv(settings, async (kv) => {
        const { BenchRun, sharedBytesCodec } = await import('../bench/bench-run.js');
        const run = new BenchRun(kv.withCodec(sharedBytesCodec), {
          workload,
          distribution,
          records: flags.records,
          valueBytes: flags.valueBytes,
          inFlight: flags.inFlight,
          perSecond: flags.rate,
          prefix: flags.prefix,
          seed: flags.seed,
        });
        if (flags.load && workload.isLoaded) await load(run, flags.records);
        return flags.echo === true
          ? measureBesideEcho(run, flags, extent)
          : { result: await measureAlone(run, flags, extent), echo: undefined };
      });
      const view = {
        workload: flags.workload,
        consistency: settings.consistency ?? DEFAULT_CONSISTENCY,
        loop: flags.rate === undefined ? 'closed' : 'open',
        inFlight: flags.inFlight,
        ...(flags.rate !== undefined && { rate: flags.rate }),
        records: flags.records,
        valueBytes: flags.valueBytes,
        distribution,
        ...result,
        ...(echo !== undefined && { echo, timesEcho: timesEcho(result, echo) }),
      };
      const format = settings.output ?? 'table';
      await writeData(
        format === 'json' || format === 'jsonl' ? jsonText(format, view) : report(result, echo),
      );
      for (const [code, times] of Object.entries(result.errors)) {
        note(`${formatCount(times)} operations failed with ${code}`);
      }
      if (result.firstError !== undefined) note(`The first: ${printable(result.firstError)}`);
      if (result.missing > 0) note(`${formatCount(result.missing)} reads found no record`);
    });
}

function count(flags: string, about: string, min: number, max: number): Option {
  return new Option(flags, about).argParser(countArgument(min, max));
}

/** With neither --operations nor --seconds, ten seconds; with both, whichever is over first. */
function extentOf({ operations, seconds, rate }: BenchFlags): Extent {
  const most = operations ?? Number.POSITIVE_INFINITY;
  if (seconds !== undefined) return { operations: most, durationMs: seconds * 1_000 };
  if (operations === undefined) return { operations: most, durationMs: DEFAULT_SECONDS * 1_000 };
  const durationMs = rate === undefined ? Number.POSITIVE_INFINITY : (operations / rate) * 1_000;
  return { operations, durationMs };
}

async function load(run: Pick<BenchRun, 'load'>, records: number): Promise<void> {
  const progress = startProgress({ verb: 'loaded', items: 'records', total: records });
  try {
    await run.load((stored) => progress.update(stored, stored));
  } finally {
    progress.stop();
  }
}

async function measureAlone(
  run: BenchRun,
  flags: BenchFlags,
  extent: Extent,
): Promise<BenchResult> {
  note(`warming up for ${formatDuration(flags.warmup)}`);
  await run.warmUp(flags.warmup);
  note('measuring');
  await run.measure(extent);
  return run.result();
}

async function measureCas(flags: BenchFlags, settings: Settings): Promise<void> {
  const { records, valueBytes, inFlight, prefix, seed } = flags;
  if (flags.rate !== undefined || flags.echo === true || settings.consistency !== undefined) {
    throw usageError('--workload cas: takes neither --rate nor --echo nor --consistency');
  }
  if (!flags.load) throw usageError('--workload cas: loads its records itself');
  if (records < inFlight) throw usageError('--records: must not be fewer than --in-flight');
  const result = await withKv(settings, async (kv) => {
    const { sharedBytesCodec } = await import('../bench/bench-run.js');
    const { CasRun } = await import('../bench/cas-run.js');
    const options = { records, valueBytes, inFlight, prefix, seed };
    const run = new CasRun(kv.withCodec(sharedBytesCodec), options);
    await load(run, records);
    note(`warming up for ${formatDuration(flags.warmup)} each`);
    await run.warmUp(flags.warmup);
    await run.measure(extentOf(flags), (round, of) => note(`measuring, round ${round} of ${of}`));
    return run.result();
  });
  const format = settings.output ?? 'table';
  const { measures, ...rest } = result;
  const view = { workload: 'cas', inFlight, records, valueBytes, measures, ...rest };
  await writeData(
    format === 'json' || format === 'jsonl' ? jsonText(format, view) : casReport(result),
  );
  for (const [code, times] of Object.entries(result.errors)) {
    note(`${formatCount(times)} operations failed with ${code}`);
  }
  if (result.lost > 0) note(`${formatCount(result.lost)} compare-and-sets lost`);
}

/** By turns, so that a machine that is slow for a while is slow for both. */
async function measureBesideEcho(
  run: BenchRun,
  flags: BenchFlags,
  extent: Extent,
): Promise<{ readonly result: BenchResult; readonly echo: EchoResult }> {
  const { EchoRun } = await import('../bench/echo-run.js');
  const echo = await EchoRun.start(flags.valueBytes, flags.inFlight);
  try {
    note(`warming up for ${formatDuration(flags.warmup)}, the cluster and a bare gRPC echo server`);
    await run.warmUp(flags.warmup);
    await echo.warmUp(flags.warmup);
    const part: Extent = {
      operations: Math.ceil(extent.operations / ECHO_ROUNDS),
      durationMs: extent.durationMs / ECHO_ROUNDS,
    };
    for (let round = 1; round <= ECHO_ROUNDS; round++) {
      note(`measuring both, round ${round} of ${ECHO_ROUNDS}`);
      await run.measure(part);
      await echo.measure(part);
    }
    return { result: run.result(), echo: echo.result() };
  } finally {
    await echo.stop();
  }
}

function timesEcho(result: BenchResult, echo: EchoResult): number {
  return Math.round((result.perSecond / Math.max(echo.perSecond, 1)) * 100) / 100;
}

type Row = readonly [name: string, latency: LatencySummary];

const COLUMNS: readonly Column<Row>[] = [
  { title: 'OPERATION', cell: ([name]) => name },
  ...latencyColumns<Row>(([, latency]) => latency),
];

function report(result: BenchResult, echo: EchoResult | undefined): string {
  const rows: Row[] = Object.entries(result.latencies);
  if (echo !== undefined) rows.push(['gRPC echo', echo.latency]);
  const summary = `${formatCount(result.perSecond)} operations/s (${formatCount(result.operations)} in ${result.seconds.toFixed(1)} s)`;
  const compared =
    echo === undefined
      ? ''
      : `, ${timesEcho(result, echo)} times the ${formatCount(echo.perSecond)}/s of a bare gRPC echo`;
  return `${renderTable(COLUMNS, rows)}\n${summary}${compared}\n`;
}
