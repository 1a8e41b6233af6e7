import { Command, Option } from 'commander';
import { DEFAULT_LIMITS } from '../../src/core/limits.js';
import type { PutOptions } from '../../src/index.js';
import { expectOf, printCas, requireLinearizable, type ExpectFlags } from '../cas-view.js';
import { withKv } from '../connection.js';
import { usageError } from '../failure.js';
import { openInput, readWhole } from '../input.js';
import { keyArgument, keyHexOption, settingsOf, ttlArgument } from '../settings.js';
import { printWritten, shadowFailure, writtenView } from '../written-view.js';

interface Options extends ExpectFlags {
  readonly keyHex?: true;
  readonly file?: string;
  readonly ttl?: number;
  readonly receipt?: true;
}

export function putCommand(): Command {
  return new Command('put')
    .description('store a value under a key')
    .argument('<key>', 'key as text')
    .argument('[value]', 'value as text; - or nothing: standard input')
    .addOption(keyHexOption())
    .option('--file <path>', 'take the value from a file')
    .addOption(
      new Option('--ttl <duration>', 'the value expires after so long: 30s, 12h, 7d').argParser(
        ttlArgument,
      ),
    )
    .option('--if-version <version>', 'only if the key is still at this version')
    .option('--if-value <text>', 'only if the key holds this value')
    .option('--if-absent', 'only if the key is absent')
    .option('--receipt', 'say which replicas have it')
    .addHelpText(
      'after',
      `
Prints the version of the write. Exit code 4 says that a newer version hides it. With --ttl the key is absent again when the
time is over, counted from the moment that the version names; a later put without --ttl stays.

With --if-version, --if-value or --if-absent it is a compare-and-set at level LINEARIZABLE: where the key holds something else nothing
is written, the exit code is 4, and what is there is told.

Examples:
  kvctl put user/42 '{"name":"Ada"}'
  kvctl put photo --file photo.jpg
  kvctl put session/7f3a Ada --ttl 30m
  kvctl put leader n1 --if-absent
  date | kvctl put now --consistency ALL`,
    )
    .action(
      async (
        keyText: string,
        valueText: string | undefined,
        options: Options,
        command: Command,
      ) => {
        const settings = settingsOf(command);
        const key = keyArgument(keyText, options.keyHex === true);
        const value = await valueOf(valueText, options.file);
        const put: PutOptions = {
          receipt: options.receipt === true,
          ...(options.ttl !== undefined && { ttlMs: options.ttl }),
        };
        const expect = expectOf(options);
        if (expect !== undefined) {
          requireLinearizable(settings);
          const result = await withKv(settings, (kv) => kv.cas(key, { ...put, expect }, value));
          await printCas(settings.output ?? 'table', key, result);
          return;
        }
        const written = await withKv(settings, (kv) => kv.put(key, value, put));
        await printWritten(settings.output ?? 'table', [writtenView(key, written)]);
        const shadowed = shadowFailure([written]);
        if (shadowed !== undefined) throw shadowed;
      },
    );
}

async function valueOf(text: string | undefined, file: string | undefined): Promise<Uint8Array> {
  if (text !== undefined && file !== undefined) {
    throw usageError('VALUE and --file both give the value');
  }
  if (text !== undefined && text !== '-') return Buffer.from(text, 'utf8');
  // The cluster says what its bound is; this only keeps a mistaken file out of memory.
  return readWhole(
    openInput(file ?? text, 'give a VALUE, or --file, or pipe the value in'),
    DEFAULT_LIMITS.maxFrameBytes,
  );
}
