import { Command, Option } from 'commander';
import { bytesToDisplay } from '../byte-text.js';
import { withKv } from '../connection.js';
import { entryView, isoTime } from '../entry-view.js';
import { usageError } from '../failure.js';
import { renderTable, writeData, type Column } from '../output.js';
import { countArgument, keyArgument, keyHexOption, settingsOf } from '../settings.js';
import type { Entry } from '../../src/index.js';

interface ScanOptions {
  readonly prefix?: string;
  readonly from?: string;
  readonly to?: string;
  readonly reverse?: true;
  readonly limit?: number;
  readonly keysOnly?: true;
  readonly keyHex?: true;
}

type Found = Entry<Uint8Array | undefined>;

const KEY: Column<Found> = { title: 'KEY', cell: ({ key }) => bytesToDisplay(key) };
const VALUE: Column<Found> = { title: 'VALUE', cell: ({ value }) => preview(value) };
const VERSION: Column<Found> = { title: 'VERSION', cell: (entry) => entryView(entry).version };
const EXPIRES_AT: Column<Found> = {
  title: 'EXPIRES AT',
  cell: ({ expiresAtMs }) => (expiresAtMs === undefined ? '-' : isoTime(expiresAtMs)),
};
const PREVIEW_CHARACTERS = 60;
/** A table is set in blocks of so many rows, so that a scan of any size takes bounded memory. */
const ROWS_A_BLOCK = 500;

export function scanCommand(): Command {
  return new Command('scan')
    .description('print keys in order, with their values')
    .argument('[prefix]', 'only keys that start with this; the same as --prefix')
    .option('--prefix <prefix>', 'only keys that start with this')
    .option('--from <key>', 'from this key, inclusive')
    .option('--to <key>', 'to this key, exclusive')
    .option('--reverse', 'from the last key to the first')
    .addOption(
      new Option('--limit <n>', 'at most so many').argParser(
        countArgument(1, Number.MAX_SAFE_INTEGER),
      ),
    )
    .option('--keys-only', 'without values, which are then not sent')
    .addOption(keyHexOption())
    .addHelpText(
      'after',
      `
A table shows the beginning of each value, and when it expires where some do; -o raw prints key, tab and value as they are,
-o jsonl one object a line. What is deleted or has expired is not printed.

Examples:
  kvctl scan city/CH/ --limit 10
  kvctl scan --from user/1 --to user/2 -o jsonl
  kvctl scan --prefix city/ --keys-only -o raw | wc -l`,
    )
    .action(async (argument: string | undefined, options: ScanOptions, command: Command) => {
      const settings = settingsOf(command);
      const range = rangeOf(argument, options);
      const keysOnly = options.keysOnly === true;
      const columns = keysOnly ? [KEY, VERSION] : [KEY, VALUE, VERSION];
      await withKv(settings, async (kv) => {
        const entries: AsyncIterable<Found> = kv.scan({
          ...range,
          keysOnly,
          reverse: options.reverse === true,
          ...(options.limit !== undefined && {
            limit: options.limit,
            pageSize: Math.min(options.limit, 1_000),
          }),
        });
        switch (settings.output ?? 'table') {
          case 'table':
            return printBlocks(entries, columns);
          case 'json':
            return printArray(entries);
          case 'jsonl':
            return printEach(entries, (entry) => `${JSON.stringify(entryView(entry))}\n`);
          case 'raw':
            return printEach(entries, rawLine);
        }
      });
    });
}

/** Key, tab, value, line break: bytes as they are. */
function rawLine({ key, value }: Found): Uint8Array {
  return value === undefined
    ? Buffer.concat([key, Buffer.from('\n')])
    : Buffer.concat([key, Buffer.from('\t'), value, Buffer.from('\n')]);
}

function rangeOf(argument: string | undefined, options: ScanOptions) {
  const isHex = options.keyHex === true;
  if (argument !== undefined && options.prefix !== undefined) {
    throw usageError('the argument and --prefix both give the prefix');
  }
  const prefix = argument ?? options.prefix;
  if (prefix !== undefined && (options.from !== undefined || options.to !== undefined)) {
    throw usageError('a prefix does not go with --from and --to');
  }
  return {
    ...(prefix !== undefined && prefix !== '' && { prefix: keyArgument(prefix, isHex) }),
    ...(options.from !== undefined && { gte: keyArgument(options.from, isHex) }),
    ...(options.to !== undefined && { lt: keyArgument(options.to, isHex) }),
  };
}

async function printEach(
  entries: AsyncIterable<Found>,
  line: (entry: Found) => string | Uint8Array,
): Promise<void> {
  for await (const entry of entries) {
    const full = writeData(line(entry));
    if (full !== undefined) await full;
  }
}

async function printArray(entries: AsyncIterable<Found>): Promise<void> {
  let before = '[\n';
  await printEach(entries, (entry) => {
    const text = `${before}  ${JSON.stringify(entryView(entry))}`;
    before = ',\n';
    return text;
  });
  await writeData(before === '[\n' ? '[]\n' : '\n]\n');
}

async function printBlocks(
  entries: AsyncIterable<Found>,
  columns: readonly Column<Found>[],
): Promise<void> {
  let block: Found[] = [];
  let shown: readonly Column<Found>[] = [];
  const print = async () => {
    const expires = shown.length > columns.length || block.some(({ expiresAtMs }) => expiresAtMs);
    const wanted = expires ? [...columns, EXPIRES_AT] : columns;
    const table = renderTable(wanted, block);
    // A block that begins to tell expiries has a header of its own.
    await writeData(wanted.length === shown.length ? table.slice(table.indexOf('\n') + 1) : table);
    shown = wanted;
    block = [];
  };
  for await (const entry of entries) {
    block.push(entry);
    if (block.length === ROWS_A_BLOCK) await print();
  }
  if (shown.length === 0 || block.length > 0) await print();
}

function preview(value: Uint8Array | undefined): string {
  if (value === undefined) return '';
  // A cut through a character would make text look like binary; a few bytes more are decoded and then cut as text.
  const text = bytesToDisplay(
    value.length > 4_096 ? wholeCharacters(value.subarray(0, 256)) : value,
  );
  return text.length > PREVIEW_CHARACTERS ? `${text.slice(0, PREVIEW_CHARACTERS)}…` : text;
}

function wholeCharacters(bytes: Uint8Array): Uint8Array {
  let end = bytes.length;
  while (end > bytes.length - 4 && ((bytes[end - 1] as number) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, Math.max(end - 1, 0));
}
