import { Command, Option } from 'commander';
import { printCas, requireLinearizable } from '../cas-view.js';
import { withKv } from '../connection.js';
import { usageError } from '../failure.js';
import { keyArgument, keyHexOption, settingsOf, ttlArgument } from '../settings.js';

interface Options {
  readonly keyHex?: true;
  readonly delete?: true;
  readonly ttl?: number;
  readonly receipt?: true;
}

export function casCommand(): Command {
  return new Command('cas')
    .description('replace a value if it is what you expect (compare-and-set)')
    .argument('<key>', 'key as text')
    .argument('<expected>', 'the value that must be there, as text')
    .argument('[next]', 'the value that takes its place, as text')
    .addOption(keyHexOption())
    .option('--delete', 'instead of NEXT: delete the key')
    .addOption(
      new Option('--ttl <duration>', 'NEXT expires after so long: 30s, 12h, 7d').argParser(
        ttlArgument,
      ),
    )
    .option('--receipt', 'say which replicas have it')
    .addHelpText(
      'after',
      `
One step at level LINEARIZABLE: nobody writes in between. Where the key holds something else nothing is written, the exit code is 4,
and what is there is told. By version or absence: kvctl put --if-version, --if-absent.

Examples:
  kvctl cas stock/7 3 2
  kvctl cas owner ada --delete`,
    )
    .action(
      async (
        keyText: string,
        expected: string,
        nextText: string | undefined,
        options: Options,
        command: Command,
      ) => {
        const settings = settingsOf(command);
        requireLinearizable(settings);
        if ((nextText === undefined) !== (options.delete === true)) {
          throw usageError('give either NEXT or --delete');
        }
        const key = keyArgument(keyText, options.keyHex === true);
        const next = nextText === undefined ? undefined : Buffer.from(nextText);
        const result = await withKv(settings, (kv) =>
          kv.cas(
            key,
            {
              expect: { value: Buffer.from(expected) },
              receipt: options.receipt === true,
              ...(options.ttl !== undefined && { ttlMs: options.ttl }),
            },
            next,
          ),
        );
        await printCas(settings.output ?? 'table', key, result);
      },
    );
}
