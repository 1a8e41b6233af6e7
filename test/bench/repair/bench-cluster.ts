import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { sharedBytesCodec } from '../../../cli/bench/bench-run.js';
import { runClosedLoop } from '../../../cli/bench/load.js';
import { connect, type Kv } from '../../../src/index.js';
import type { Link } from '../../../src/io/link.js';
import { openUnaryClient } from '../../../src/wire/unary-client.js';
import type { NodeStatusReport } from '../../../src/wire/reports.js';
import { ProcessCluster, type NodeProcess } from '../../integration/processes.js';
import { contentsOf, Frontier, openLink, type Contents } from './frontier.js';
import { bytesSentAmong, cpuSecondsOf, type BytesSent } from './kernel-counts.js';

/** Between two looks at contents, seldom: they are work in the foreground, for which what a node does by itself steps back. */
const LOOK_MS = 500;
/** Between two looks at the status, which costs a node next to nothing. */
const POLL_MS = 50;
const LOAD_IN_FLIGHT = 256;
const STATUS_TIMEOUT_MS = 2_000;

/** All keys of the benchmark begin so. */
const PREFIX = Buffer.from('k/');

export function keyOf(i: number): Buffer {
  return Buffer.from(`k/${i.toString().padStart(9, '0')}`);
}

/** A value that says how often its key has been written. */
export function valueFor(round: number, bytes: number): Buffer {
  const value = Buffer.alloc(bytes, 0x2e);
  value.writeUInt32BE(round, 0);
  return value;
}

/** Three nodes, each a process of this machine, with a client that keeps to one level. */
export class BenchCluster implements AsyncDisposable {
  readonly #processes: ProcessCluster;
  readonly kv: Kv<Uint8Array>;

  private constructor(processes: ProcessCluster, kv: Kv<Uint8Array>) {
    this.#processes = processes;
    this.kv = kv;
  }

  static async start(): Promise<BenchCluster> {
    const processes = await ProcessCluster.start(3);
    try {
      const kv = await connect({ endpoints: processes.endpoints, codec: sharedBytesCodec });
      return new BenchCluster(processes, kv);
    } catch (error) {
      await processes[Symbol.asyncDispose]();
      throw error;
    }
  }

  get nodes(): readonly NodeProcess[] {
    return this.#processes.nodes;
  }

  node(id: string): NodeProcess {
    return this.#processes.node(id);
  }

  folderOf(id: string): string {
    return join(this.#processes.folder, id);
  }

  loseFolder(id: string): void {
    rmSync(this.folderOf(id), { recursive: true, force: true });
  }

  /** Writes keys `from` up to `to`. */
  async load(from: number, to: number, value: Uint8Array): Promise<void> {
    let next = from;
    const run = async () => {
      await this.kv.put(keyOf(next++), value);
    };
    const extent = { operations: to - from, durationMs: Number.POSITIVE_INFINITY };
    await runClosedLoop(run, LOAD_IN_FLIGHT, extent);
  }

  /** What this node holds now. */
  async contentsOf(id: string): Promise<Contents> {
    const link = await openLink(this.node(id).endpoint);
    try {
      return await contentsOf(link, PREFIX);
    } finally {
      await link.close(0);
    }
  }

  /** Resolves when each of the nodes holds just this; false when one does not `withinMs`. */
  async hold(contents: Contents, ids: readonly string[], withinMs: number): Promise<boolean> {
    const endMs = performance.now() + withinMs;
    const links: Link[] = [];
    try {
      for (const id of ids) links.push(await openLink(this.node(id).endpoint));
      const frontiers = links.map((link) => new Frontier(link, PREFIX, contents));
      while (true) {
        const held = await Promise.all(frontiers.map((frontier) => frontier.look()));
        if (held.every(Boolean)) return true;
        if (performance.now() > endMs) return false;
        await pause(LOOK_MS);
      }
    } finally {
      await Promise.all(links.map((link) => link.close(0)));
    }
  }

  /** Resolves when their digests are the same, and what each waits for is over; false when they are not `withinMs`. */
  async agree(ids: readonly string[], withinMs: number): Promise<boolean> {
    return this.#polled(withinMs, async () => {
      const reports = await Promise.all(ids.map((id) => this.status(id)));
      const [first] = reports;
      return reports.every(
        (report) =>
          report !== undefined &&
          report.state === 'serving' &&
          report.digest !== '' &&
          report.digest === first?.digest,
      );
    });
  }

  /** Resolves when the node serves, so is not being refilled any more; false when it does not `withinMs`. */
  async serves(id: string, withinMs: number): Promise<boolean> {
    return this.#polled(withinMs, async () => (await this.status(id))?.state === 'serving');
  }

  async #polled(withinMs: number, holds: () => Promise<boolean>): Promise<boolean> {
    const endMs = performance.now() + withinMs;
    while (!(await holds())) {
      if (performance.now() > endMs) return false;
      await pause(POLL_MS);
    }
    return true;
  }

  /** Resolves when every node answers and hears every other. */
  connected(): Promise<void> {
    return this.#processes.connected();
  }

  async status(id: string): Promise<NodeStatusReport | undefined> {
    const client = openUnaryClient(this.node(id).endpoint, { timeoutMs: STATUS_TIMEOUT_MS });
    try {
      return await client.status();
    } catch {
      return undefined;
    } finally {
      client.close();
    }
  }

  /** Bytes that these nodes have sent to each other over the connections that they have now. */
  bytesSent(ids: readonly string[]): Promise<BytesSent | undefined> {
    return bytesSentAmong(ids.map((id) => this.node(id).pid));
  }

  async cpuSeconds(): Promise<readonly number[]> {
    return Promise.all(this.nodes.map(({ pid }) => cpuSecondsOf(pid)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kv.close();
    await this.#processes[Symbol.asyncDispose]();
  }
}

export function pause(delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, delayMs);
  });
}
