import { writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DEFECTS } from './defects.js';
import { FAULT_NAMES, type FaultName } from './faults.js';
import { toJsonLines } from './history.js';
import { describeFailure, replayCommand, summarize, Totals, type RunSummary } from './report.js';
import { run } from './run.js';
import { SCENARIOS } from './scenarios.js';
import { runMany, seedsFrom, wishOf, type Job } from './simulate.js';

interface Flags {
  readonly seeds: number;
  readonly from: number;
  readonly seed?: number;
  readonly nodes?: number;
  readonly minutes?: number;
  readonly faults?: readonly FaultName[];
  readonly defect?: string;
  readonly scenario?: string;
  readonly trace: number;
  readonly history?: string;
}

/** Progress is told this often: on a terminal on one line, elsewhere line by line, and then not so often. */
const TERMINAL_MS = 500;
const LINE_MS = 15_000;
/** Of further failures only the seeds are told. */
const MOST_STORIES = 5;
/** Beyond this a run takes minutes. */
const MOST_NODES = 64;
const ASKED_WRONGLY = 2;
/** As shells tell of SIGINT. */
const INTERRUPTED = 130;

const program = new Command('sim')
  .description('Runs whole clusters under virtual time, with faults, and checks what clients saw.')
  .option('--seeds <count>', 'how many seeds to run', wholeNumber(1), 100)
  .option('--from <seed>', 'the first of them', wholeNumber(0), 1)
  .addOption(
    new Option('--seed <seed>', 'run this one only, and print its trace hash')
      .argParser(wholeNumber(0))
      .conflicts(['seeds', 'from']),
  )
  .option('--nodes <count>', 'how many nodes; default: the seed says', wholeNumber(1, MOST_NODES))
  .option('--minutes <minutes>', 'virtual minutes of faults in each run; default: 0.25', someTime)
  .option('--faults <list>', `of ${FAULT_NAMES.join(', ')}; or "none"`, faultList)
  .addOption(new Option('--defect <name>', 'a deliberate defect').choices(namesOf(DEFECTS)))
  .addOption(
    new Option('--scenario <name>', 'a failure of the past')
      .choices(namesOf(SCENARIOS))
      .conflicts(['seeds', 'from', 'nodes', 'minutes', 'faults', 'defect']),
  )
  .option('--trace <lines>', 'of one run: print the last lines of the trace', wholeNumber(0), 0)
  .option('--history <file>', 'of one run: write the history as JSON lines')
  .addHelpText(
    'after',
    `\nBy default every fault but quick-crash; those that take from a disk what was acknowledged in every third seed.
Exits with 1 when a law was violated or could not be judged, with 2 when it was asked for something that makes no sense.`,
  )
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : ASKED_WRONGLY));

const flags = program.parse().opts<Flags>();
const isOne = flags.scenario !== undefined || flags.seed !== undefined;
if (!isOne && (flags.history !== undefined || flags.trace > 0)) {
  program.error('error: --trace and --history are of one run: name it with --seed or --scenario.');
}
const asked: Omit<Job, 'seed'> = {
  ...(flags.nodes === undefined ? {} : { nodes: flags.nodes }),
  ...(flags.minutes === undefined ? {} : { faultsMs: Math.round(flags.minutes * 60_000) }),
  ...(flags.faults === undefined ? {} : { faults: flags.faults }),
  ...(flags.defect === undefined ? {} : { defect: flags.defect }),
};
const failed = isOne ? await replay(flags) : await simulate(flags);
process.exitCode = failed ? 1 : 0;

/** One seed, told in full. True: it violates a law, or could not be judged. */
async function replay({ seed, scenario, trace, history }: Flags): Promise<boolean> {
  const named = SCENARIOS.find(({ name }) => name === scenario);
  const wish =
    named === undefined
      ? wishOf({ ...asked, seed: seed as number })
      : { ...named.wish, seed: seed ?? named.seeds[0] ?? 1 };
  const result = await run({ ...wish, traceLines: Math.max(trace, 200_000) });
  if (history !== undefined) save(history, toJsonLines(result.history));
  if (trace > 0) console.log(result.trace.slice(-trace).join('\n'));
  const summary = summarize(result);
  const { nodes, virtualMs, operations, succeeded, traceHash } = summary;
  console.log(
    `seed ${result.seed}: ${nodes} nodes, ${(virtualMs / 1_000).toFixed(1)} virtual seconds, ` +
      `${operations} operations, ${succeeded} succeeded, trace ${traceHash}`,
  );
  if (summary.violations > 0) console.log(summary.story);
  else console.log(summary.isVoid ? 'void: too little got through to prove anything' : 'clean');
  return summary.violations > 0;
}

function save(path: string, text: string): void {
  try {
    writeFileSync(path, text);
  } catch (error) {
    program.error(`error: cannot write the history: ${(error as Error).message}`);
  }
}

/** Many seeds. True: some violate a law, or could not be judged. Interrupted, it tells of those that it has done. */
async function simulate({ from, seeds }: Flags): Promise<boolean> {
  const totals = new Totals();
  const startMs = performance.now();
  const tty = process.stderr.isTTY;
  let toldMs = startMs;
  const tell = () => {
    const elapsedMs = performance.now() - startMs;
    const leftS = ((elapsedMs / totals.runs) * (seeds - totals.runs)) / 1_000;
    const line = `${totals.runs} of ${seeds} seeds, ${totals.violated} violated, ${Math.ceil(leftS)} s left`;
    process.stderr.write(tty ? `\r${line.padEnd(70)}` : `${line}\n`);
  };
  const onRun = (summary: RunSummary) => {
    totals.add(summary);
    if (summary.violations > 0) {
      const story =
        totals.violated + totals.undecided > MOST_STORIES
          ? ', as others do'
          : `:\n${summary.story}`;
      if (tty) process.stderr.write(`\r${' '.repeat(70)}\r`);
      console.log(`seed ${summary.seed} ${describeFailure(summary)}${story}`);
      console.log(`replay it: ${replayCommand({ ...asked, seed: summary.seed })}\n`);
    }
    const nowMs = performance.now();
    if (nowMs - toldMs < (tty ? TERMINAL_MS : LINE_MS)) return;
    toldMs = nowMs;
    tell();
  };
  const conclude = () => {
    if (tty) process.stderr.write(`\r${' '.repeat(70)}\r`);
    console.log(totals.describe(performance.now() - startMs));
  };
  process.once('SIGINT', () => {
    conclude();
    process.exit(INTERRUPTED);
  });
  await runMany(seedsFrom(from, seeds, asked), onRun);
  conclude();
  return totals.failed;
}

function namesOf(named: readonly { readonly name: string }[]): string[] {
  return named.map(({ name }) => name);
}

function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= least && value <= most) return value;
    const upTo = most === Number.MAX_SAFE_INTEGER ? ' or more' : ` to ${most}`;
    throw new InvalidArgumentError(`It must be a whole number, ${least}${upTo}.`);
  };
}

function someTime(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value > 0 && value < Number.POSITIVE_INFINITY) return value;
  throw new InvalidArgumentError('It must be a number above 0.');
}

function faultList(text: string): readonly FaultName[] {
  if (text === 'none') return [];
  return text.split(',').map((name) => {
    const known = FAULT_NAMES.find((fault) => fault === name);
    if (known === undefined) throw new InvalidArgumentError(`There is no fault ${name}.`);
    return known;
  });
}
