import { Command, Option } from 'commander';
import type { Entry } from '../../src/index.js';
import { withKv } from '../connection.js';
import { formatCount, formatDuration } from '../durations.js';
import { EXIT } from '../exit-code.js';
import { createExportWriter, type ExportWriter } from '../export-writer.js';
import { CommandFailure, usageError } from '../failure.js';
import { note, writeData } from '../output.js';
import { OutputFile } from '../output-file.js';
import { startProgress } from '../progress.js';
import { RECORD_FORMATS, type RecordFormat } from '../record-reader.js';
import { keyArgument, keyHexOption, settingsOf } from '../settings.js';

interface ExportOptions {
  readonly prefix?: string;
  readonly keyHex?: true;
  readonly values?: true;
  readonly format?: RecordFormat;
  readonly columns?: string;
}

/** Text is handed on in pieces of about this length. */
const PIECE_CHARACTERS = 64 * 1024;

export function exportCommand(): Command {
  return new Command('export')
    .description('write keys and values to a file: the inverse of import')
    .argument('[file]', 'where to write; - or nothing: standard output')
    .option('--prefix <prefix>', 'only keys that start with this')
    .addOption(keyHexOption())
    .option('--values', 'values alone, which must be JSON: the records that were imported')
    .addOption(
      new Option('--format <format>', 'default: by file name, else jsonl').choices(RECORD_FORMATS),
    )
    .option('--columns <names>', 'of CSV with --values (default: the fields of the first record)')
    .addHelpText(
      'after',
      `
Writes {"key": ..., "value": ..., "version": ...} for each key, with "expiresAt" where it expires, in the order of keys, at QUORUM
unless --consistency says otherwise. A file appears only when it is complete. With --values alone, expiries are lost.

Examples:
  kvctl export backup.jsonl
  kvctl export --prefix city/ --values cities.json
  kvctl export | gzip > backup.jsonl.gz`,
    )
    .action(async (file: string | undefined, options: ExportOptions, command: Command) => {
      const settings = settingsOf(command);
      if (options.columns !== undefined && options.values !== true) {
        throw usageError('--columns goes with --values');
      }
      const writer = createExportWriter({
        format: options.format ?? formatOf(file),
        valuesOnly: options.values === true,
        columns: options.columns?.split(','),
      });
      const prefix =
        options.prefix === undefined || options.prefix === ''
          ? {}
          : { prefix: keyArgument(options.prefix, options.keyHex === true) };
      await withKv(settings, async (kv) => {
        // Before the file: a typing mistake in an endpoint should not touch the disk.
        const output = file === undefined || file === '-' ? undefined : await OutputFile.open(file);
        const aborted = new AbortController();
        const interrupt = (signal: NodeJS.Signals) =>
          aborted.abort(new CommandFailure(EXIT.interrupted, 'INTERRUPTED', `${signal}: stopped`));
        process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
        try {
          const entries = kv.scan({ ...prefix, signal: aborted.signal });
          const write = (text: string) =>
            output === undefined ? writeData(text) : output.write(text);
          await writeAll(entries, writer, write);
          await output?.commit();
        } catch (error) {
          await output?.abandon();
          throw aborted.signal.aborted ? aborted.signal.reason : error;
        } finally {
          process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
        }
      });
    });
}

async function writeAll(
  entries: AsyncIterable<Entry<Uint8Array>>,
  writer: ExportWriter,
  write: (text: string) => Promise<unknown> | undefined,
): Promise<void> {
  const beganMs = performance.now();
  const progress = startProgress({ verb: 'exported', items: 'keys', total: undefined });
  let keys = 0;
  let piece = '';
  try {
    for await (const entry of entries) {
      piece += writer.entry(entry);
      keys++;
      if (piece.length >= PIECE_CHARACTERS) {
        await write(piece);
        piece = '';
        progress.update(keys, keys);
      }
    }
    await write(piece + writer.end());
  } finally {
    progress.update(keys, keys);
    progress.stop();
  }
  note(
    `${formatCount(keys)} ${keys === 1 ? 'key' : 'keys'} in ${formatDuration(performance.now() - beganMs)}`,
  );
}

function formatOf(file: string | undefined): RecordFormat {
  const extension = /\.([a-z]+)$/i.exec(file ?? '')?.[1]?.toLowerCase();
  return RECORD_FORMATS.find((format) => format === extension) ?? 'jsonl';
}
