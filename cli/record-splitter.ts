import { isUtf8 } from 'node:buffer';
import { CommandFailure } from './failure.js';

/** One record cut out of the input, not parsed yet; or what stands where one should be. */
export interface RawRecord {
  /** 1-based line of the input on which it begins. */
  readonly line: number;
  /** How many bytes of the input lie before its end. */
  readonly endByte: number;
  readonly text: string;
  /** Why it can be no record, when it is known at once. */
  readonly problem?: string;
}

/** Cuts a stream of bytes into records, however the stream is cut into chunks. Holds one record at most. */
export interface RecordSplitter {
  push(chunk: Uint8Array): RawRecord[];
  /** The input has ended. */
  end(): RawRecord[];
}

/** A record that is longer is rejected: memory stays bounded whatever the input holds. */
export const MAX_RECORD_BYTES = 16 * 1024 * 1024;

/** The input is no array of records; nothing after `byte` can be read. */
export class BrokenInput extends CommandFailure {
  constructor(line: number, byte: number, problem: string) {
    super(
      1,
      'BROKEN_INPUT',
      `line ${line} (byte ${byte}): ${problem}`,
      'Records before it are stored. Mend the input; --format says what it is, where that was guessed wrong.',
    );
  }
}

const NEWLINE = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** JSON lines: a record a line, blank lines skipped, a byte order mark and CR LF allowed. */
export class LineSplitter implements RecordSplitter {
  readonly #record: RecordBytes;
  #line = 1;
  #byte = 0;

  constructor(maxRecordBytes = MAX_RECORD_BYTES) {
    this.#record = new RecordBytes(maxRecordBytes);
  }

  push(chunk: Uint8Array): RawRecord[] {
    const records: RawRecord[] = [];
    let from = 0;
    for (;;) {
      const at = chunk.indexOf(NEWLINE, from);
      if (at === -1) break;
      this.#record.add(chunk, from, at);
      this.#cut(records, this.#byte + at + 1);
      this.#line++;
      from = at + 1;
    }
    this.#record.add(chunk, from, chunk.length);
    this.#byte += chunk.length;
    return records;
  }

  end(): RawRecord[] {
    const records: RawRecord[] = [];
    this.#cut(records, this.#byte);
    return records;
  }

  #cut(records: RawRecord[], endByte: number): void {
    const record = this.#record.take(this.#line, endByte);
    if (record.problem !== undefined || record.text !== '') records.push(record);
  }
}

type Expecting = 'array' | 'first' | 'element' | 'inside' | 'nothing';

/**
 * A JSON array: finds where each element ends by counting brackets outside strings, and leaves to JSON.parse whether it is
 * JSON. What is wrong between elements throws {@link BrokenInput}, because nothing after it can be trusted.
 */
export class ArraySplitter implements RecordSplitter {
  readonly #record: RecordBytes;
  #expecting: Expecting = 'array';
  #depth = 0;
  #inString = false;
  #escaped = false;
  #line = 1;
  #startLine = 1;
  #byte = 0;

  constructor(maxRecordBytes = MAX_RECORD_BYTES) {
    this.#record = new RecordBytes(maxRecordBytes);
  }

  push(chunk: Uint8Array): RawRecord[] {
    const records: RawRecord[] = [];
    let from = 0;
    for (let at = 0; at < chunk.length; at++) {
      const code = chunk[at] as number;
      if (code === NEWLINE) this.#line++;
      if (this.#expecting !== 'inside') {
        if (this.#between(code, at)) from = at;
      } else if (this.#inString) {
        if (this.#escaped) this.#escaped = false;
        else if (code === BACKSLASH) this.#escaped = true;
        else if (code === QUOTE) this.#inString = false;
      } else if (code === QUOTE) {
        this.#inString = true;
      } else if (code === OPEN_ARRAY || code === OPEN_OBJECT) {
        this.#depth++;
      } else if (this.#depth === 0 && (code === COMMA || code === CLOSE_ARRAY)) {
        this.#record.add(chunk, from, at);
        records.push(this.#record.take(this.#startLine, this.#byte + at));
        this.#expecting = code === COMMA ? 'element' : 'nothing';
      } else if (code === CLOSE_ARRAY || code === CLOSE_OBJECT) {
        if (this.#depth === 0)
          this.#broken(at, `a ${String.fromCharCode(code)} that nothing opened`);
        this.#depth--;
      }
    }
    if (this.#expecting === 'inside') this.#record.add(chunk, from, chunk.length);
    this.#byte += chunk.length;
    return records;
  }

  end(): RawRecord[] {
    if (this.#expecting !== 'nothing') {
      this.#broken(
        0,
        this.#expecting === 'array'
          ? 'the input is empty, where a JSON array was expected'
          : 'the input ends before its array does',
      );
    }
    return [];
  }

  /** A byte outside elements. True when an element begins with it. */
  #between(code: number, at: number): boolean {
    if (isBlank(code) || (this.#expecting === 'array' && isByteOrderMark(code))) return false;
    if (this.#expecting === 'array') {
      if (code !== OPEN_ARRAY) this.#broken(at, 'a JSON array must begin with [');
      this.#expecting = 'first';
      return false;
    }
    if (this.#expecting === 'nothing') this.#broken(at, 'something follows the end of the array');
    if (code === CLOSE_ARRAY && this.#expecting === 'first') {
      this.#expecting = 'nothing';
      return false;
    }
    if (code === COMMA || code === CLOSE_ARRAY || code === CLOSE_OBJECT) {
      this.#broken(at, `a record was expected before ${String.fromCharCode(code)}`);
    }
    this.#expecting = 'inside';
    this.#startLine = this.#line;
    this.#depth = code === OPEN_ARRAY || code === OPEN_OBJECT ? 1 : 0;
    this.#inString = code === QUOTE;
    return true;
  }

  #broken(at: number, problem: string): never {
    throw new BrokenInput(this.#line, this.#byte + at, problem);
  }
}

/** Gathers the bytes of one record over chunks, and gives up on one that is too long. */
class RecordBytes {
  readonly #maxBytes: number;
  #parts: Uint8Array[] = [];
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  add(chunk: Uint8Array, from: number, to: number): void {
    this.#bytes += to - from;
    if (this.#bytes > this.#maxBytes) this.#parts = [];
    else if (to > from) this.#parts.push(chunk.subarray(from, to));
  }

  take(line: number, endByte: number): RawRecord {
    const bytes = this.#bytes;
    const whole = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    if (bytes > this.#maxBytes) {
      const problem = `is ${bytes} bytes long, the limit is ${this.#maxBytes}`;
      return { line, endByte, text: '', problem };
    }
    const buffer = Buffer.from(whole!.buffer, whole!.byteOffset, whole!.byteLength);
    if (!isUtf8(buffer)) {
      return { line, endByte, text: buffer.toString('latin1'), problem: 'is not UTF-8' };
    }
    // trim() takes the byte order mark too.
    return { line, endByte, text: buffer.toString('utf8').trim() };
  }
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === NEWLINE || code === 0x0d || code === 0x09;
}

function isByteOrderMark(code: number): boolean {
  return code === 0xef || code === 0xbb || code === 0xbf;
}
