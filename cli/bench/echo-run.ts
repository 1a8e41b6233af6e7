import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { EchoClient } from '../../src/wire/echo.js';
import { CommandFailure } from '../failure.js';
import { Latencies, type LatencySummary } from './latencies.js';
import { runClosedLoop, type Extent } from './load.js';

export interface EchoResult {
  readonly perSecond: number;
  readonly latency: LatencySummary;
}

/**
 * How many unary calls a second a bare grpc-js server in a process of its own echoes: what this machine gives a gRPC service
 * that does nothing.
 */
export class EchoRun {
  #latencies = new Latencies();
  #durationMs = 0;

  private constructor(
    private readonly server: ChildProcess,
    private readonly exited: Promise<unknown>,
    private readonly client: EchoClient,
    private readonly bytes: Buffer,
    private readonly inFlight: number,
  ) {}

  static async start(bytes: number, inFlight: number): Promise<EchoRun> {
    const server = spawn(process.execPath, [process.argv[1] as string, 'echo-server'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const exited = once(server, 'exit');
    const lines = createInterface({ input: server.stdout });
    const [endpoint] = (await Promise.race([once(lines, 'line'), exited])) as [unknown];
    if (typeof endpoint !== 'string') {
      throw new CommandFailure(1, 'ECHO_FAILED', 'the echo server did not start');
    }
    const { openEchoClient } = await import('../../src/wire/echo.js');
    const value = Buffer.alloc(bytes, 1);
    return new EchoRun(server, exited, openEchoClient(endpoint), value, inFlight);
  }

  /** Calls it without measuring, until what is warm is warm. */
  async warmUp(durationMs: number): Promise<void> {
    await this.measure({ operations: Number.POSITIVE_INFINITY, durationMs });
    this.#latencies = new Latencies();
    this.#durationMs = 0;
  }

  /** Measures so many more calls. */
  async measure(extent: Extent): Promise<void> {
    const run = async (beganMs: number) => {
      await this.client.echo(this.bytes);
      this.#latencies.record(performance.now() - beganMs);
    };
    this.#durationMs += await runClosedLoop(run, this.inFlight, extent);
  }

  /** Of all that was measured. */
  result(): EchoResult {
    return {
      perSecond: Math.round((this.#latencies.count / this.#durationMs) * 1_000),
      latency: this.#latencies.summary(),
    };
  }

  async stop(): Promise<void> {
    this.client.close();
    // The server ends with its standard input, so it cannot outlive this process either.
    this.server.stdin?.end();
    await this.exited;
  }
}
