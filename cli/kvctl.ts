#!/usr/bin/env node
import { CommanderError } from 'commander';
import { EXIT, exitCodeOf } from './exit-code.js';
import { errorLines, errorView, usageError } from './failure.js';
import { dataFlushed, note } from './output.js';
import { createProgram, stderrColours } from './program.js';

// Whoever reads the output may have read enough: `kvctl scan | head`.
process.stdout.on('error', endForWantOfOutput);
process.stderr.on('error', endForWantOfOutput);

await run(process.argv);

async function run(argv: readonly string[]): Promise<never> {
  const program = createProgram();
  try {
    await program.parseAsync(argv);
  } catch (error) {
    const { output } = program.opts<{ output?: string }>();
    process.exitCode =
      error instanceof CommanderError ? endOfUsage(error, output) : report(error, output);
  }
  await dataFlushed();
  // Not left to the event loop: a connection that is slow to close must not keep a script waiting.
  process.exit();
}

/** Commander has printed help and the release by itself; what is wrong with the command line is told as other errors are. */
function endOfUsage({ code, message }: CommanderError, format: string | undefined): number {
  if (code === 'commander.helpDisplayed' || code === 'commander.version') return EXIT.ok;
  if (code === 'commander.help') return EXIT.usage;
  return report(usageError(message.replace(/^error: /, '').replaceAll('\n', ' ')), format);
}

function report(error: unknown, format: string | undefined): number {
  const view = errorView(error);
  if (format === 'json' || format === 'jsonl') {
    note(JSON.stringify({ error: view }));
  } else {
    const [first = '', ...rest] = errorLines(view);
    note([stderrColours.red(first), ...rest].join('\n'));
  }
  return exitCodeOf(error);
}

/** Quietly where the reader has gone. Anything else, a full disk for one, means that data is missing. */
function endForWantOfOutput(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(EXIT.ok);
  note(`error: the output is not complete: ${error.message} [${error.code ?? 'INTERNAL'}]`);
  process.exit(EXIT.error);
}
