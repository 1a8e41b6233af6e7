import { createConnection } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sharedBytesCodec } from '../../../cli/bench/bench-run.js';
import { connect, type Kv } from '../../../src/index.js';
import { openUnaryClient } from '../../../src/wire/unary-client.js';
import { eventually, freePorts } from '../../integration/processes.js';
import type { Launched, Processes } from './processes.js';

export const KVCTL = fileURLToPath(new URL('../../../cli/kvctl.js', import.meta.url));
const PROFILER = new URL('profile-on-signal.js', import.meta.url).href;
const READY_WITHIN_MS = 120_000;

export interface QuorateOptions {
  readonly size: number;
  /** Where a node writes its profiles; it takes one while it is told to (profiles.ts). Absent: it takes none. */
  readonly profileFolder?: string | undefined;
}

/** Nodes of Quorate as processes of this machine, as `kvctl serve` starts them, with an SDK connected to them. */
export class QuorateCluster {
  readonly #nodes: Launched[] = [];
  #kv: Kv<Uint8Array> | undefined;

  private constructor(
    private readonly processes: Processes,
    private readonly options: QuorateOptions,
    readonly endpoints: readonly string[],
    private readonly folder: string,
  ) {}

  static async start(
    processes: Processes,
    name: string,
    options: QuorateOptions,
  ): Promise<QuorateCluster> {
    const ports = await freePorts(options.size);
    const endpoints = ports.map((port) => `127.0.0.1:${port}`);
    const cluster = new QuorateCluster(processes, options, endpoints, join(processes.folder, name));
    for (let at = 0; at < options.size; at++) cluster.#launch(at);
    await Promise.all(endpoints.map((_, at) => cluster.#ready(at)));
    cluster.#kv = await connect({ endpoints, codec: sharedBytesCodec });
    return cluster;
  }

  get kv(): Kv<Uint8Array> {
    if (this.#kv === undefined) throw new Error('not connected');
    return this.#kv;
  }

  get pids(): readonly number[] {
    return this.#nodes.map(({ pid }) => pid);
  }

  /** Ends a node and starts it again. How long it took from its start until it served with all others, in ms. */
  async restart(at: number, signal: NodeJS.Signals): Promise<number> {
    await this.processes.stop(this.#nodes[at] as Launched, signal);
    const startedMs = performance.now();
    this.#launch(at);
    await this.#ready(at);
    return performance.now() - startedMs;
  }

  async stop(): Promise<void> {
    await this.#kv?.close();
    await Promise.all(this.#nodes.map((node) => this.processes.stop(node, 'SIGKILL')));
  }

  #launch(at: number): void {
    const members = this.endpoints.map((endpoint, i) => `n${i + 1}=${endpoint}/z${i + 1}`);
    const id = `n${at + 1}`;
    const { profileFolder } = this.options;
    const isProfiled = at === 0 && profileFolder !== undefined;
    const settings = {
      node: id,
      cluster: 'speed',
      members: members.join(','),
      replication: `${Math.min(3, this.options.size)}`,
      data: join(this.folder, id),
      'log-level': 'error',
    };
    const flags = Object.entries(settings).flatMap(([flag, value]) => [`--${flag}`, value]);
    const args = [...(isProfiled ? ['--import', PROFILER] : []), KVCTL, 'serve', ...flags];
    this.#nodes[at] = this.processes.launch(id, process.execPath, args, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: isProfiled ? { ...process.env, QUORATE_PROFILE_FOLDER: profileFolder } : process.env,
    });
  }

  /** Resolves when the node serves and hears every other. */
  async #ready(at: number): Promise<void> {
    // Only then a client: one that has failed to connect once waits a second before it tries again.
    await eventually(
      `n${at + 1} listens`,
      () => listens(this.endpoints[at] as string),
      READY_WITHIN_MS,
    );
    const client = openUnaryClient(this.endpoints[at] as string, { timeoutMs: 1_000 });
    const isReady = async () => {
      try {
        const { state, peers } = await client.status();
        return (
          state === 'serving' &&
          peers.length === this.options.size - 1 &&
          peers.every((peer) => peer.state === 'connected')
        );
      } catch {
        return false;
      }
    };
    try {
      await eventually(`n${at + 1} serves`, isReady, READY_WITHIN_MS);
    } finally {
      client.close();
    }
  }
}

function listens(endpoint: string): Promise<boolean> {
  const [host, port] = endpoint.split(':');
  return new Promise((resolve) => {
    const socket = createConnection({ host: host as string, port: Number(port) });
    const settle = (isOpen: boolean) => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once('connect', () => settle(true)).once('error', () => settle(false));
  });
}
