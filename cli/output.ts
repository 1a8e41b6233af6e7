import { once } from 'node:events';
import { printable } from './byte-text.js';

export const OUTPUT_FORMATS = ['table', 'json', 'jsonl', 'raw'] as const;
export type OutputFormat = (typeof OUTPUT_FORMATS)[number];

/** How people see one column of rows of `T`. */
export interface Column<T> {
  readonly title: string;
  readonly align?: 'right';
  cell(row: T): string;
}

/**
 * Writes data. Undefined when there is room for more, else a promise of it: so a scan of any size takes bounded memory,
 * and the common case costs no promise.
 */
export function writeData(data: string | Uint8Array): Promise<unknown> | undefined {
  if (data.length === 0 || process.stdout.write(data)) return undefined;
  return once(process.stdout, 'drain');
}

/** Resolves when all data has left the process: pipes are written behind its back. */
export function dataFlushed(): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write('', () => resolve());
  });
}

/** A line for the person: progress, warnings, errors. Never data. */
export function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** One thing. `table`: a field a line; `json` and `jsonl`: the object; `raw`: name, tab, value. */
export async function printFields(
  format: OutputFormat,
  fields: readonly (readonly [name: string, value: string])[],
  view: unknown,
): Promise<void> {
  await writeData(
    format === 'json' || format === 'jsonl'
      ? jsonText(format, view)
      : format === 'raw'
        ? fields.map(([name, value]) => `${printable(name)}\t${printable(value)}\n`).join('')
        : renderFields(fields),
  );
}

/** Several things. `table`: with a header; `json`: one array; `jsonl`: one a line; `raw`: cells with tabs, no header. */
export async function printRows<T>(
  format: OutputFormat,
  columns: readonly Column<T>[],
  rows: readonly T[],
  view: (row: T) => unknown,
): Promise<void> {
  switch (format) {
    case 'json':
      await writeData(jsonText('json', rows.map(view)));
      return;
    case 'jsonl':
      await writeData(rows.map((row) => `${JSON.stringify(view(row))}\n`).join(''));
      return;
    case 'raw':
      await writeData(rows.map((row) => `${cellsOf(columns, row).join('\t')}\n`).join(''));
      return;
    case 'table':
      await writeData(renderTable(columns, rows));
  }
}

export function jsonText(format: 'json' | 'jsonl', view: unknown): string {
  return `${format === 'json' ? JSON.stringify(view, null, 2) : JSON.stringify(view)}\n`;
}

/** A header and a line a row, columns two spaces apart, nothing at the ends of lines. */
export function renderTable<T>(columns: readonly Column<T>[], rows: readonly T[]): string {
  const lines = [columns.map(({ title }) => title), ...rows.map((row) => cellsOf(columns, row))];
  const widths = columns.map((_, at) =>
    Math.max(...lines.map((cells) => widthOf(cells[at] ?? ''))),
  );
  return lines
    .map((cells) => {
      const padded = cells.map((cell, at) => {
        const gap = ' '.repeat((widths[at] as number) - widthOf(cell));
        return columns[at]?.align === 'right' ? gap + cell : cell + gap;
      });
      return `${padded.join('  ').trimEnd()}\n`;
    })
    .join('');
}

function renderFields(fields: readonly (readonly [string, string])[]): string {
  const width = Math.max(...fields.map(([name]) => widthOf(name)));
  return fields
    .map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}`.trimEnd())
    .map((line) => `${line}\n`)
    .join('');
}

function cellsOf<T>(columns: readonly Column<T>[], row: T): string[] {
  return columns.map((column) => printable(column.cell(row)));
}

/** Columns of a terminal, near enough: one a character, none for marks that combine. */
function widthOf(text: string): number {
  let width = 0;
  for (const character of text.normalize('NFC')) if (!/\p{Mark}/u.test(character)) width++;
  return width;
}
