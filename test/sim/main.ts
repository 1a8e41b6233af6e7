import { writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError, Option } from 'commander';
import { DEFECTS } from './defects.js';
import { DEFAULT_FAULTS, FAULT_NAMES, type FaultName } from './faults.js';
import { toJsonLines } from './history.js';
import { summarize, Totals, type RunSummary } from './report.js';
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

const program = new Command('sim')
  .description('Runs whole clusters under virtual time, with faults, and checks what clients saw.')
  .option('--seeds <count>', 'how many seeds to run', wholeNumber, 100)
  .option('--from <seed>', 'the first of them', wholeNumber, 1)
  .option('--seed <seed>', 'run this one only, and print its trace hash', wholeNumber)
  .option('--nodes <count>', 'how many nodes; default: the seed says', wholeNumber)
  .option('--minutes <minutes>', 'virtual minutes of faults in each run; default: 0.25', Number)
  .option('--faults <list>', `of ${FAULT_NAMES.join(', ')}; or "none"`, faultList)
  .addOption(new Option('--defect <name>', 'a deliberate defect').choices(namesOf(DEFECTS)))
  .addOption(new Option('--scenario <name>', 'a failure of the past').choices(namesOf(SCENARIOS)))
  .option('--trace <lines>', 'with --seed: print the last lines of the trace', wholeNumber, 0)
  .option('--history <file>', 'with --seed: write the history as JSON lines')
  .addHelpText(
    'after',
    `\nBy default every fault but ${FAULT_NAMES.filter((name) => !DEFAULT_FAULTS.includes(name)).join(' and ')}, which nodes cannot survive yet.`,
  );

const flags = program.parse().opts<Flags>();
const asked: Omit<Job, 'seed'> = {
  ...(flags.nodes === undefined ? {} : { nodes: flags.nodes }),
  ...(flags.minutes === undefined ? {} : { faultsMs: flags.minutes * 60_000 }),
  ...(flags.faults === undefined ? {} : { faults: flags.faults }),
  ...(flags.defect === undefined ? {} : { defect: flags.defect }),
};
const failed =
  flags.scenario !== undefined || flags.seed !== undefined
    ? await replay(flags)
    : await simulate(flags);
process.exitCode = failed ? 1 : 0;

/** One seed, told in full. True: it violates a law. */
async function replay({ seed, scenario, trace, history }: Flags): Promise<boolean> {
  const named = SCENARIOS.find(({ name }) => name === scenario);
  const wish =
    named === undefined
      ? wishOf({ ...asked, seed: seed as number })
      : { ...named.wish, seed: seed ?? named.seeds[0] ?? 1 };
  const result = await run({ ...wish, traceLines: Math.max(trace, 200_000) });
  if (history !== undefined) writeFileSync(history, toJsonLines(result.history));
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

/** Many seeds. True: some violate a law. */
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
      const story = totals.violated > MOST_STORIES ? ', as others do' : `:\n${summary.story}`;
      if (tty) process.stderr.write(`\r${' '.repeat(70)}\r`);
      console.log(`seed ${summary.seed} violates a law${story}`);
      console.log(`replay it: ${replayCommand(summary.seed)}\n`);
    }
    const nowMs = performance.now();
    if (nowMs - toldMs < (tty ? TERMINAL_MS : LINE_MS)) return;
    toldMs = nowMs;
    tell();
  };
  await runMany(seedsFrom(from, seeds, asked), onRun);
  if (tty) process.stderr.write(`\r${' '.repeat(70)}\r`);
  console.log(totals.describe(performance.now() - startMs));
  return totals.violated > 0;
}

function replayCommand(seed: number): string {
  const { nodes, minutes, faults, defect } = flags;
  return [
    `npm run sim -- --seed ${seed}`,
    ...(nodes === undefined ? [] : [`--nodes ${nodes}`]),
    ...(minutes === undefined ? [] : [`--minutes ${minutes}`]),
    ...(faults === undefined
      ? []
      : [`--faults ${faults.length === 0 ? 'none' : faults.join(',')}`]),
    ...(defect === undefined ? [] : [`--defect '${defect}'`]),
  ].join(' ');
}

function namesOf(named: readonly { readonly name: string }[]): string[] {
  return named.map(({ name }) => name);
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('a whole number.');
  return value;
}

function faultList(text: string): readonly FaultName[] {
  if (text === 'none') return [];
  return text.split(',').map((name) => {
    const known = FAULT_NAMES.find((fault) => fault === name);
    if (known === undefined) throw new InvalidArgumentError(`there is no fault ${name}.`);
    return known;
  });
}
