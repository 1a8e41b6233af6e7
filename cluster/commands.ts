import { relative, resolve } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { Command, InvalidArgumentError, Option } from 'commander';
import { writeData } from '../cli/output.js';
import { demo } from './demo.js';
import { parseDelayMs, parseSkewMs } from './faults.js';
import { DEFAULT_LAYOUT, MAX_NODES, placesOf, type Layout } from './layout.js';
import { down, kill, pause, restart, resume, start, up, wipe } from './lifecycle.js';
import { showLogs } from './logs.js';
import { delay, heal, partition, skew } from './network.js';
import { Problem } from './problem.js';
import { withStateLock } from './state-lock.js';
import { readState, type ClusterState } from './state.js';
import { showStatus, watchStatus } from './status.js';
import { existingState, type Workplace } from './workplace.js';

const DEFAULT_STATE_FOLDER = '.quorate';
const EXAMPLES = `
Without a command: up. Examples:
  npm run cluster                             three nodes on 127.0.0.1:7101 to 7103
  npm run cluster -- demo                     a network partition and what comes of it, in one screen
  npm run cluster -- kill n2                  as a crash would
  npm run cluster -- partition n1 --one-way   n1 hears nothing of the others
  npm run cluster -- logs -f n2
  npm run cluster -- wipe`;

/** The command line. Actions throw Problem or KvError, and set the exit code where the answer is a number. */
export function clusterProgram(): Command {
  const program = new Command('npm run cluster --')
    .description('runs several nodes on this machine, and makes them fail')
    .addOption(
      new Option('--state-dir <folder>', 'where data, logs and state are kept').default(
        DEFAULT_STATE_FOLDER,
      ),
    )
    .addHelpText('after', EXAMPLES)
    .showSuggestionAfterError()
    .exitOverride();
  addLifecycle(program);
  addViews(program);
  addFaults(program);
  return program;
}

/** Without a command, `up` is meant; its options may be given all the same. */
export function withDefaultCommand(program: Command, args: readonly string[]): readonly string[] {
  const names = new Set([...program.commands.map((command) => command.name()), 'help']);
  const isHelp = args.some((arg) => arg === '-h' || arg === '--help');
  const startsWithCommand = args[0] !== undefined && !args[0].startsWith('-');
  return isHelp || startsWithCommand || args.some((arg) => names.has(arg)) ? args : ['up', ...args];
}

function addLifecycle(program: Command): void {
  program
    .command('up')
    .description('start what does not run, and wait until all nodes are healthy')
    .option(
      '--nodes <n>',
      `how many nodes, 1 to ${MAX_NODES} (default: 3)`,
      wholeNumber(1, MAX_NODES),
    )
    .option(
      '--base-port <port>',
      `port of n1; the next nodes have the next ones (default: ${DEFAULT_LAYOUT.basePort})`,
      wholeNumber(1_024, 65_536 - MAX_NODES),
    )
    .action(async (options: { nodes?: number; basePort?: number }, self: Command) => {
      const wanted: Partial<Layout> = {
        ...(options.nodes !== undefined && { nodeCount: options.nodes }),
        ...(options.basePort !== undefined && { basePort: options.basePort }),
      };
      const at = workplaceOf(self);
      const state = await withStateLock(at.stateFolder, () => up(at, wanted));
      at.say(summary(at, state));
    });
  program
    .command('down')
    .description('stop all nodes; their data stays')
    .action(async (_options: unknown, self: Command) => {
      const at = workplaceOf(self);
      await changeIfThere(at, () => down(at));
    });
  program
    .command('restart')
    .argument('[nodes...]', 'for example n2 (default: all)')
    .option('--rolling', 'one by one, each when the one before is ready again')
    .description('stop nodes and start them again')
    .action(async (ids: string[], options: { rolling?: true }, self: Command) => {
      const at = workplaceOf(self);
      await change(at, () => restart(at, ids, options.rolling === true));
    });
  addForNodes(program, 'kill', 'end nodes at once, as a crash does (SIGKILL)', kill);
  addForNodes(program, 'start', 'start nodes that do not run', start);
  addForNodes(program, 'pause', 'make nodes stand still (SIGSTOP)', pause);
  addForNodes(program, 'resume', 'let paused nodes go on (SIGCONT)', resume);
  program
    .command('wipe')
    .description('stop all nodes and delete their data, logs and state')
    .option('-y, --yes', 'do not ask')
    .action(async (options: { yes?: true }, self: Command) => {
      const at = workplaceOf(self);
      if (options.yes !== true && readState(at.stateFolder) !== undefined) await confirmWipe(at);
      await changeIfThere(at, () => wipe(at));
    });
}

function addViews(program: Command): void {
  program
    .command('status')
    .description('show every node; exit code 5 unless all of them serve')
    .option('-w, --watch', 'again every second, until interrupted')
    .addOption(new Option('-o, --output <format>').choices(['table', 'json']).default('table'))
    .action(async (options: { watch?: true; output: 'table' | 'json' }, self: Command) => {
      const at = workplaceOf(self);
      if (options.watch === true) await watchStatus(at);
      if (!(await showStatus(at, options.output))) process.exitCode = 5;
    });
  program
    .command('logs')
    .argument('[nodes...]', 'for example n2 (default: all)')
    .description('show the logs of nodes as one')
    .option('-f, --follow', 'go on with what is written, until interrupted')
    .option('-n, --lines <n>', 'how many of the last lines', wholeNumber(0, 1_000_000), 200)
    .action(async (ids: string[], options: { follow?: true; lines: number }, self: Command) => {
      const follow = options.follow === true;
      await showLogs(workplaceOf(self), ids, { lines: options.lines, follow });
    });
  program
    .command('demo')
    .description('cut a node off, write on, heal: watch copies differ and become equal again')
    .action(async (_options: unknown, self: Command) => {
      const at = workplaceOf(self);
      await withStateLock(at.stateFolder, () => demo(at));
    });
  program
    .command('env')
    .description('print what makes kvctl find this cluster: eval "$(npm run -s cluster -- env)"')
    .action(async (_options: unknown, self: Command) => {
      const state = existingState(workplaceOf(self));
      await writeData(`export KVCTL_ENDPOINTS=${endpointsOf(state)}\n`);
    });
}

function addFaults(program: Command): void {
  program
    .command('partition')
    .argument('<nodes...>', 'for example n1')
    .description('cut nodes off from the others; clients still reach them')
    .option('--from <nodes>', 'only from these, for example n2,n3', (text) => text.split(','))
    .option('--one-way', 'the nodes hear nothing, and are heard')
    .action(async (ids: string[], options: { from?: string[]; oneWay?: true }, self: Command) => {
      const { from = [], oneWay = false } = options;
      const at = workplaceOf(self);
      await change(at, () => partition(at, ids, { from, oneWay }));
    });
  program
    .command('heal')
    .description('end all network partitions and delays; clocks stay skewed')
    .action(async (_options: unknown, self: Command) => {
      const at = workplaceOf(self);
      await change(at, () => heal(at));
    });
  program
    .command('skew')
    .argument('<node>', 'for example n2')
    .argument('<by>', 'for example +800ms or -2s; 0ms sets the clock right')
    .description('set the clock of a node off')
    // Else -2s would be an option.
    .allowUnknownOption()
    .action(async (id: string, by: string, _options: unknown, self: Command) => {
      const at = workplaceOf(self);
      const skewMs = parseSkewMs(by);
      await change(at, () => skew(at, id, skewMs));
    });
  program
    .command('delay')
    .argument('<node>', 'for example n2')
    .argument('<by>', 'for example 50ms; 0ms ends it')
    .description('make a node slow to answer and to call')
    .action(async (id: string, by: string, _options: unknown, self: Command) => {
      const at = workplaceOf(self);
      const delayMs = parseDelayMs(by);
      await change(at, () => delay(at, id, delayMs));
    });
}

function addForNodes(
  program: Command,
  name: string,
  description: string,
  act: (at: Workplace, ids: readonly string[]) => Promise<void> | void,
): void {
  program
    .command(name)
    .argument('<nodes...>', 'for example n2')
    .description(description)
    .action(async (ids: string[], _options: unknown, self: Command) => {
      const at = workplaceOf(self);
      await change(at, async () => act(at, ids));
    });
}

function workplaceOf(command: Command): Workplace {
  const folder = command.optsWithGlobals<{ stateDir: string }>().stateDir;
  const stateFolder = resolve(folder);
  const near = relative(process.cwd(), stateFolder);
  const shownFolder = near.startsWith('..') || near === '' ? stateFolder : near;
  const isDefault = stateFolder === resolve(DEFAULT_STATE_FOLDER);
  return {
    stateFolder,
    shownFolder,
    script: isDefault ? 'npm run cluster --' : `npm run cluster -- --state-dir ${shownFolder}`,
    say: (line) => process.stdout.write(`${line}\n`),
  };
}

/** Changes a cluster that must be there. */
function change(at: Workplace, work: () => Promise<void>): Promise<void> {
  // Asked first, so that nothing is left in a folder that has nothing to do with a cluster.
  existingState(at);
  return withStateLock(at.stateFolder, work);
}

/** Changes a cluster, or tells that there is none. */
async function changeIfThere(at: Workplace, work: () => Promise<void>): Promise<void> {
  if (readState(at.stateFolder) === undefined) at.say(`There is no cluster in ${at.shownFolder}.`);
  else await change(at, work);
}

async function confirmWipe({ shownFolder }: Workplace): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new Problem(`This deletes all data in ${shownFolder}. Say so with --yes.`, 2);
  }
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`Delete all data in ${shownFolder}? [y/N] `);
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new Problem('Nothing was deleted.');
}

function summary({ shownFolder, script }: Workplace, state: ClusterState): string {
  const isDefaultLayout = endpointsOf(state) === endpointsOf(DEFAULT_LAYOUT);
  const find = `eval "$(${script.replace('run', 'run --silent')} env)"`;
  return [
    '',
    ...placesOf(state).map(({ id, endpoint }) => `  ${id}  ${endpoint}`),
    `  data and logs in ${shownFolder}`,
    '',
    'Try:',
    ...(isDefaultLayout ? [] : [`  ${find}`]),
    '  npx kvctl put greeting hello',
    `  ${script} ${state.nodeCount > 2 ? 'kill n2' : 'restart'}`,
    '  npx kvctl get greeting',
  ].join('\n');
}

function endpointsOf(layout: Layout): string {
  return placesOf(layout)
    .map(({ endpoint }) => endpoint)
    .join(',');
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (number >= min && number <= max) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}
