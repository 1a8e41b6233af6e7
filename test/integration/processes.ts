import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openUnaryClient } from '../../src/wire/unary-client.js';

const KVCTL = fileURLToPath(new URL('../../cli/kvctl.js', import.meta.url));
const START_WITHIN_MS = 20_000;
const POLL_MS = 25;

/** Ports of 127.0.0.1 that were free a moment ago; held together while they are chosen, so they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map(closed));
  return ports;
}

async function closed(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}

/** Resolves when `holds` says so; fails with `what` after `withinMs`. A condition, polled, and never a bare pause. */
export async function eventually(
  what: string,
  holds: () => boolean | Promise<boolean>,
  withinMs = START_WITHIN_MS,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, POLL_MS);
    });
  }
}

/** A node in a process of its own: real gRPC, real LevelDB, real signals. */
export class NodeProcess {
  log = '';
  #child: ChildProcess | undefined;

  constructor(
    readonly id: string,
    readonly endpoint: string,
    private readonly args: readonly string[],
  ) {}

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error(`${this.id} does not run`);
    return this.#child.pid;
  }

  launch(): void {
    const child = spawn(process.execPath, [KVCTL, 'serve', ...this.args], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.log += text;
    });
    this.#child = child;
  }

  /** Resolves with the exit code when the process has ended; null when a signal ended it. */
  async ended(): Promise<number | null> {
    const child = this.#child;
    if (child === undefined) return null;
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    this.#child = undefined;
    return child.exitCode;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.#child?.kill(signal);
    return this.ended();
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }
}

export class ProcessCluster implements AsyncDisposable {
  readonly endpoints: readonly string[];

  private constructor(
    readonly folder: string,
    readonly nodes: readonly NodeProcess[],
    readonly members: string,
  ) {
    this.endpoints = nodes.map(({ endpoint }) => endpoint);
  }

  /** `size` nodes n1, n2, ... in zones z1, z2, ..., each connected to all others. */
  static async start(size: number, extra: readonly string[] = []): Promise<ProcessCluster> {
    const folder = mkdtempSync(join(tmpdir(), 'quorate-test-'));
    const ports = await freePorts(size);
    const endpoints = ports.map((port) => `127.0.0.1:${port}`);
    const members = endpoints.map((at, i) => `n${i + 1}=${at}/z${i + 1}`).join(',');
    const nodes = endpoints.map((endpoint, i) => {
      const id = `n${i + 1}`;
      const own = ['--node', id, '--members', members, '--data', join(folder, id)];
      return new NodeProcess(id, endpoint, [
        ...own,
        '--cluster',
        'test',
        '--unsafe-faults',
        ...extra,
      ]);
    });
    const cluster = new ProcessCluster(folder, nodes, members);
    for (const node of nodes) node.launch();
    await cluster.connected();
    return cluster;
  }

  node(id: string): NodeProcess {
    const node = this.nodes.find((each) => each.id === id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  /** Resolves when every node answers and hears every other. */
  async connected(): Promise<void> {
    await Promise.all(
      this.nodes.map(async (node) => {
        const client = openUnaryClient(node.endpoint, { timeoutMs: 1_000 });
        try {
          await eventually(`${node.id} connected to its peers\n${node.log}`, async () => {
            try {
              const { peers } = await client.status();
              return (
                peers.length === this.nodes.length - 1 &&
                peers.every((p) => p.state === 'connected')
              );
            } catch {
              return false;
            }
          });
        } finally {
          client.close();
        }
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.stop('SIGKILL')));
    rmSync(this.folder, { recursive: true, force: true });
  }
}
