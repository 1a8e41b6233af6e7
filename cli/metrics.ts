import { createServer, type Server, type ServerResponse } from 'node:http';
import { Counter, Gauge, Registry } from 'prom-client';
import { NODE_STATES, type NodeStatusReport } from '../src/wire/reports.js';

/** Serves what a node says of itself to Prometheus. Nothing is measured for it: each scrape asks for the status. */
export interface MetricsServer {
  readonly port: number;
  close(): void;
}

/** At `/metrics` of 127.0.0.1; port 0 takes a free one. Rejects when the port is not to be had. */
export async function serveMetrics(
  port: number,
  status: () => Promise<NodeStatusReport>,
): Promise<MetricsServer> {
  const server = createServer((request, response) => {
    if (request.url !== '/metrics') {
      response.writeHead(404).end('The metrics are at /metrics.\n');
      return;
    }
    void answer(response, status);
  });
  await listening(server, port);
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function answer(
  response: ServerResponse,
  status: () => Promise<NodeStatusReport>,
): Promise<void> {
  try {
    const text = await metricsText(await status());
    response.writeHead(200, { 'content-type': Registry.PROMETHEUS_CONTENT_TYPE }).end(text);
  } catch (error) {
    response.writeHead(500).end(`${String(error)}\n`);
  }
}

function listening(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject).listen(port, '127.0.0.1', () => resolve());
  });
}

type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

interface Metric {
  /** Without the prefix `quorate_`. A name that ends with `_total` counts since the node started; every other one is a gauge. */
  readonly name: string;
  readonly help: string;
  readonly samples: (report: NodeStatusReport) => readonly Sample[];
}

/** Units are those of Prometheus: seconds and bytes. */
const METRICS: readonly Metric[] = [
  {
    name: 'info',
    help: 'Which node this is; always 1.',
    samples: ({ clusterName, clusterId, release }) => [
      { labels: { cluster: clusterName, cluster_id: clusterId, release }, value: 1 },
    ],
  },
  {
    name: 'state',
    help: 'How the node is: 1 for the state it is in, 0 for the others. A quarantined node coordinates no writes.',
    samples: (report) =>
      NODE_STATES.map((state) => ({ labels: { state }, value: Number(report.state === state) })),
  },
  one('uptime_seconds', 'Since its start.', ({ uptimeMs }) => uptimeMs / 1_000),
  one(
    'clock_offset_seconds',
    'Its clock less the median of the nodes it hears.',
    ({ offsetMs }) => offsetMs / 1_000,
  ),
  one(
    'drift_refusals_total',
    'Stamps refused with CLOCK_DRIFT.',
    ({ driftRefusals }) => driftRefusals,
  ),
  one('writes_total', 'Writes it coordinated.', ({ writes }) => writes),
  one('reads_total', 'Reads it coordinated.', ({ reads }) => reads),
  one(
    'read_repairs_total',
    'Copies that a read found old, and brought on.',
    ({ repairs }) => repairs,
  ),
  one('shed_total', 'Requests refused with OVERLOADED.', ({ shed }) => shed),
  one('in_flight', 'Requests under way.', ({ inFlight }) => inFlight),
  one('store_bytes', 'On disk.', ({ storeBytes }) => storeBytes),
  one(
    'store_reads_total',
    'Keys looked up on disk, and ranges begun.',
    ({ storeReads }) => storeReads,
  ),
  one('memory_bytes', 'Resident and anonymous.', ({ memoryBytes }) => memoryBytes),
  {
    name: 'hints_owed',
    help: 'Keys that it keeps for a node that missed them.',
    samples: ({ hints, members }) =>
      members.map(({ nodeId }) => ({
        labels: { target: nodeId },
        value: hints.owed.find(({ target }) => target === nodeId)?.keys ?? 0,
      })),
  },
  one('hints_delivered_total', 'Hints delivered.', ({ hints }) => hints.delivered),
  one('hints_dropped_total', 'Hints left to anti-entropy.', ({ hints }) => hints.dropped),
  one(
    'partitions_differing',
    'Partitions that differed from a peer when they were last compared.',
    ({ repair }) => repair.partitionsDiffering,
  ),
  one('repaired_records_total', 'Records copied by anti-entropy.', ({ repair }) => repair.keys),
  one(
    'repaired_bytes_total',
    'Bytes of records copied by anti-entropy.',
    ({ repair }) => repair.bytes,
  ),
  one(
    'corrupt_keys',
    'Keys whose records fail their checksums.',
    ({ repair }) => repair.corruptKeys,
  ),
  one('trees_ready', '1 once its hash trees are built.', ({ repair }) => Number(repair.treesReady)),
  {
    name: 'last_compared_seconds',
    help: 'Since the last comparison with a peer ended.',
    samples: ({ repair }) =>
      repair.rounds
        .filter(({ result }) => result !== 'never')
        .map(({ peer, agoMs }) => ({ labels: { peer }, value: agoMs / 1_000 })),
  },
  {
    name: 'peer_connected',
    help: '1 while it is connected to that node.',
    samples: ({ peers }) =>
      peers.map(({ nodeId, state }) => ({
        labels: { peer: nodeId },
        value: Number(state === 'connected'),
      })),
  },
  {
    name: 'peer_alive',
    help: '1 while it believes that node to be alive.',
    samples: ({ members }) =>
      members.map(({ nodeId, status }) => ({
        labels: { peer: nodeId },
        value: Number(status === 'alive'),
      })),
  },
];

function one(name: string, help: string, value: (report: NodeStatusReport) => number): Metric {
  return { name, help, samples: (report) => [{ value: value(report) }] };
}

/** The status of a node in the text format of Prometheus. */
export function metricsText(report: NodeStatusReport): Promise<string> {
  const registry = new Registry();
  registry.setDefaultLabels({ node: report.nodeId });
  for (const { name, help, samples } of METRICS) {
    const taken = samples(report);
    // Of nobody there is nothing to say; it would be told as 0.
    if (taken.length === 0) continue;
    const labelNames = Object.keys(taken[0]?.labels ?? {});
    const definition = { name: `quorate_${name}`, help, labelNames, registers: [registry] };
    const isCounter = name.endsWith('_total');
    const metric = isCounter ? new Counter(definition) : new Gauge(definition);
    // A counter starts at 0, and is filled once.
    for (const { labels = {}, value } of taken) metric.inc(labels, value);
  }
  return registry.metrics();
}
