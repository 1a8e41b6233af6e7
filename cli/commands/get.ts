import { Command } from 'commander';
import { formatVersion } from '../../src/core/version.js';
import { bytesToDisplay, bytesToJson } from '../byte-text.js';
import { withKv } from '../connection.js';
import { entryView, writtenAt } from '../entry-view.js';
import { EXIT } from '../exit-code.js';
import { CommandFailure, receiptView, replicaLine } from '../failure.js';
import { jsonText, note, printFields, writeData } from '../output.js';
import { keyArgument, keyHexOption, settingsOf } from '../settings.js';

interface GetOptions {
  readonly keyHex?: true;
  readonly withVersion?: true;
  readonly receipt?: true;
}

export function getCommand(): Command {
  return new Command('get')
    .description('print the value of a key')
    .argument('<key>', 'key as text')
    .addOption(keyHexOption())
    .option('--with-version', 'print the version and a tab before the value')
    .option('--receipt', 'say which replicas answered (with -o json, inside the object)')
    .addHelpText(
      'after',
      `
Prints the bytes of the value and nothing else; on a terminal a line break follows. A key that is absent (never written, deleted
or expired) prints nothing and exits with 3. -o table or json also tells when a value was written and when it expires.

Examples:
  kvctl get user/42
  kvctl get photo > photo.jpg
  kvctl get user/42 --consistency ALL -o json`,
    )
    .action(async (keyText: string, options: GetOptions, command: Command) => {
      const settings = settingsOf(command);
      const key = keyArgument(keyText, options.keyHex === true);
      const receipt = options.receipt === true;
      const entry = await withKv(settings, (kv) => kv.getEntry(key, { receipt }));
      const format = settings.output ?? 'raw';
      if (entry === undefined) {
        if (format === 'json' || format === 'jsonl') {
          await writeData(jsonText(format, { key: bytesToJson(key), found: false }));
        }
        throw new CommandFailure(
          EXIT.notFound,
          'NOT_FOUND',
          `${bytesToDisplay(key)} is absent`,
          '',
        );
      }
      if (format !== 'raw') {
        const { key: keyView, ...found } = entryView(entry);
        const view = { key: keyView, found: true, ...found };
        const fields: [string, string][] = [
          ['key', bytesToDisplay(entry.key)],
          ['value', bytesToDisplay(entry.value)],
          ['version', view.version],
          ['written at', writtenAt(entry.version)],
        ];
        if (view.expiresAt !== undefined) fields.push(['expires at', view.expiresAt]);
        for (const replica of view.receipt?.replicas ?? []) {
          fields.push(['replica', replicaLine(replica)]);
        }
        await printFields(format, fields, view);
        return;
      }
      if (options.withVersion === true) await writeData(`${formatVersion(entry.version)}\t`);
      await writeData(entry.value);
      if (process.stdout.isTTY) await writeData('\n');
      if (entry.receipt !== undefined) {
        for (const replica of receiptView(entry.receipt).replicas) note(replicaLine(replica));
      }
    });
}
