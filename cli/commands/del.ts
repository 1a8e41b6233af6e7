import { Command } from 'commander';
import { withKv } from '../connection.js';
import { keyArgument, keyHexOption, settingsOf } from '../settings.js';
import { printWritten, shadowFailure, writtenView } from '../written-view.js';

export function delCommand(): Command {
  return new Command('del')
    .description('delete keys')
    .argument('<keys...>', 'keys as text')
    .addOption(keyHexOption())
    .option('--receipt', 'say which replicas have it')
    .addHelpText(
      'after',
      `
Deleting what is absent succeeds. Several keys are deleted one after the other; a failure stops there, and those before it
have been printed.

Examples:
  kvctl del user/42
  kvctl del user/42 user/43 --consistency ALL`,
    )
    .action(
      async (
        keyTexts: string[],
        options: { readonly keyHex?: true; readonly receipt?: true },
        command: Command,
      ) => {
        const settings = settingsOf(command);
        const keys = keyTexts.map((text) => keyArgument(text, options.keyHex === true));
        const receipt = options.receipt === true;
        const all = await withKv(settings, async (kv) => {
          const written = [];
          try {
            for (const key of keys) written.push(await kv.delete(key, { receipt }));
          } finally {
            const views = written.map((one, at) => writtenView(keys[at] as Uint8Array, one));
            if (views.length > 0) await printWritten(settings.output ?? 'table', views);
          }
          return written;
        });
        const shadowed = shadowFailure(all);
        if (shadowed !== undefined) throw shadowed;
      },
    );
}
