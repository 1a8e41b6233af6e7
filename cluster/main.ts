import { CommanderError } from 'commander';
import { exitCodeOf } from '../cli/exit-code.js';
import { errorLines, errorView } from '../cli/failure.js';
import { note } from '../cli/output.js';
import { clusterProgram, withDefaultCommand } from './commands.js';
import { Problem } from './problem.js';

// `npm run cluster -- logs | head`: whoever read has had enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1);
});

try {
  const program = clusterProgram();
  await program.parseAsync(withDefaultCommand(program, process.argv.slice(2)), { from: 'user' });
} catch (error) {
  process.exitCode = tell(error);
}

/** Prints what went wrong and answers the exit code. */
function tell(error: unknown): number {
  // commander has printed what it has to say; what is no help text is a usage error.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof Problem) {
    note(error.message);
    return error.exitCode;
  }
  for (const line of errorLines(errorView(error))) note(line);
  return exitCodeOf(error);
}
