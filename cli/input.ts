import { createReadStream, statSync, type Stats } from 'node:fs';
import type { Readable } from 'node:stream';
import { DEFAULT_LIMITS } from '../src/core/limits.js';
import { usageError } from './failure.js';

/** A file, or standard input for `-` and for nothing. */
export interface Input {
  /** `-` for standard input. */
  readonly path: string;
  /** Undefined for what has no size: standard input, a pipe. */
  readonly stats: Stats | undefined;
  readonly chunks: Readable;
}

const CHUNK_BYTES = 256 * 1024;

/** `missing` is said when no file is named and nobody pipes anything in: a command must not wait for a person in silence. */
export function openInput(path: string | undefined, missing: string): Input {
  if (path === undefined && process.stdin.isTTY) throw usageError(missing);
  if (path === undefined || path === '-') {
    return { path: '-', stats: undefined, chunks: process.stdin };
  }
  const stats = statSync(path);
  if (stats.isDirectory()) throw usageError(`${path} is a directory, not a file`);
  return {
    path,
    stats: stats.isFile() ? stats : undefined,
    chunks: createReadStream(path, { highWaterMark: CHUNK_BYTES }),
  };
}

/** All of it. Refuses more than `maxBytes`, which no node stores. */
export async function readWhole(input: Input, maxBytes: number): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of input.chunks as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > maxBytes) {
      throw usageError(
        `value: longer than ${maxBytes} bytes, which no node stores`,
        `The limit is ${DEFAULT_LIMITS.maxValueBytes} bytes, or what nodes were started with (--max-value-bytes).`,
      );
    }
    parts.push(part);
  }
  return Buffer.concat(parts);
}
