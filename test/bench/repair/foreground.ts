import { Dice } from '../../../cli/bench/dice.js';
import { Latencies, type LatencySummary } from '../../../cli/bench/latencies.js';
import { runClosedLoop, runOpenLoop } from '../../../cli/bench/load.js';
import type { Kv } from '../../../src/index.js';
import { keyOf, valueFor } from './bench-cluster.js';

const IN_FLIGHT = 512;
const SPELL_MS = 500;
/** Keys that nothing else of the benchmark touches. */
const OWN_KEYS = 1_000;

function ownKey(i: number): Buffer {
  return Buffer.from(`f/${i}`);
}

/** How many puts a second the machine takes when it does nothing else. */
export async function mostPutsPerSecond(kv: Kv<Uint8Array>, valueBytes: number): Promise<number> {
  const value = valueFor(0, valueBytes);
  const durationMs = 2_000;
  let puts = 0;
  const run = async () => {
    await kv.put(ownKey(puts++ % OWN_KEYS), value);
  };
  const extent = { operations: Number.POSITIVE_INFINITY, durationMs };
  await runClosedLoop(run, 256, extent);
  puts = 0;
  const tookMs = await runClosedLoop(run, 256, extent);
  return (puts * 1_000) / tookMs;
}

export interface Served extends LatencySummary {
  readonly errors: number;
}

/** Gets and puts by turns at QUORUM, so many a second, until `isOver` says so; latency counts from when each was due. */
export async function serveUntil(
  kv: Kv<Uint8Array>,
  perSecond: number,
  valueBytes: number,
  isOver: () => boolean,
): Promise<Served> {
  const value = valueFor(0, valueBytes);
  const latencies = new Latencies();
  let begun = 0;
  let errors = 0;
  const run = async (beganMs: number) => {
    const turn = begun++;
    const key = ownKey((turn >>> 1) % OWN_KEYS);
    try {
      if (turn % 2 === 0) await kv.put(key, value);
      else await kv.get(key);
      latencies.record(performance.now() - beganMs);
    } catch {
      errors++;
    }
  };
  const extent = { operations: Number.POSITIVE_INFINITY, durationMs: SPELL_MS };
  while (!isOver()) await runOpenLoop(run, perSecond, IN_FLIGHT, extent);
  return { ...latencies.summary(), errors };
}

/** Writes with a number that grows, and reads that must not find less than was acknowledged before they began. */
export class FreshnessCheck {
  readonly #acknowledged: Uint32Array;
  readonly #dice = new Dice(4);
  #round = 0;
  written = 0;
  reads = 0;
  stale = 0;
  errors = 0;

  constructor(
    private readonly writer: Kv<Uint8Array>,
    private readonly reader: Kv<Uint8Array>,
    private readonly keys: number,
    private readonly valueBytes: number,
  ) {
    this.#acknowledged = new Uint32Array(keys);
  }

  async write(perSecond: number, durationMs: number): Promise<void> {
    const run = async () => {
      const i = this.#dice.below(this.keys);
      const round = ++this.#round;
      try {
        await this.writer.put(keyOf(i), valueFor(round, this.valueBytes));
        this.written++;
        this.#acknowledged[i] = Math.max(this.#acknowledged[i] ?? 0, round);
      } catch {
        this.errors++;
      }
    };
    const extent = { operations: Number.POSITIVE_INFINITY, durationMs };
    await runOpenLoop(run, perSecond, IN_FLIGHT, extent);
  }

  async read(perSecond: number, isOver: () => boolean): Promise<void> {
    const run = async () => {
      const i = this.#dice.below(this.keys);
      const least = this.#acknowledged[i] ?? 0;
      try {
        const value = await this.reader.get(keyOf(i));
        this.reads++;
        if (value === undefined || Buffer.from(value).readUInt32BE(0) < least) this.stale++;
      } catch {
        this.errors++;
      }
    };
    const extent = { operations: Number.POSITIVE_INFINITY, durationMs: SPELL_MS };
    while (!isOver()) await runOpenLoop(run, perSecond, IN_FLIGHT, extent);
  }
}
