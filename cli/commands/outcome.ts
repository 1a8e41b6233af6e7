import { Command } from 'commander';
import { parseRequestId } from '../../src/core/request-id.js';
import { formatVersion } from '../../src/core/version.js';
import type { RequestOutcome } from '../../src/index.js';
import { withKv } from '../connection.js';
import { EXIT } from '../exit-code.js';
import { usageError } from '../failure.js';
import { printFields } from '../output.js';
import { settingsOf } from '../settings.js';

const WORDS: Readonly<Record<RequestOutcome['result'], string>> = {
  applied: 'it took effect',
  lost: 'it found something else than expected, and wrote nothing',
  never: 'it has not taken effect, and from now on it never does',
  forgotten: 'too long ago to be known; if it has not taken effect, it never does',
};

const EXIT_OF: Readonly<Record<RequestOutcome['result'], number>> = {
  applied: EXIT.ok,
  lost: EXIT.conflict,
  never: EXIT.notFound,
  forgotten: EXIT.error,
};

export function outcomeCommand(): Command {
  return new Command('outcome')
    .description('ask what became of a LINEARIZABLE write')
    .argument('<id>', 'the request id that its result or its error named: VERSION@KEY')
    .addHelpText(
      'after',
      `
For a write that ended without an answer. Exit code 0: it took effect. 4: a compare-and-set that lost. 3: it has not taken effect,
and now that it has been asked for it never does. 1: too much has happened since, nobody knows. It is remembered for about a
minute, and for 64 writes of the same key.

Example:
  kvctl outcome 01a204b392e8-0000-0424f10091728777@stock/7`,
    )
    .action(async (id: string, _options: object, command: Command) => {
      const settings = settingsOf(command);
      if (parseRequestId(id) === undefined) throw usageError(`"${id}" is not a request id`);
      const outcome = await withKv(settings, (kv) => kv.outcome(id));
      const version = 'version' in outcome ? outcome.version : undefined;
      const told = version === undefined ? {} : { version: formatVersion(version) };
      await printFields(
        settings.output ?? 'table',
        [['result', outcome.result], ...Object.entries(told), ['means', WORDS[outcome.result]]],
        { requestId: id, result: outcome.result, ...told },
      );
      process.exitCode = EXIT_OF[outcome.result];
    });
}
