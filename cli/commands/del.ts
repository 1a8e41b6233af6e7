import { Command } from 'commander';
import { KvError } from '../../src/core/errors.js';
import { bytesToDisplay } from '../byte-text.js';
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
A delete is a write: it leaves a tombstone, so that no replica that missed it can bring the key back. Prints the version of each;
exit code 4 says that a newer version hides one. Deleting what is absent succeeds. Several keys are deleted one after the other; a failure stops there, and those before it
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
          } catch (error) {
            throw keys.length === 1 ? error : aboutKey(error, keys, written.length);
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

/** Of several keys, people must know which one failed, and that those after it are as they were. */
function aboutKey(error: unknown, keys: readonly Uint8Array[], at: number): unknown {
  if (!(error instanceof KvError)) return error;
  const left = keys.length - at - 1;
  const untried = left === 0 ? '' : `; ${left} after it not tried`;
  const { code, outcome, node, receipt } = error;
  return new KvError(
    code,
    `key ${at + 1} of ${keys.length}, "${bytesToDisplay(keys[at] as Uint8Array)}"${untried}: ${error.message}`,
    {
      outcome,
      ...(node !== undefined && { node }),
      ...(receipt !== undefined && { receipt }),
      cause: error,
    },
  );
}
