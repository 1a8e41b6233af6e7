import { prefixEnd } from '../../src/core/key-range.js';
import { KvError } from '../../src/core/errors.js';
import type { Codec } from '../../src/index.js';
import { AcknowledgedPrefix } from '../acknowledged-prefix.js';
import { Dice } from './dice.js';
import { createKeyChooser, type Distribution, type KeyChooser } from './key-chooser.js';
import { Latencies, type LatencySummary } from './latencies.js';
import { runClosedLoop, runOpenLoop, type Extent } from './load.js';
import { BenchRecords } from './records.js';
import { createMix, OPERATIONS, type Operation, type Workload } from './workloads.js';

export interface BenchOptions {
  readonly workload: Workload;
  readonly records: number;
  readonly valueBytes: number;
  readonly distribution: Distribution;
  readonly inFlight: number;
  /** Undefined: closed loop. */
  readonly perSecond: number | undefined;
  readonly prefix: string;
  readonly seed: number;
}

export interface BenchResult {
  readonly seconds: number;
  readonly operations: number;
  readonly perSecond: number;
  /** By code. */
  readonly errors: Readonly<Record<string, number>>;
  /** What the first of them said. */
  readonly firstError?: string;
  /** Reads that found nothing: with --no-load, a sign that the records are not there. */
  readonly missing: number;
  readonly latencies: Partial<Readonly<Record<Operation, LatencySummary>>>;
}

const LOAD_IN_FLIGHT = 512;
/** Fewer are under way when their values are large, or the last of them would wait for longer than its deadline. */
const LOAD_BYTES_IN_FLIGHT = 16 * 1024 * 1024;
const LONGEST_SCAN = 100;

/** Values go in and come out as they are: the records never change, so nothing needs a copy. */
export const sharedBytesCodec: Codec<Uint8Array> = {
  name: 'shared bytes',
  encode: (value) => value,
  decode: (bytes) => bytes,
};

/** What a workload needs of a store; a Kv has it. */
export interface BenchStore {
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  put(key: Uint8Array, value: Uint8Array): Promise<unknown>;
  scan(range: {
    readonly gte: Uint8Array;
    readonly lt?: Uint8Array;
    readonly limit?: number;
    readonly pageSize?: number;
  }): AsyncIterable<unknown>;
}

/** One workload on one connection. */
export class BenchRun {
  readonly #kv: BenchStore;
  readonly #options: BenchOptions;
  readonly #dice: Dice;
  readonly #store: BenchRecords;
  readonly #mix: () => Operation;
  readonly #choose: KeyChooser;
  readonly #end: Uint8Array | undefined;
  /** The next record to be inserted. */
  #next: number;
  /** Reads ask only for records whose inserts have been answered. */
  readonly #inserted: AcknowledgedPrefix;
  #missing = 0;
  #durationMs = 0;
  #latencies!: Record<Operation, Latencies>;
  #errors!: Record<string, number>;
  #firstError: unknown;

  constructor(kv: BenchStore, options: BenchOptions) {
    this.#kv = kv;
    this.#options = options;
    this.#dice = new Dice(options.seed);
    this.#store = new BenchRecords(options.prefix, options.valueBytes, this.#dice);
    this.#mix = createMix(options.workload.shares, this.#dice);
    this.#choose = createKeyChooser(options.distribution, this.#dice);
    this.#end = prefixEnd(Buffer.from(options.prefix));
    this.#next = options.records;
    this.#inserted = new AcknowledgedPrefix(options.records);
    this.forget();
  }

  /**
   * Stores all records, but for the first `present` ones, which are there. Throws the first failure: without its records, a
   * workload measures something else.
   */
  async load(onProgress: (stored: number) => void, present = 0): Promise<void> {
    let next = present;
    let stored = present;
    const follow = async () => {
      while (next < this.#options.records) {
        await this.#kv.put(this.#store.key(next++), this.#store.nextValue());
        if (++stored % 1_000 === 0) onProgress(stored);
      }
    };
    const fitting = Math.ceil(LOAD_BYTES_IN_FLIGHT / Math.max(1, this.#options.valueBytes));
    await Promise.all(Array.from({ length: Math.min(LOAD_IN_FLIGHT, fitting) }, follow));
    onProgress(stored);
  }

  /** Carries the workload out without measuring it, until what is warm is warm. */
  async warmUp(durationMs: number): Promise<void> {
    await this.measure({ operations: Number.POSITIVE_INFINITY, durationMs });
    this.forget();
  }

  /** Measures so much more of the workload. */
  async measure(extent: Extent): Promise<void> {
    const { inFlight, perSecond } = this.#options;
    const run = (beganMs: number) => this.#operate(beganMs);
    this.#durationMs +=
      perSecond === undefined
        ? await runClosedLoop(run, inFlight, extent)
        : await runOpenLoop(run, perSecond, inFlight, extent);
  }

  /** Of all that was measured. Throws the first failure when nothing succeeded. */
  result(): BenchResult {
    const durationMs = this.#durationMs;
    const measured = OPERATIONS.filter((operation) => this.#latencies[operation].count > 0);
    const operations = measured.reduce((sum, name) => sum + this.#latencies[name].count, 0);
    if (operations === 0 && this.#firstError !== undefined) throw this.#firstError;
    return {
      seconds: Math.round(durationMs) / 1_000,
      operations,
      perSecond: Math.round((operations / Math.max(durationMs, 1)) * 1_000),
      errors: this.#errors,
      ...(this.#firstError instanceof Error && { firstError: this.#firstError.message }),
      missing: this.#missing,
      latencies: Object.fromEntries(
        measured.map((operation) => [operation, this.#latencies[operation].summary()]),
      ),
    };
  }

  /** Of all operations that were measured and succeeded, whatever their kind. */
  overall(): LatencySummary {
    const all = new Latencies();
    for (const operation of OPERATIONS) all.add(this.#latencies[operation]);
    return all.summary();
  }

  async #operate(beganMs: number): Promise<void> {
    const operation = this.#mix();
    try {
      await this.#carryOut(operation);
    } catch (error) {
      this.#firstError ??= error;
      const code = error instanceof KvError ? error.code : 'INTERNAL';
      this.#errors[code] = (this.#errors[code] ?? 0) + 1;
      return;
    }
    this.#latencies[operation].record(performance.now() - beganMs);
  }

  #carryOut(operation: Operation): Promise<unknown> {
    switch (operation) {
      case 'read':
        return this.#read(this.#chosenKey());
      case 'update':
        return this.#kv.put(this.#chosenKey(), this.#store.nextValue());
      case 'insert':
        return this.#insert();
      case 'scan':
        return this.#scan();
      case 'modify':
        return this.#modify();
    }
  }

  async #read(key: Uint8Array): Promise<void> {
    if ((await this.#kv.get(key)) === undefined) this.#missing++;
  }

  async #insert(): Promise<void> {
    const number = this.#next++;
    try {
      await this.#kv.put(this.#store.key(number), this.#store.nextValue());
    } finally {
      // One that failed counts too, or later ones would never be asked for.
      this.#inserted.done(number, 0);
    }
  }

  async #scan(): Promise<void> {
    const limit = 1 + this.#dice.below(LONGEST_SCAN);
    const entries = this.#kv.scan({
      gte: this.#chosenKey(),
      ...(this.#end !== undefined && { lt: this.#end }),
      limit,
      pageSize: limit,
    });
    for await (const _ of entries);
  }

  async #modify(): Promise<void> {
    const key = this.#chosenKey();
    await this.#read(key);
    await this.#kv.put(key, this.#store.nextValue());
  }

  #chosenKey(): Uint8Array {
    return this.#store.key(this.#choose(this.#inserted.records));
  }

  /** Measures anew from here on, of the same records. */
  forget(): void {
    this.#latencies = Object.fromEntries(
      OPERATIONS.map((operation) => [operation, new Latencies()]),
    ) as Record<Operation, Latencies>;
    this.#errors = {};
    this.#missing = 0;
    this.#durationMs = 0;
    this.#firstError = undefined;
  }
}
