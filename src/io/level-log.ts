import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32c } from './crc32c.js';

/**
 * LevelDB's log (doc/log_format.md): blocks of 32 KiB; in them records of a header (masked CRC32C of type and data, length,
 * type) and data; none crosses a block, a longer one is cut into a first, middle ones and a last. What is left of a block and
 * too short for a header is not used.
 */
const BLOCK_BYTES = 32_768;
const HEADER_BYTES = 7;
const TYPE_AT = 6;
const FULL = 1;
const FIRST = 2;
const MIDDLE = 3;
const LAST = 4;
const CRC_MASK_DELTA = 0xa282ead8;
/** A disk writes this much at a time, or nothing of it. */
const SECTOR_BYTES = 512;

/**
 * `intact`: every record is what was written. `torn`: so it is up to a last one that was not written to its end, as when
 * the process or the machine dies within a write; nobody was told that it was there. `damaged`: what had been written is not
 * there as it was. LevelDB passes over such a record, and opens without a word.
 */
export type LogCondition = 'intact' | 'torn' | 'damaged';

/** Reads the log file of a LevelDB as its recovery would, checksums and all. Pure. */
export function inspectLog(log: Uint8Array): LogCondition {
  let at = 0;
  let inside = false;
  while (at < log.length) {
    const blockEnd = endOfBlock(at);
    if (blockEnd - at < HEADER_BYTES) {
      at = blockEnd;
      continue;
    }
    const end = wholeUntil(log, at);
    if (end === undefined) return isUnfinished(log, at) ? 'torn' : 'damaged';
    const type = log[at + TYPE_AT];
    // A piece that continues nothing, or a record begun within another one: what lay between them is gone.
    if ((type === MIDDLE || type === LAST) !== inside) return 'damaged';
    inside = type === FIRST || type === MIDDLE;
    at = end;
  }
  return inside ? 'torn' : 'intact';
}

function endOfBlock(at: number): number {
  return at - (at % BLOCK_BYTES) + BLOCK_BYTES;
}

/** Where the record at `at` ends, when it is all there and as it was written. */
function wholeUntil(log: Uint8Array, at: number): number | undefined {
  if (at + HEADER_BYTES > log.length) return undefined;
  const end = at + HEADER_BYTES + lengthAt(log, at);
  if (end > log.length || end > endOfBlock(at)) return undefined;
  const type = log[at + TYPE_AT] as number;
  return type >= FULL && type <= LAST && isChecked(log, at, end) ? end : undefined;
}

function lengthAt(log: Uint8Array, at: number): number {
  return (log[at + 4] as number) | ((log[at + 5] as number) << 8);
}

/** Whether the checksum of the record at `at` fits, if its data ends at `end`. */
function isChecked(log: Uint8Array, at: number, end: number): boolean {
  const stored =
    (log[at] as number) |
    ((log[at + 1] as number) << 8) |
    ((log[at + 2] as number) << 16) |
    ((log[at + 3] as number) << 24);
  const crc = crc32c(log, at + TYPE_AT, end);
  return (((crc >>> 15) | (crc << 17)) + CRC_MASK_DELTA) >>> 0 === stored >>> 0;
}

/**
 * Whether the record at `at`, which is not whole, was never written to its end: it says that it goes on where nothing was
 * written. Its length may lie, as no checksum covers it: then it is whole with another one, or a whole record follows.
 */
function isUnfinished(log: Uint8Array, at: number): boolean {
  const written = writtenEnd(log);
  const headerEnd = at + HEADER_BYTES;
  if (headerEnd > written) return true;
  const end = headerEnd + lengthAt(log, at);
  if (end <= written || end > endOfBlock(at) || isChecked(log, at, log.length)) return false;
  for (let next = headerEnd; next < log.length; next++) {
    if (wholeUntil(log, next) !== undefined) return false;
  }
  return true;
}

/** The end of what was written: after a crash a file may be longer, with zeros from the last sector on that was. */
function writtenEnd(log: Uint8Array): number {
  let end = log.length;
  while (end > 0 && log[end - 1] === 0) end--;
  return Math.min(Math.ceil(end / SECTOR_BYTES) * SECTOR_BYTES, log.length);
}

const LOG_NAME = /^(\d+)\.log$/;

/**
 * Whether the logs in the folder of a closed LevelDB hold all that was written to them. Only the last one with anything in
 * it may end torn: the others were written to their ends before it was begun. Rejects with what the file system says.
 */
export async function inspectLogs(folder: string): Promise<'intact' | 'damaged'> {
  const names = (await readdir(folder)).filter((name) => LOG_NAME.test(name));
  names.sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
  let torn = false;
  for (const name of names) {
    const log = await readFile(join(folder, name));
    if (log.length === 0) continue;
    if (torn) return 'damaged';
    const condition = inspectLog(log);
    if (condition === 'damaged') return 'damaged';
    torn = condition === 'torn';
  }
  return 'intact';
}
