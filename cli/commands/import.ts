import { Command, Option } from 'commander';
import { printable } from '../byte-text.js';
import { withKv } from '../connection.js';
import { formatCount, formatDuration } from '../durations.js';
import { EXIT } from '../exit-code.js';
import { usageError } from '../failure.js';
import { openInput } from '../input.js';
import { planText } from '../import-entry.js';
import { ImportLedger } from '../import-ledger.js';
import { runImport } from '../import-run.js';
import { parseKeyTemplate } from '../key-template.js';
import { note, printFields } from '../output.js';
import { RECORD_FORMATS, type RecordFormat } from '../record-reader.js';
import { identityOf } from '../resume-point.js';
import { countArgument, durationArgument, settingsOf, ttlArgument } from '../settings.js';

interface ImportOptions {
  readonly key?: string;
  readonly value?: string;
  readonly format?: RecordFormat;
  readonly concurrency: number;
  readonly giveUp: number;
  readonly ttl?: number;
  readonly rejects?: string;
  readonly resumeFile?: string;
  readonly restart?: true;
}

export function importCommand(): Command {
  return new Command('import')
    .description('store the records of a file: JSON lines, a JSON array or CSV')
    .argument('[file]', 'what to read; - or nothing: standard input')
    .option('--key <template>', 'key of a record, with its fields in braces (see below)')
    .option('--value <field>', 'store this field instead of the whole record')
    .addOption(
      new Option('--format <format>', 'default: by file name or first byte').choices(
        RECORD_FORMATS,
      ),
    )
    .addOption(
      new Option('--concurrency <n>', 'puts under way at once, 1 to 4096')
        .default(512)
        .argParser(countArgument(1, 4_096)),
    )
    .addOption(
      new Option('--give-up <duration>', 'stop when one record has failed for so long')
        .default(60_000, '60s')
        .argParser(durationArgument),
    )
    .addOption(
      new Option(
        '--ttl <duration>',
        'records expire after so long: 30s, 12h, 7d (those that say so themselves: as they say)',
      ).argParser(ttlArgument),
    )
    .option('--rejects <file>', 'write rejected records there, as JSON lines')
    .option(
      '--resume-file <file>',
      'where to go on after an interruption (default: FILE.quorate-resume)',
    )
    .option('--restart', 'start over, whatever the resume file says')
    .addHelpText(
      'after',
      `
The key of a record is made from its fields: {name}, or {place.name} for a field of a field; {{ is a brace. A record that
lacks a field is rejected. The value is the record as JSON. Without --key, records are what export writes:
{"key": ..., "value": ...}, with "expiresAt" where the value expires at that moment, or "ttl": "30s". Of two records with one
key, the later wins. One that has expired already is counted and not stored.

An interrupted import goes on where it stopped when the same command is run again. Exit code 1 says that records were
rejected, or that the import stopped.

Examples:
  kvctl import cities.json --key 'city/{country}/{name}/{lat},{lng}'
  kvctl export --prefix city/ | kvctl --endpoints other:7101 import
  kvctl import users.csv --key 'user/{id}' --value email
  kvctl import sessions.jsonl --key 'session/{id}' --ttl 12h`,
    )
    .action(async (file: string | undefined, options: ImportOptions, command: Command) => {
      const settings = settingsOf(command);
      if (options.value !== undefined && options.key === undefined) {
        throw usageError('--value goes with --key');
      }
      const plan = {
        key: options.key === undefined ? undefined : parseKeyTemplate(options.key),
        valueField: options.value?.split('.'),
        ttlMs: options.ttl,
      };
      const input = openInput(file, 'name a file, or pipe one in');
      const resumeFile =
        options.resumeFile ?? (input.path === '-' ? undefined : `${input.path}.quorate-resume`);
      const ledger = new ImportLedger({
        input: identityOf(input.path, input.stats),
        plan: planText(plan),
        resumeFile,
        rejectsFile: options.rejects,
        isRestart: options.restart === true,
      });
      if (ledger.resumedAfter > 0) {
        note(`Going on after record ${formatCount(ledger.resumedAfter)} (${resumeFile}).`);
      }
      const beganMs = performance.now();
      const { format, concurrency, giveUp: giveUpMs } = options;
      try {
        await withKv(settings, (kv) =>
          runImport(kv, input, plan, { format, concurrency, giveUpMs }, ledger),
        );
      } catch (error) {
        if (ledger.isSaved) {
          note(
            `${formatCount(ledger.records)} records are done. Run the same command to go on there (${resumeFile}).`,
          );
        } else if (ledger.stored > 0) {
          const again = resumeFile === undefined ? ' With --resume-file it could go on there.' : '';
          note(`${formatCount(ledger.stored)} records were stored before that.${again}`);
        }
        throw error;
      } finally {
        ledger.close();
        noteProblems(ledger, options.rejects);
      }
      const report = reportOf(ledger, performance.now() - beganMs);
      await printFields(settings.output ?? 'table', fieldsOf(report), report);
      if (report.rejected > 0) process.exitCode = EXIT.error;
    });
}

/** What `import` prints when it has come to the end of its input. */
interface ImportReport {
  /** By this run. */
  readonly stored: number;
  /** By all runs. */
  readonly rejected: number;
  /** By this run: not stored, because they had expired. */
  readonly expired: number;
  /** Records of this run whose key an earlier one had. */
  readonly duplicates: number;
  /** Whether there may be more of them, because not all keys could be remembered. */
  readonly duplicatesAreMore: boolean;
  readonly resumedAfter: number;
  readonly durationMs: number;
  readonly perSecond: number;
}

function reportOf(ledger: ImportLedger, durationMs: number): ImportReport {
  return {
    stored: ledger.stored,
    rejected: ledger.rejected,
    expired: ledger.expired,
    duplicates: ledger.duplicates.count,
    duplicatesAreMore: ledger.duplicates.isFull,
    resumedAfter: ledger.resumedAfter,
    durationMs: Math.round(durationMs),
    perSecond: Math.round((ledger.stored / Math.max(durationMs, 1)) * 1_000),
  };
}

function fieldsOf(report: ImportReport): [string, string][] {
  const atLeast = report.duplicatesAreMore ? 'at least ' : '';
  const { expired } = report;
  const ended: [string, string][] = expired === 0 ? [] : [['had expired', formatCount(expired)]];
  return [
    ['stored', formatCount(report.stored)],
    ['rejected', formatCount(report.rejected)],
    ...ended,
    ['duplicate keys', `${atLeast}${formatCount(report.duplicates)}`],
    ['resumed after', formatCount(report.resumedAfter)],
    ['took', formatDuration(report.durationMs)],
    ['rate', `${formatCount(report.perSecond)}/s`],
  ];
}

function noteProblems(
  { rejected, firstRejections, duplicates }: ImportLedger,
  file?: string,
): void {
  for (const { line, reason } of firstRejections)
    note(`rejected: line ${line}: ${printable(reason)}`);
  if (rejected > firstRejections.length) {
    note(
      `${formatCount(rejected)} records were rejected; ${file ?? '--rejects FILE'} has them all.`,
    );
  }
  for (const { line, key } of duplicates.first) {
    note(`duplicate: line ${line}: the key ${key} came before; the later record wins`);
  }
}
