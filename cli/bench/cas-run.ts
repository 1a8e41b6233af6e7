import { KvError } from '../../src/core/errors.js';
import type { Kv, Version } from '../../src/index.js';
import { Dice } from './dice.js';
import { Latencies, type LatencySummary } from './latencies.js';
import { runClosedLoop, type Extent } from './load.js';
import { BenchRecords } from './records.js';

/** What is measured, in this order, by turns. */
export const CAS_OPERATIONS = [
  'QUORUM put',
  'compare-and-set',
  'QUORUM get',
  'LINEARIZABLE get',
] as const;
export type CasOperation = (typeof CAS_OPERATIONS)[number];

export interface CasBenchOptions {
  /** At least as many as are in flight. */
  readonly records: number;
  readonly valueBytes: number;
  readonly inFlight: number;
  readonly prefix: string;
  readonly seed: number;
}

export interface CasMeasure extends LatencySummary {
  readonly perSecond: number;
}

export interface CasBenchResult {
  readonly measures: Readonly<Record<CasOperation, CasMeasure>>;
  /** Compare-and-sets that lost, by which nobody but this run can have been faster. */
  readonly lost: number;
  /** By code. */
  readonly errors: Readonly<Record<string, number>>;
  /** Rates, as parts of those at QUORUM. */
  readonly casOfPuts: number;
  readonly linearOfQuorumGets: number;
}

/** Takes turns short enough that a machine that is slow for a while is slow for all. */
const ROUNDS = 5;

/**
 * Compare-and-sets that nobody contends for, and LINEARIZABLE reads, beside puts and reads at QUORUM. No two operations of one key
 * are under way at once, and every compare-and-set expects the version that the one before it on its key has left.
 */
export class CasRun {
  readonly #kv: Kv<Uint8Array>;
  readonly #options: CasBenchOptions;
  readonly #plain: BenchRecords;
  readonly #compared: BenchRecords;
  readonly #versions: Version[] = [];
  /** The records that no operation is under way for, as a ring. */
  readonly #free: number[];
  #taken = 0;
  #returned = 0;
  #latencies = freshLatencies();
  readonly #durationsMs = new Map<CasOperation, number>();
  #errors: Record<string, number> = {};
  #lost = 0;
  #firstError: unknown;

  constructor(kv: Kv<Uint8Array>, options: CasBenchOptions) {
    const dice = new Dice(options.seed);
    const { prefix, valueBytes } = options;
    this.#kv = kv;
    this.#options = options;
    this.#plain = new BenchRecords(`${prefix}quorum/`, valueBytes, dice);
    this.#compared = new BenchRecords(`${prefix}cas/`, valueBytes, dice);
    this.#free = Array.from({ length: options.records }, (_, number) => number);
  }

  /** Stores all records of both kinds. Throws the first failure. */
  async load(onProgress: (stored: number) => void): Promise<void> {
    let next = 0;
    const follow = async () => {
      while (next < this.#options.records) {
        const number = next++;
        const value = this.#plain.nextValue();
        await this.#kv.put(this.#plain.key(number), value, { consistency: 'QUORUM' });
        const compared = this.#compared.key(number);
        const { version } = await this.#kv.put(compared, value, { consistency: 'LINEARIZABLE' });
        this.#versions[number] = version;
        if (next % 1_000 === 0) onProgress(next);
      }
    };
    await Promise.all(Array.from({ length: this.#options.inFlight }, follow));
    onProgress(this.#options.records);
  }

  async warmUp(durationMs: number): Promise<void> {
    await this.#round({ operations: Number.POSITIVE_INFINITY, durationMs });
    this.#latencies = freshLatencies();
    this.#durationsMs.clear();
    this.#errors = {};
    this.#lost = 0;
  }

  /** `extent` is for each of the operations. */
  async measure(extent: Extent, onRound: (round: number, of: number) => void): Promise<void> {
    const part: Extent = {
      operations: Math.ceil(extent.operations / ROUNDS),
      durationMs: extent.durationMs / ROUNDS,
    };
    for (let round = 1; round <= ROUNDS; round++) {
      onRound(round, ROUNDS);
      await this.#round(part);
    }
  }

  /** Throws the first failure when one of the operations never succeeded. */
  result(): CasBenchResult {
    const measures = Object.fromEntries(
      CAS_OPERATIONS.map((operation) => [operation, this.#measureOf(operation)]),
    ) as Record<CasOperation, CasMeasure>;
    const rate = (operation: CasOperation) => measures[operation].perSecond;
    return {
      measures,
      lost: this.#lost,
      errors: this.#errors,
      casOfPuts: hundredths(rate('compare-and-set') / rate('QUORUM put')),
      linearOfQuorumGets: hundredths(rate('LINEARIZABLE get') / rate('QUORUM get')),
    };
  }

  async #round(extent: Extent): Promise<void> {
    for (const operation of CAS_OPERATIONS) {
      const run = (beganMs: number) => this.#operate(operation, beganMs);
      const tookMs = await runClosedLoop(run, this.#options.inFlight, extent);
      this.#durationsMs.set(operation, (this.#durationsMs.get(operation) ?? 0) + tookMs);
    }
  }

  async #operate(operation: CasOperation, beganMs: number): Promise<void> {
    const { records } = this.#options;
    const number = this.#free[this.#taken++ % records] as number;
    try {
      await this.#carryOut(operation, number);
      this.#latencies[operation].record(performance.now() - beganMs);
    } catch (error) {
      this.#firstError ??= error;
      const code = error instanceof KvError ? error.code : 'INTERNAL';
      this.#errors[code] = (this.#errors[code] ?? 0) + 1;
    }
    this.#free[this.#returned++ % records] = number;
  }

  #carryOut(operation: CasOperation, number: number): Promise<unknown> {
    switch (operation) {
      case 'QUORUM put':
        return this.#kv.put(this.#plain.key(number), this.#plain.nextValue(), {
          consistency: 'QUORUM',
        });
      case 'QUORUM get':
        return this.#kv.get(this.#plain.key(number), { consistency: 'QUORUM' });
      case 'LINEARIZABLE get':
        return this.#kv.get(this.#compared.key(number), { consistency: 'LINEARIZABLE' });
      case 'compare-and-set':
        return this.#compareAndSet(number);
    }
  }

  async #compareAndSet(number: number): Promise<void> {
    const version = this.#versions[number] as Version;
    const value = this.#compared.nextValue();
    const result = await this.#kv.cas(this.#compared.key(number), { expect: { version } }, value);
    if (result.swapped) {
      this.#versions[number] = result.version;
    } else {
      // One that failed before may have taken effect.
      this.#lost++;
      if (result.found !== undefined) this.#versions[number] = result.found.version;
    }
  }

  #measureOf(operation: CasOperation): CasMeasure {
    const summary = this.#latencies[operation].summary();
    if (summary.count === 0 && this.#firstError !== undefined) throw this.#firstError;
    const durationMs = Math.max(this.#durationsMs.get(operation) ?? 0, 1);
    return { ...summary, perSecond: Math.round((summary.count / durationMs) * 1_000) };
  }
}

function freshLatencies(): Record<CasOperation, Latencies> {
  return Object.fromEntries(
    CAS_OPERATIONS.map((operation) => [operation, new Latencies()]),
  ) as Record<CasOperation, Latencies>;
}

function hundredths(share: number): number {
  return Math.round(share * 100) / 100;
}
