import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
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
export async function measureEcho(options: {
  readonly bytes: number;
  readonly inFlight: number;
  readonly warmupMs: number;
  readonly extent: Extent;
}): Promise<EchoResult> {
  const server = spawn(process.execPath, [process.argv[1] as string, 'echo-server'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(server, 'exit');
  try {
    const lines = createInterface({ input: server.stdout });
    const [endpoint] = (await Promise.race([once(lines, 'line'), exited])) as [unknown];
    if (typeof endpoint !== 'string') {
      throw new CommandFailure(1, 'ECHO_FAILED', 'the echo server did not start');
    }
    const { openEchoClient } = await import('../../src/wire/echo.js');
    const client = openEchoClient(endpoint);
    const bytes = Buffer.alloc(options.bytes, 1);
    const measure = async (extent: Extent) => {
      const latencies = new Latencies();
      const run = async (beganMs: number) => {
        await client.echo(bytes);
        latencies.record(performance.now() - beganMs);
      };
      const tookMs = await runClosedLoop(run, options.inFlight, extent);
      return {
        perSecond: Math.round((latencies.count / tookMs) * 1_000),
        latency: latencies.summary(),
      };
    };
    await measure({ operations: Number.POSITIVE_INFINITY, durationMs: options.warmupMs });
    const result = await measure(options.extent);
    client.close();
    return result;
  } finally {
    // The server ends with its standard input, so it cannot outlive this process either.
    server.stdin.end();
    await exited;
  }
}
