import { Command } from 'commander';
import { DEFAULT_LIMITS } from '../../src/core/limits.js';
import { withKv } from '../connection.js';
import { usageError } from '../failure.js';
import { openInput, readWhole } from '../input.js';
import { keyArgument, keyHexOption, settingsOf } from '../settings.js';
import { printWritten, shadowFailure, writtenView } from '../written-view.js';

interface PutOptions {
  readonly keyHex?: true;
  readonly file?: string;
  readonly receipt?: true;
}

export function putCommand(): Command {
  return new Command('put')
    .description('store a value under a key')
    .argument('<key>', 'key as text')
    .argument('[value]', 'value as text; - or nothing: standard input')
    .addOption(keyHexOption())
    .option('--file <path>', 'take the value from a file')
    .option('--receipt', 'say which replicas have it')
    .addHelpText(
      'after',
      `
Prints the version of the write. Exit code 4 says that a newer version hides it.

Examples:
  kvctl put user/42 '{"name":"Ada"}'
  kvctl put photo --file photo.jpg
  date | kvctl put now --consistency ALL`,
    )
    .action(
      async (
        keyText: string,
        valueText: string | undefined,
        options: PutOptions,
        command: Command,
      ) => {
        const settings = settingsOf(command);
        const key = keyArgument(keyText, options.keyHex === true);
        const value = await valueOf(valueText, options.file);
        const receipt = options.receipt === true;
        const written = await withKv(settings, (kv) => kv.put(key, value, { receipt }));
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
