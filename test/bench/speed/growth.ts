import { statfsSync } from 'node:fs';
import type { BenchStore } from '../../../cli/bench/bench-run.js';
import { bytesSentAmong } from '../repair/kernel-counts.js';
import { cpuOf, Meter, type Figures } from './measured.js';
import type { Processes } from './processes.js';
import { QuorateCluster } from './quorate.js';
import { rest } from './rounds.js';
import { benchRun, LOAD_TIMEOUT_MS, sliceBySlice, VALUE_BYTES, type Work } from './work.js';

export interface GrowthSetting {
  readonly processes: Processes;
  readonly sliceMs: number;
  readonly warmUpMs: number;
  /** Whatever would be done later than this is left out, and said so. */
  readonly withinMs: number;
  readonly isQuick: boolean;
  readonly tell: (progress: string) => void;
}

/** How one operation costs at one size. */
export interface GrowthPoint {
  readonly axis: 'nodes' | 'value bytes' | 'keys';
  readonly size: number;
  readonly operation: 'put' | 'get';
  readonly inFlight: number;
  /** Undefined: left out, see `why`. */
  readonly figures?: Figures;
  /** Between client and nodes and among nodes, for each operation, as the kernel counts it. Needs `ss`. */
  readonly wireBytes?: number;
  readonly why?: string;
}

const NODE_COUNTS = [1, 3, 5, 9];
const VALUE_SIZES = [64, 256, 1_024, 4_096, 16_384, 65_536, 262_144];
const KEY_COUNTS = [1e4, 1e5, 1e6, 1e7];
const QUICK_STEPS = 2;

const NODES = 3;
const RECORDS = 10_000;
const IN_FLIGHT = 256;
/** Before a node is measured it has coordinated so many: until its code is compiled an operation costs several times as much. */
const WARM_OPERATIONS = 10_000;
const MAX_WARM_MS = 20_000;
const IDLE_CORES = 0.2;
const MAX_SETTLE_MS = 120_000;
/** With large values fewer are in flight and stored, so that the sizes of buffers and of the disk do not decide. */
const BYTES_IN_FLIGHT = 16 * 1024 * 1024;
const BYTES_STORED = 64 * 1024 * 1024;
/** What a record takes on each node, several times over while LevelDB compacts. */
const DISK_BYTES_A_KEY = 3 * 3 * (VALUE_BYTES + 128);

/** Adds to `points` as it goes. */
export async function measureGrowth(setting: GrowthSetting, points: GrowthPoint[]): Promise<void> {
  const growth = new Growth(setting, points);
  const steps = (sizes: readonly number[]) =>
    setting.isQuick ? sizes.slice(0, QUICK_STEPS) : sizes;
  for (const size of steps(NODE_COUNTS)) await growth.nodes(size);
  await growth.values(steps(VALUE_SIZES));
  await growth.keys(steps(KEY_COUNTS));
}

interface Data {
  readonly records: number;
  /** Of them, those that are there already. */
  readonly present: number;
  readonly valueBytes: number;
  readonly inFlight: number;
}

class Growth {
  readonly #setting: GrowthSetting;
  readonly #endMs: number;
  /** How long storing took that was done last. */
  #msPerKey = 0;

  constructor(
    setting: GrowthSetting,
    private readonly points: GrowthPoint[],
  ) {
    this.#setting = setting;
    this.#endMs = performance.now() + setting.withinMs;
  }

  async nodes(size: number): Promise<void> {
    if (this.#isLate()) return this.#leaveOut('nodes', size, 'no time was left');
    await this.#withCluster(`nodes-${size}`, size, (cluster) =>
      this.#both(cluster, 'nodes', size, {
        records: RECORDS,
        present: 0,
        valueBytes: VALUE_BYTES,
        // As many for each node, or what they gather into one message and one sync would shrink as well.
        inFlight: Math.round((IN_FLIGHT * size) / NODES),
      }),
    );
  }

  async values(sizes: readonly number[]): Promise<void> {
    for (const size of sizes) {
      if (this.#isLate()) {
        this.#leaveOut('value bytes', size, 'no time was left');
        continue;
      }
      const records = Math.max(100, Math.min(RECORDS, Math.floor(BYTES_STORED / size)));
      const inFlight = Math.max(8, Math.min(IN_FLIGHT, BYTES_IN_FLIGHT / size));
      const data = { records, present: 0, valueBytes: size, inFlight };
      await this.#withCluster(`values-${size}`, NODES, (cluster) =>
        this.#both(cluster, 'value bytes', size, data),
      );
    }
  }

  /** One cluster that grows. */
  async keys(counts: readonly number[]): Promise<void> {
    await this.#withCluster('keys', NODES, async (cluster) => {
      let present = 0;
      for (const size of counts) {
        const why = this.#whyNot((size - present) * this.#msPerKey, size - present);
        if (why !== undefined) {
          this.#leaveOut('keys', size, why);
          continue;
        }
        const data = { records: size, present, valueBytes: VALUE_BYTES, inFlight: IN_FLIGHT };
        await this.#both(cluster, 'keys', size, data);
        present = size;
      }
    });
  }

  async #withCluster(
    name: string,
    size: number,
    use: (cluster: QuorateCluster) => Promise<void>,
  ): Promise<void> {
    const { processes } = this.#setting;
    const cluster = await QuorateCluster.start(processes, `growth-${name}`, { size });
    try {
      await use(cluster);
    } finally {
      await cluster.stop();
    }
  }

  async #both(
    cluster: QuorateCluster,
    axis: GrowthPoint['axis'],
    size: number,
    data: Data,
  ): Promise<void> {
    try {
      await this.#putAndGet(cluster, axis, size, data);
    } catch (error) {
      this.#leaveOut(axis, size, error instanceof Error ? error.message : String(error));
    }
  }

  async #putAndGet(
    cluster: QuorateCluster,
    axis: GrowthPoint['axis'],
    size: number,
    data: Data,
  ): Promise<void> {
    const { tell } = this.#setting;
    const patient = cluster.kv.with({ timeoutMs: LOAD_TIMEOUT_MS });
    const { inFlight } = data;
    const runOf = (kv: BenchStore, workload: 'put' | 'get') => {
      const task = { kind: 'workload', workload, reads: 'strong', inFlight } as const;
      return benchRun(kv, task, data.records, undefined, data.valueBytes);
    };
    tell(`growth: storing records for ${axis} ${size}`);
    const startedMs = performance.now();
    await runOf(patient, 'put').load(() => {}, data.present);
    this.#msPerKey = (performance.now() - startedMs) / (data.records - data.present);
    await settle(cluster.pids);
    for (const operation of ['put', 'get'] as const) {
      tell(`growth: ${operation} at ${axis} ${size}`);
      const measured = await this.#measure(cluster, sliceBySlice(runOf(cluster.kv, operation)));
      this.points.push({ axis, size, operation, inFlight, ...measured });
    }
  }

  async #measure(cluster: QuorateCluster, work: Work) {
    const { processes, sliceMs } = this.#setting;
    const among = [process.pid, ...cluster.pids];
    await this.#warmUp(work, cluster.pids.length * WARM_OPERATIONS);
    await rest();
    const before = await bytesSentAmong(among);
    const meter = new Meter(cluster.pids, process.pid, () => processes.pids);
    const { figures, seen } = await meter.around(() => work(sliceMs));
    const after = await bytesSentAmong(among);
    if (before === undefined || after === undefined) return { figures };
    return { figures, wireBytes: (sum(after) - sum(before)) / Math.max(1, seen.operations) };
  }

  async #warmUp(work: Work, operations: number): Promise<void> {
    const { warmUpMs, isQuick } = this.#setting;
    const untilMs = performance.now() + (isQuick ? warmUpMs : MAX_WARM_MS);
    let done = 0;
    do done += (await work(warmUpMs)).operations;
    while (done < operations && performance.now() < untilMs);
  }

  #isLate(): boolean {
    return performance.now() > this.#endMs;
  }

  #whyNot(loadMs: number, keys: number): string | undefined {
    if (this.#isLate() || performance.now() + loadMs > this.#endMs) {
      return 'no time was left to store them';
    }
    const { bavail, bsize } = statfsSync(this.#setting.processes.folder);
    return keys * DISK_BYTES_A_KEY > bavail * bsize ? 'the disk has no room for them' : undefined;
  }

  #leaveOut(axis: GrowthPoint['axis'], size: number, why: string): void {
    for (const operation of ['put', 'get'] as const) {
      this.points.push({ axis, size, operation, inFlight: IN_FLIGHT, why });
    }
  }
}

/** Until LevelDB has put in order what was stored: the nodes have next to nothing to do any more. */
async function settle(pids: readonly number[]): Promise<void> {
  const untilMs = performance.now() + MAX_SETTLE_MS;
  let coresBusy = Number.POSITIVE_INFINITY;
  while (coresBusy > IDLE_CORES && performance.now() < untilMs) {
    const beganMs = performance.now();
    const before = await cpuOf(pids);
    await rest();
    coresBusy = ((await cpuOf(pids)) - before) / ((performance.now() - beganMs) / 1_000);
  }
}

function sum(sent: ReadonlyMap<number, number>): number {
  return [...sent.values()].reduce((total, bytes) => total + bytes, 0);
}
