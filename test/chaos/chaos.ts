import { setTimeout as sleep } from 'node:timers/promises';
import { judge } from '../sim/run.js';
import type { Violation } from '../sim/check/evidence.js';
import type { HistoryEntry } from '../sim/history.js';
import type { Surroundings } from '../sim/recorded-client.js';
import { Recorder } from '../sim/recorder.js';
import { createStream } from '../sim/seed.js';
import { ChaosClient } from './client.js';
import { ChaosCluster, isPassing } from './cluster.js';
import { evidenceOf } from './evidence.js';
import { FAULT_NAMES, FAULTS, type Fault, type FaultName } from './faults.js';
import { act, pickKey, type KeyKind, type KeyPlan } from './workload.js';

export interface ChaosWish {
  readonly seed: number;
  /** At least so many, and at least `rounds` faults of every kind. */
  readonly operations: number;
  readonly rounds: number;
  readonly clients: number;
  /** The mean pause of a client between two operations. */
  readonly thinkMs: number;
  /** Mean times: how long a fault lasts, and how long it is from one to the next. */
  readonly faultMs: number;
  readonly gapMs: number;
  /** How far clocks are set off at the most, either way; 100 at the least. */
  readonly maxSkewMs: number;
  readonly keys: KeyPlan;
  /** Faults end then, whatever has been reached. */
  readonly withinMs: number;
  /** Where nodes keep data and logs, to be kept; absent: in a folder that goes when they have ended. */
  readonly folder?: string;
}

export interface ChaosResult {
  readonly history: readonly HistoryEntry[];
  readonly violations: readonly Violation[];
  /** What no law speaks of: a node that ended by itself, an error that may not be. */
  readonly problems: readonly string[];
  readonly faults: ReadonlyMap<FaultName, number>;
  /** Without the start and the end of the nodes. */
  readonly elapsedMs: number;
  readonly judgedMs: number;
}

const MOST_AT_ONCE = 2;
const LOOK_MS = 25;
const TELL_MS = 5_000;
const RECOVER_WITHIN_MS = 90_000;
/** Load goes on for so long when everything is healed. */
const CALM_MS = 1_000;
const READ_TIMES = 20;
const KINDS: readonly KeyKind[] = ['lin', 'lin', 'mix', 'mix', 'key'];

/** One run on real processes: load and faults, then recovery, then a last read of every key, and judgement. */
export async function chaos(
  wish: ChaosWish,
  signal: AbortSignal,
  tell: (line: string) => void,
): Promise<ChaosResult> {
  await using cluster = await ChaosCluster.start(wish);
  // The cluster goes when this has ended, and not before.
  return await new Run(wish, cluster, signal, tell).live();
}

class Run implements Surroundings {
  readonly recorder: Recorder;
  readonly #wish: ChaosWish;
  readonly #cluster: ChaosCluster;
  readonly #signal: AbortSignal;
  readonly #tell: (line: string) => void;
  readonly #startMs = performance.now();
  readonly #problems = new Set<string>();
  readonly #counts = new Map<FaultName, number>(FAULT_NAMES.map((name) => [name, 0]));
  #order = 0;
  #tokens = 0;

  constructor(
    wish: ChaosWish,
    cluster: ChaosCluster,
    signal: AbortSignal,
    tell: (line: string) => void,
  ) {
    this.#wish = wish;
    this.#cluster = cluster;
    this.#signal = signal;
    this.#tell = tell;
    const elapsedMs = (): number => this.#elapsedMs();
    this.recorder = new Recorder({
      get nowMs() {
        return elapsedMs();
      },
      nextOrder: () => this.#order++,
    });
  }

  nextToken(): string {
    return `v${this.#tokens++}`;
  }

  problem(text: string): void {
    this.#problems.add(text);
  }

  holders(): undefined {
    return undefined;
  }

  async live(): Promise<ChaosResult> {
    const { seed } = this.#wish;
    const clients = Array.from({ length: this.#wish.clients }, (_, i) => {
      const name = `c${i + 1}`;
      return new ChaosClient(this, name, createStream(seed, name));
    });
    try {
      await Promise.all(clients.map((client) => client.connect(this.#cluster.endpoints)));
      const calm = new AbortController();
      const loads = clients.map((client) => this.#load(client, calm.signal));
      await this.#bringFaults();
      this.#tell(`${this.recorder.begun} operations; waiting for all nodes to be well`);
      await this.#note(this.#cluster.recover(RECOVER_WITHIN_MS));
      await sleep(CALM_MS);
      calm.abort();
      await Promise.all(loads);
      this.#signal.throwIfAborted();
      await this.#readAll(clients);
      await this.#note(this.#cluster.untilEqual(RECOVER_WITHIN_MS));
      this.#watch();
    } finally {
      await Promise.all(clients.map((client) => client.close()));
    }
    return this.#judged();
  }

  /** What fails of the nodes is told with the verdict, and does not come in its way. */
  async #note(action: Promise<void>): Promise<void> {
    try {
      await action;
    } catch (error) {
      if (!isPassing(error)) throw error;
      this.problem(String(error));
    }
  }

  async #load(client: ChaosClient, calm: AbortSignal): Promise<void> {
    const { thinkMs, keys } = this.#wish;
    while (!calm.aborted && !this.#signal.aborted) {
      await client.think(thinkMs);
      const kind = client.stream.pick(KINDS);
      await act(client, kind, pickKey(client.stream, kind, this.recorder.begun, keys));
    }
  }

  /** Faults in the order of a shuffled deck, so that all kinds come equally often, some while others last. */
  async #bringFaults(): Promise<void> {
    const { seed, gapMs, faultMs } = this.#wish;
    const stream = createStream(seed, 'faults');
    let deck: FaultName[] = [];
    let underWay: { readonly fault: Fault; readonly endMs: number }[] = [];
    let nextMs = this.#elapsedMs() + gapMs;
    let tellMs = this.#elapsedMs() + TELL_MS;
    while (this.#isGoing()) {
      await sleep(LOOK_MS);
      this.#watch();
      const nowMs = this.#elapsedMs();
      if (nowMs >= tellMs) {
        tellMs = nowMs + TELL_MS;
        const now = underWay.map(({ fault }) => fault.what).join('; ') || 'no fault';
        const sum = [...this.#counts.values()].reduce((a, b) => a + b, 0);
        this.#tell(`${this.recorder.begun} operations, ${sum} faults; now: ${now}`);
      }
      const over = underWay.filter(({ endMs }) => endMs <= nowMs);
      underWay = underWay.filter(({ endMs }) => endMs > nowMs);
      for (const { fault } of over) {
        const ended = await unlessPassing(fault.end());
        if (ended === FAILED) underWay.push({ fault, endMs: this.#elapsedMs() + LOOK_MS * 10 });
      }
      if (nowMs < nextMs || underWay.length >= MOST_AT_ONCE) continue;
      nextMs = nowMs + stream.exponential(gapMs);
      if (deck.length === 0) deck = stream.shuffled(FAULT_NAMES);
      const name = deck.pop() as FaultName;
      const fault = await unlessPassing(FAULTS[name](this.#cluster, stream));
      if (fault === FAILED || fault === undefined) {
        // Its turn comes again, after all others.
        deck.unshift(name);
        continue;
      }
      this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
      underWay.push({ fault, endMs: this.#elapsedMs() + stream.between(0.3, 1.7) * faultMs });
    }
  }

  #isGoing(): boolean {
    if (this.#signal.aborted || this.#elapsedMs() > this.#wish.withinMs) return false;
    if (this.recorder.begun < this.#wish.operations) return true;
    return [...this.#counts.values()].some((count) => count < this.#wish.rounds);
  }

  #watch(): void {
    for (const id of this.#cluster.died()) this.problem(`${id} ended by itself`);
  }

  /** Every key as it is in the end, each read until it succeeds. */
  async #readAll(clients: readonly ChaosClient[]): Promise<void> {
    const keys = [...new Set(this.recorder.history().map(({ key }) => key))];
    this.#tell(`${this.recorder.begun} operations; reading ${keys.length} keys once more`);
    const readNext = async (client: ChaosClient): Promise<void> => {
      for (let key = keys.pop(); key !== undefined; key = keys.pop()) {
        const level = key.startsWith('key/') ? 'QUORUM' : 'LINEARIZABLE';
        if (!(await readAtLast(client, key, level))) this.problem(`${key} cannot be read any more`);
      }
    };
    await Promise.all(clients.map(readNext));
  }

  #judged(): ChaosResult {
    const elapsedMs = this.#elapsedMs();
    const history = this.recorder.history();
    const violations = judge(history, evidenceOf(history, this.#cluster.places));
    const judgedMs = this.#elapsedMs() - elapsedMs;
    const problems = [...this.#problems];
    return { history, violations, problems, faults: this.#counts, elapsedMs, judgedMs };
  }

  #elapsedMs(): number {
    return performance.now() - this.#startMs;
  }
}

async function readAtLast(
  client: ChaosClient,
  key: string,
  level: 'QUORUM' | 'LINEARIZABLE',
): Promise<boolean> {
  const ask = { level, timeoutMs: 3_000 };
  for (let times = 0; times < READ_TIMES; times++) {
    const isRead =
      level === 'QUORUM' ? (await client.get(key, ask)) !== undefined : await client.look(key, ask);
    if (isRead) return true;
    await sleep(100);
  }
  return false;
}

const FAILED = Symbol('failed in a way that may pass');

async function unlessPassing<T>(action: Promise<T>): Promise<T | typeof FAILED> {
  try {
    return await action;
  } catch (error) {
    if (isPassing(error)) return FAILED;
    throw error;
  }
}
