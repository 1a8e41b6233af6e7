import { closeSync, openSync, readSync, statSync } from 'node:fs';

export interface LogLine {
  /** ISO 8601 in UTC. A line without a time of its own, such as one of a stack trace, has that of the line before it. */
  readonly time: string;
  readonly text: string;
}

/** No reader starts further from the end of its file. */
const TAIL_BYTES = 4 * 1024 * 1024;
const NEWLINE = 0x0a;

/** Reads the log of one node as it grows, and turns it into lines for people. */
export class LogReader {
  readonly #nodeId: string;
  readonly #file: string;
  #offset: number;
  /** The reading began in the middle of a line, which is not shown. */
  #skipsLine: boolean;
  /** The end of what was read, when it is no whole line. */
  #partial: Buffer = Buffer.alloc(0);
  #time = '';

  /** Starts at `fromByte`, or as near to it as a reader starts. */
  constructor(nodeId: string, file: string, fromByte = 0) {
    this.#nodeId = nodeId;
    this.#file = file;
    const earliest = sizeOf(file) - TAIL_BYTES;
    this.#offset = Math.max(fromByte, earliest);
    this.#skipsLine = earliest > fromByte;
  }

  /** The whole lines that were written since the last call. A log that has shrunk was put aside; it is read from its start. */
  read(): LogLine[] {
    const size = sizeOf(this.#file);
    if (size < this.#offset) {
      this.#offset = 0;
      this.#partial = Buffer.alloc(0);
    }
    if (size === this.#offset) return [];
    const bytes = Buffer.concat([this.#partial, readRange(this.#file, this.#offset, size)]);
    this.#offset = size;
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    this.#partial = bytes.subarray(end);
    if (end === 0) return [];
    const lines = bytes.toString('utf8', 0, end - 1).split('\n');
    if (this.#skipsLine) {
      lines.shift();
      this.#skipsLine = false;
    }
    return lines.map((line) => {
      const shown = showLogLine(this.#nodeId, line);
      this.#time = shown.time || this.#time;
      return { time: this.#time, text: shown.text };
    });
  }
}

/** `12:00:01.250Z n1 warn  message field="value"`; what is not pino's JSON stays as it is, with the node's id before it. */
export function showLogLine(nodeId: string, line: string): LogLine {
  const entry = parseEntry(line);
  if (entry === undefined) return { time: '', text: `${nodeId} ${line}` };
  const { level, time, node: _node, msg, ...fields } = entry;
  const details = Object.entries(fields).map(([key, value]) => ` ${key}=${JSON.stringify(value)}`);
  const clock = String(time).slice('2000-01-01T'.length);
  const text = `${clock} ${nodeId} ${String(level).padEnd(5)} ${String(msg)}${details.join('')}`;
  return { time: String(time), text };
}

/** Oldest first; lines of the same millisecond in the order of the logs. */
export function mergeLogs(logs: readonly (readonly LogLine[])[]): LogLine[] {
  return logs.flat().sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
}

function parseEntry(line: string): Record<string, unknown> | undefined {
  try {
    const entry: unknown = JSON.parse(line);
    if (typeof entry !== 'object' || entry === null) return undefined;
    return 'time' in entry && 'msg' in entry ? { ...entry } : undefined;
  } catch {
    return undefined;
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function readRange(file: string, from: number, to: number): Buffer {
  const bytes = Buffer.alloc(to - from);
  const handle = openSync(file, 'r');
  try {
    return bytes.subarray(0, readSync(handle, bytes, 0, bytes.length, from));
  } finally {
    closeSync(handle);
  }
}
