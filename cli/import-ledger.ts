import { closeSync, openSync, writeSync } from 'node:fs';
import { hash32 } from '../src/core/hash.js';
import { AcknowledgedPrefix } from './acknowledged-prefix.js';
import { bytesToDisplay } from './byte-text.js';
import {
  readResumePoint,
  removeResumePoint,
  writeResumePoint,
  type InputIdentity,
} from './resume-point.js';

export interface LedgerOptions {
  readonly input: InputIdentity;
  readonly plan: string;
  /** Undefined: an interrupted import starts over. */
  readonly resumeFile: string | undefined;
  readonly rejectsFile: string | undefined;
  /** Whether an earlier run is forgotten. */
  readonly isRestart: boolean;
}

/** What is kept of a record while it is under way. */
export interface PendingRecord {
  readonly line: number;
  readonly endByte: number;
  readonly text: string;
}

export interface Rejection {
  readonly line: number;
  readonly reason: string;
}

/** What becomes of the records of an import: how many, which not, and where to go on after an interruption. */
export class ImportLedger {
  readonly #options: LedgerOptions;
  readonly #prefix: AcknowledgedPrefix;
  readonly #pending = new Map<number, PendingRecord>();
  readonly #rejects: number | undefined;
  readonly #rejectedBefore: number;
  /** So many records of the input were dealt with by earlier runs. */
  readonly resumedAfter: number;
  readonly duplicates = new DuplicateKeys();
  /** The first few, for people. */
  readonly firstRejections: Rejection[] = [];
  #stored = 0;
  #rejected = 0;
  #expired = 0;
  /** Rejected records that may lie beyond the prefix: the next run meets those again, and counts them then. */
  readonly #rejectedAhead = new Set<number>();
  #isSaved = false;

  /** Reads the resume point. Throws when there is one that does not fit, and when a file cannot be written. */
  constructor(options: LedgerOptions) {
    this.#options = options;
    const { resumeFile, rejectsFile, input, plan, isRestart } = options;
    const point =
      resumeFile === undefined || isRestart ? undefined : readResumePoint(resumeFile, input, plan);
    this.resumedAfter = point?.records ?? 0;
    this.#rejectedBefore = point?.rejected ?? 0;
    this.#prefix = new AcknowledgedPrefix(point?.records, point?.byte);
    this.#rejects =
      rejectsFile === undefined
        ? undefined
        : openSync(rejectsFile, point === undefined ? 'w' : 'a');
  }

  /** Of this run. */
  get stored(): number {
    return this.#stored;
  }

  /** Of this run: they had expired, and were not stored. */
  get expired(): number {
    return this.#expired;
  }

  /** Of all runs. */
  get rejected(): number {
    return this.#rejectedBefore + this.#rejected;
  }

  /** Records dealt with without a gap, by all runs. */
  get records(): number {
    return this.#prefix.records;
  }

  get byte(): number {
    return this.#prefix.byte;
  }

  /** Whether the resume point is on disk as it was when last saved. */
  get isSaved(): boolean {
    return this.#isSaved;
  }

  begin(index: number, record: PendingRecord): void {
    this.#pending.set(index, record);
  }

  recordStored(index: number): void {
    this.#stored++;
    this.#end(index);
  }

  recordExpired(index: number): void {
    this.#expired++;
    this.#end(index);
  }

  recordRejected(index: number, reason: string): void {
    const { line, text } = this.#pending.get(index) as PendingRecord;
    this.#rejected++;
    if (this.#options.resumeFile !== undefined) this.#rejectedAhead.add(index);
    if (this.firstRejections.length < REJECTIONS_SHOWN) this.firstRejections.push({ line, reason });
    if (this.#rejects !== undefined) {
      writeSync(this.#rejects, `${JSON.stringify({ line, reason, text })}\n`);
    }
    this.#end(index);
  }

  /** Writes where to go on. Throws when it cannot. */
  save(): void {
    const { resumeFile, input, plan } = this.#options;
    if (resumeFile === undefined || this.records === 0) return;
    this.#isSaved = false;
    const { records, byte } = this;
    for (const index of this.#rejectedAhead) {
      if (index < records) this.#rejectedAhead.delete(index);
    }
    const rejected = this.rejected - this.#rejectedAhead.size;
    writeResumePoint(resumeFile, { input, plan, records, byte, rejected });
    this.#isSaved = true;
  }

  /** All is dealt with: there is nothing to go on from. */
  finish(): void {
    this.#isSaved = false;
    if (this.#options.resumeFile !== undefined) removeResumePoint(this.#options.resumeFile);
  }

  close(): void {
    if (this.#rejects !== undefined) closeSync(this.#rejects);
  }

  #end(index: number): void {
    const { endByte } = this.#pending.get(index) as PendingRecord;
    this.#pending.delete(index);
    this.#prefix.done(index, endByte);
  }
}

const REJECTIONS_SHOWN = 10;

/** Notices keys that came before, by 53 bits of hash: of a million keys, one in ten thousand imports counts one too many. */
export class DuplicateKeys {
  readonly #hashes = new Set<number>();
  readonly #capacity: number;
  #count = 0;
  /** The first few, for people. */
  readonly first: { readonly line: number; readonly key: string }[] = [];

  constructor(capacity = 2_000_000) {
    this.#capacity = capacity;
  }

  get count(): number {
    return this.#count;
  }

  /** Whether there were too many keys to remember them all; then there may be more duplicates. */
  get isFull(): boolean {
    return this.#hashes.size >= this.#capacity;
  }

  see(key: Uint8Array, line: number): void {
    const hash = hash32(key) * 0x20_0000 + (hash32(key, 1) >>> 11);
    if (this.#hashes.has(hash)) {
      this.#count++;
      if (this.first.length < 3) this.first.push({ line, key: bytesToDisplay(key) });
    } else if (!this.isFull) {
      this.#hashes.add(hash);
    }
  }
}
