import { Readable } from 'node:stream';
import { CsvError, parse as csvParser } from 'csv-parse';
import { compactJson, parseJson } from './json-text.js';
import { ArraySplitter, BrokenInput, LineSplitter, MAX_RECORD_BYTES } from './record-splitter.js';
import type { RawRecord, RecordSplitter } from './record-splitter.js';

export const RECORD_FORMATS = ['jsonl', 'json', 'csv'] as const;
/** `jsonl`: a JSON value a line; `json`: one array of values; `csv`: a header, then rows, which become objects of text. */
export type RecordFormat = (typeof RECORD_FORMATS)[number];

/** A record of the input: what it says, or why it says nothing. */
export type InputRecord =
  | {
      readonly line: number;
      readonly endByte: number;
      readonly value: unknown;
      /** The record as compact JSON, with every digit that the input had. */
      readonly json: string;
    }
  | {
      readonly line: number;
      readonly endByte: number;
      readonly problem: string;
      readonly text: string;
    };

/**
 * By the name's extension; else by the first byte that is not blank: `[` begins an array, `{` a line of JSON, else CSV. Throws
 * {@link BrokenInput} where it can be none of them.
 */
export function detectFormat(fileName: string, start: Uint8Array): RecordFormat {
  const extension = /\.([a-z]+)$/i.exec(fileName)?.[1]?.toLowerCase();
  if (extension === 'csv') return 'csv';
  if (extension === 'jsonl' || extension === 'ndjson') return 'jsonl';
  if (start[0] === 0x1f && start[1] === 0x8b) {
    throw new BrokenInput(
      1,
      0,
      'is compressed with gzip; unpack it first: gunzip -c FILE | kvctl import',
    );
  }
  if (start.includes(0)) throw new BrokenInput(1, 0, 'is binary, or text that is not UTF-8');
  const first = Buffer.from(start).toString('utf8').trim().charAt(0);
  // Arrays of a .jsonl file are records; elsewhere an array is what holds them.
  if (first === '[') return 'json';
  return first === '{' || first === '"' || extension === 'json' ? 'jsonl' : 'csv';
}

/**
 * The records of `chunks` from number `skip` (from 0) on. What is skipped is cut but not parsed. Throws
 * {@link BrokenInput} when the rest of the input cannot be read.
 */
export async function* readRecords(
  chunks: AsyncIterable<Uint8Array>,
  format: RecordFormat,
  skip = 0,
): AsyncGenerator<readonly InputRecord[]> {
  if (format === 'csv') {
    let left = skip;
    for await (const record of readCsv(chunks)) if (left-- <= 0) yield [record];
    return;
  }
  const splitter: RecordSplitter = format === 'json' ? new ArraySplitter() : new LineSplitter();
  let left = skip;
  const parsed = (records: RawRecord[]): InputRecord[] => {
    const wanted = left === 0 ? records : records.slice(left);
    left = Math.max(0, left - records.length);
    return wanted.map(parseRecord);
  };
  for await (const chunk of chunks) yield parsed(splitter.push(chunk));
  yield parsed(splitter.end());
}

function parseRecord({ line, endByte, text, problem }: RawRecord): InputRecord {
  if (problem !== undefined) return { line, endByte, problem, text };
  const parsed = parseJson(text);
  return parsed.ok
    ? { line, endByte, value: parsed.value, json: compactJson(text) }
    : { line, endByte, problem: parsed.reason, text };
}

interface CsvRow {
  readonly record: Record<string, string>;
  readonly info: { readonly lines: number; readonly bytes: number };
}

async function* readCsv(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<InputRecord> {
  // Rows that were skipped wait here for the rows before them, so that records are counted in the same order every time.
  const skipped: InputRecord[] = [];
  const parser = csvParser({
    bom: true,
    columns: uniqueColumns,
    info: true,
    max_record_size: MAX_RECORD_BYTES,
    // So that a row which is rejected can be shown.
    raw: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    on_skip: (error, text) => {
      if (error === undefined) return;
      const { lines, bytes } = error as CsvError & { lines: number; bytes: number };
      skipped.push({
        line: lines,
        endByte: bytes,
        problem: csvProblem(error),
        text: (text ?? '').trim(),
      });
    },
  });
  const source = Readable.from(chunks);
  source.once('error', (error) => parser.destroy(error));
  source.pipe(parser);
  try {
    for await (const { record, info } of parser as AsyncIterable<CsvRow>) {
      while (skipped.length > 0 && (skipped[0] as InputRecord).line < info.lines) {
        yield skipped.shift() as InputRecord;
      }
      yield {
        line: info.lines,
        endByte: info.bytes,
        value: record,
        json: JSON.stringify(record),
      };
    }
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const { lines, bytes } = error as CsvError & { lines?: number; bytes?: number };
    throw new BrokenInput(lines ?? 1, bytes ?? 0, csvProblem(error));
  } finally {
    source.destroy();
  }
  yield* skipped;
}

function uniqueColumns(header: readonly string[]): string[] {
  const twice = header.find((name, at) => header.indexOf(name) !== at);
  if (twice !== undefined) throw new BrokenInput(1, 0, `the header names "${twice}" twice`);
  return [...header];
}

const LONGEST_PROBLEM = 200;

function csvProblem(error: CsvError): string {
  // Some messages hold the whole field.
  const { message } = error;
  const shown =
    message.length > LONGEST_PROBLEM ? `${message.slice(0, LONGEST_PROBLEM)}…` : message;
  return `is not CSV: ${shown}`;
}
