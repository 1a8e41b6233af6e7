import { Command, Option } from 'commander';
import { KvError } from '../src/core/errors.js';
import type { Log } from '../src/io/log.js';
import type { RunningNode } from '../src/start-node.js';
import { environmentName, loadConfig, SETTINGS, type NodeConfig } from './config.js';
import { EXIT } from './exit-code.js';
import { CommandFailure } from './failure.js';
import type { MetricsServer } from './metrics.js';

/** `kvctl serve`: runs one node in the foreground until SIGTERM or SIGINT. */
export function serveCommand(): Command {
  const command = new Command('serve')
    .description('run one node until SIGTERM or SIGINT')
    .option('--config <file>', 'TOML file with the settings below as keys [env: QUORATE_CONFIG]');
  for (const { name, placeholder, help } of SETTINGS) {
    const flag = placeholder === '' ? `--${name}` : `--${name} <${placeholder}>`;
    command.addOption(new Option(flag, `${help} [env: ${environmentName(name)}]`));
  }
  return command
    .addHelpText(
      'after',
      `
A flag wins over the environment, the environment over the file.

Example:
  kvctl serve --node n1 --members n1=10.0.0.1:7101/a,n2=10.0.0.2:7101/b,n3=10.0.0.3:7101/c --data /var/lib/quorate`,
    )
    .action(async (_options: unknown, self: Command) => {
      const flags = Object.fromEntries(
        SETTINGS.map(({ name }) => [name, self.getOptionValue(camelCase(name))]),
      );
      const file = self.getOptionValue('config') as string | undefined;
      await serve(
        loadConfig({
          flags,
          environment: process.env,
          file: file ?? process.env['QUORATE_CONFIG'],
          isTerminal: process.stderr.isTTY,
        }),
      );
    });
}

async function serve(config: NodeConfig): Promise<void> {
  // Only a node pays for loading one.
  const [{ pino }, { startNode }] = await Promise.all([
    import('pino'),
    import('../src/start-node.js'),
  ]);
  const log = pino(
    {
      level: config.logLevel,
      base: { node: config.node },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    config.logFormat === 'json' ? pino.destination({ dest: 2, sync: true }) : prettyStream(),
  );
  if (config.trustFolder) {
    log.warn(
      {},
      'started with --trust-folder: what the node has forgotten, if anything, is taken for never written. Leave it out of the next start',
    );
  }
  if (config.unsafeFaults) {
    log.warn(
      {},
      'started with --unsafe-faults: whoever reaches this node can cut it off and skew it',
    );
  }
  const node = await startNode(config, log).catch((error: unknown) => {
    throw cannotListen(error);
  });
  log.info(
    {
      endpoint: node.endpoint,
      cluster: config.cluster,
      clusterId: node.clusterId,
      pid: process.pid,
    },
    `node ${config.node} serves cluster ${config.cluster} at ${node.endpoint}`,
  );
  const metrics = await metricsOf(node, config, log);
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    // A second signal finds the stop under way; it is bounded by graceMs, so there is nothing to hurry.
    process.on('SIGTERM', resolve);
    process.on('SIGINT', resolve);
  });
  log.info({ signal, graceMs: config.graceMs }, `${signal}: finishing what is under way`);
  await node.stop();
  metrics?.close();
  log.info({}, 'stopped');
}

/** Undefined: they were not asked for. A node that cannot serve them does not start. */
async function metricsOf(
  node: RunningNode,
  { metricsPort }: NodeConfig,
  log: Log,
): Promise<MetricsServer | undefined> {
  if (metricsPort === undefined) return undefined;
  const { serveMetrics } = await import('./metrics.js');
  try {
    const metrics = await serveMetrics(metricsPort, () => node.status());
    log.info({ port: metrics.port }, `metrics are at http://127.0.0.1:${metrics.port}/metrics`);
    return metrics;
  } catch (error) {
    await node.stop();
    throw new CommandFailure(
      EXIT.error,
      'CANNOT_LISTEN',
      `metrics-port: ${(error as Error).message}`,
      'End what listens there (see `ss -ltnp`), or give another port with --metrics-port.',
      { cause: error },
    );
  }
}

/** The only thing that is unavailable to a node that starts is its own address: to point at --endpoints would mislead. */
function cannotListen(error: unknown): unknown {
  if (!(error instanceof KvError) || error.code !== 'UNAVAILABLE') return error;
  return new CommandFailure(
    EXIT.error,
    'CANNOT_LISTEN',
    `listen: ${error.message}`,
    'End what listens there (see `ss -ltnp`), or give another address with --listen.',
    { cause: error },
  );
}

/** One line an event for people: time, level, message, then the fields. */
function prettyStream(): { write(line: string): void } {
  return {
    write(line) {
      const { level, time, node, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
      const rest = Object.entries(fields)
        .map(([key, value]) => ` ${key}=${JSON.stringify(value)}`)
        .join('');
      process.stderr.write(
        `${String(time)} ${String(level).padEnd(5)} ${String(node)} ${String(msg)}${rest}\n`,
      );
    },
  };
}

function camelCase(name: string): string {
  return name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}
