import { isUtf8 } from 'node:buffer';
import { formatVersion } from '../src/core/version.js';
import type { Entry } from '../src/index.js';
import { stringify } from 'csv-stringify/sync';
import { bytesToDisplay } from './byte-text.js';
import { isoTime } from './entry-view.js';
import { CommandFailure } from './failure.js';
import { exportedEntry } from './import-entry.js';
import { compactJson, parseJson } from './json-text.js';
import type { RecordFormat } from './record-reader.js';

/** Turns entries into the text of an export. */
export interface ExportWriter {
  /** Throws when the format cannot say the entry, naming its key: an export is complete or fails. */
  entry(entry: Entry<Uint8Array>): string;
  /** What follows the last entry. */
  end(): string;
}

export interface ExportPlan {
  readonly format: RecordFormat;
  /** Values alone, which must be JSON: what went in through `import --key`. */
  readonly valuesOnly: boolean;
  /** Of CSV with values alone; undefined: the fields of the first record. */
  readonly columns: readonly string[] | undefined;
}

export function createExportWriter(plan: ExportPlan): ExportWriter {
  const text = plan.valuesOnly ? valueText : entryText;
  switch (plan.format) {
    case 'jsonl':
      return { entry: (entry) => `${text(entry)}\n`, end: () => '' };
    case 'json':
      return arrayWriter(text);
    case 'csv':
      return plan.valuesOnly ? recordTable(plan.columns) : entryTable();
  }
}

function entryText({ key, value, version, expiresAtMs }: Entry<Uint8Array>): string {
  const expiresAt = expiresAtMs === undefined ? undefined : isoTime(expiresAtMs);
  return exportedEntry(key, value, formatVersion(version), expiresAt);
}

function valueText(entry: Entry<Uint8Array>): string {
  const text = textOf(entry);
  if (text === undefined || !parseJson(text).ok) {
    throw unsayable(entry, 'is not JSON', 'Export without --values.');
  }
  return compactJson(text);
}

function arrayWriter(text: (entry: Entry<Uint8Array>) => string): ExportWriter {
  let isFirst = true;
  return {
    entry(entry) {
      const before = isFirst ? '[\n' : ',\n';
      isFirst = false;
      return before + text(entry);
    },
    end: () => (isFirst ? '[]\n' : '\n]\n'),
  };
}

const ENTRY_COLUMNS = 'key,value,version,expiresAt\n';

function entryTable(): ExportWriter {
  let isFirst = true;
  return {
    entry(entry) {
      const text = textOf(entry);
      if (text === undefined || !isUtf8(entry.key)) {
        throw unsayable(entry, 'is not text', 'CSV holds only text; use --format jsonl.');
      }
      const header = isFirst ? ENTRY_COLUMNS : '';
      isFirst = false;
      const { keyText, version, expiresAtMs } = entry;
      const expiresAt = expiresAtMs === undefined ? '' : isoTime(expiresAtMs);
      return header + stringify([[keyText, text, formatVersion(version), expiresAt]]);
    },
    end: () => (isFirst ? ENTRY_COLUMNS : ''),
  };
}

/** Records as rows. All must have the columns of the first: what a row cannot hold would be lost. */
function recordTable(given: readonly string[] | undefined): ExportWriter {
  let columns = given;
  let isFirst = true;
  return {
    entry(entry) {
      const text = textOf(entry);
      const parsed = text === undefined ? undefined : parseJson(text);
      const record = parsed?.ok === true ? parsed.value : undefined;
      if (typeof record !== 'object' || record === null || Array.isArray(record)) {
        throw unsayable(entry, 'is no JSON object', 'Use --format jsonl.');
      }
      const fields = record as Record<string, unknown>;
      columns ??= Object.keys(fields);
      const known = columns;
      const extra = Object.keys(fields).find((name) => !known.includes(name));
      if (extra !== undefined) {
        throw unsayable(
          entry,
          `has a field "${extra}" that is no column`,
          'Name all columns with --columns, or use --format jsonl.',
        );
      }
      const rows = [known.map((name) => cellOf(fields[name]))];
      if (isFirst) rows.unshift([...known]);
      isFirst = false;
      return stringify(rows);
    },
    end: () => (isFirst && columns !== undefined ? stringify([[...columns]]) : ''),
  };
}

function cellOf(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function textOf({ value }: Entry<Uint8Array>): string | undefined {
  return isUtf8(value) ? Buffer.from(value).toString('utf8') : undefined;
}

function unsayable(entry: Entry<Uint8Array>, problem: string, advice: string): CommandFailure {
  const message = `the value of ${bytesToDisplay(entry.key)} ${problem}`;
  return new CommandFailure(1, 'NOT_EXPORTABLE', message, advice);
}
