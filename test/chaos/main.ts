import { writeFileSync } from 'node:fs';
import { Command, InvalidArgumentError } from 'commander';
import { toJsonLines } from '../sim/history.js';
import { chaos, type ChaosWish } from './chaos.js';
import { describeFailures, describeRun, isClean } from './report.js';

interface Flags {
  readonly seed: number;
  readonly operations: number;
  readonly rounds: number;
  readonly clients: number;
  readonly think: number;
  readonly fault: number;
  readonly gap: number;
  readonly skew: number;
  readonly epoch: number;
  readonly minutes: number;
  readonly history?: string;
  readonly folder?: string;
}

const ASKED_WRONGLY = 2;
/** As shells tell of SIGINT. */
const INTERRUPTED = 130;

const program = new Command('chaos')
  .description('Runs three real nodes under load and faults, and judges what their clients saw.')
  .option('--operations <count>', 'how many at the least', wholeNumber, 100_000)
  .option('--rounds <count>', 'how many faults of each kind at the least', wholeNumber, 1)
  .option(
    '--seed <seed>',
    'what is done, and to whom; when it happens no seed says',
    wholeNumber,
    1,
  )
  .option('--clients <count>', 'connections, one operation at a time on each', wholeNumber, 32)
  .option('--think <ms>', 'mean pause of a client between two operations', wholeNumber, 2)
  .option('--fault <ms>', 'mean length of a fault', wholeNumber, 1_000)
  .option('--gap <ms>', 'mean time from one fault to the next', wholeNumber, 2_500)
  .option('--skew <ms>', 'how far clocks are set off at the most, 100 or more', someSkew, 300_000)
  .option('--epoch <count>', 'for how many operations the same keys are used', wholeNumber, 3_000)
  .option('--minutes <count>', 'faults and load end then at the latest', wholeNumber, 20)
  .option('--folder <folder>', 'keep data and logs of the nodes there; default: they go')
  .option('--history <file>', 'write the history as JSON lines')
  .addHelpText(
    'after',
    `\nExits with 1 when something is illegal or undecided, when a node ended by itself or did not recover.`,
  )
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : ASKED_WRONGLY));

const flags = program.parse().opts<Flags>();
const wish: ChaosWish = {
  seed: flags.seed,
  operations: flags.operations,
  rounds: flags.rounds,
  clients: flags.clients,
  thinkMs: flags.think,
  faultMs: flags.fault,
  gapMs: flags.gap,
  maxSkewMs: flags.skew,
  keys: { epochOperations: flags.epoch, hotKeys: 2, coolKeys: 30 },
  withinMs: flags.minutes * 60_000,
  ...(flags.folder === undefined ? {} : { folder: flags.folder }),
};

const interrupt = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => interrupt.abort());
try {
  const result = await chaos(wish, interrupt.signal, (line) => process.stderr.write(`${line}\n`));
  if (flags.history !== undefined) writeFileSync(flags.history, toJsonLines(result.history));
  console.log(describeRun(result));
  if (!isClean(result)) {
    console.log(describeFailures(result));
    process.exitCode = 1;
  }
} catch (error) {
  if (!interrupt.signal.aborted) throw error;
  process.exitCode = INTERRUPTED;
}

function someSkew(text: string): number {
  const skewMs = wholeNumber(text);
  if (skewMs >= 100) return skewMs;
  throw new InvalidArgumentError('It must be 100 or more.');
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError('It must be a whole number.');
}
