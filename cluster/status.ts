import { setTimeout as sleep } from 'node:timers/promises';
import { formatBytes, formatCount, formatDuration, formatMs } from '../cli/durations.js';
import { jsonText, renderTable, writeData, type Column } from '../cli/output.js';
import { placesOf } from './layout.js';
import { viewNodes, type NodeView } from './node-view.js';
import { existingState, type Workplace } from './workplace.js';

const REDRAW_EVERY_MS = 1_000;
const CLEAR_SCREEN = '\u001B[H\u001B[2J\u001B[3J';

const COLUMNS: readonly Column<NodeView>[] = [
  { title: 'NODE', cell: ({ place }) => place.id },
  { title: 'STATE', cell: stateOf },
  { title: 'PID', align: 'right', cell: ({ pid }) => String(pid ?? '-') },
  { title: 'ENDPOINT', cell: ({ place }) => place.endpoint },
  { title: 'UPTIME', align: 'right', cell: said(({ uptimeMs }) => formatDuration(uptimeMs)) },
  {
    title: 'PEERS',
    align: 'right',
    cell: said(({ peers }) => {
      const connected = peers.filter(({ state }) => state === 'connected');
      return `${connected.length}/${peers.length}`;
    }),
  },
  { title: 'OFFSET', align: 'right', cell: said(({ offsetMs }) => formatMs(offsetMs)) },
  { title: 'COMMITS', align: 'right', cell: said((report) => formatCount(report.commitCounter)) },
  { title: 'WRITES', align: 'right', cell: said(({ writes }) => formatCount(writes)) },
  { title: 'READS', align: 'right', cell: said(({ reads }) => formatCount(reads)) },
  { title: 'MEMORY', align: 'right', cell: said(({ memoryBytes }) => formatBytes(memoryBytes)) },
  { title: 'FAULTS', cell: said(({ faults }) => faults.join('; ') || '-') },
];

/** Prints how every node is, once. Whether all of them serve reads and writes. */
export async function showStatus(at: Workplace, format: 'table' | 'json'): Promise<boolean> {
  const state = existingState(at);
  const views = await viewNodes(state, placesOf(state));
  await writeData(
    format === 'json' ? jsonText('json', views.map(viewForMachines)) : renderTable(COLUMNS, views),
  );
  return views.every(({ isHealthy, report }) => isHealthy && report?.state === 'serving');
}

/** Prints how every node is, again and again, until this process is ended. */
export async function watchStatus(at: Workplace): Promise<never> {
  for (;;) {
    const state = existingState(at);
    const views = await viewNodes(state, placesOf(state));
    const table = renderTable(COLUMNS, views);
    await writeData(process.stdout.isTTY ? `${CLEAR_SCREEN}${table}` : `${table}\n`);
    await sleep(REDRAW_EVERY_MS);
  }
}

/** What the node says of itself where it answers, else how its process is. */
function stateOf({ process, report }: NodeView): string {
  if (process !== 'running') return process;
  return report?.state ?? 'no answer';
}

function said(
  cell: (report: NonNullable<NodeView['report']>) => string,
): (view: NodeView) => string {
  return ({ report }) => (report === undefined ? '-' : cell(report));
}

function viewForMachines(view: NodeView): unknown {
  const { place, process, pid, isHealthy, report } = view;
  return {
    node: place.id,
    endpoint: place.endpoint,
    zone: place.zone,
    process,
    pid: pid ?? null,
    healthy: isHealthy,
    state: report?.state ?? null,
    reason: report?.reason ?? '',
    uptimeMs: report?.uptimeMs ?? null,
    peers: report?.peers ?? [],
    offsetMs: report?.offsetMs ?? null,
    commitCounter: report?.commitCounter ?? null,
    writes: report?.writes ?? null,
    reads: report?.reads ?? null,
    memoryBytes: report?.memoryBytes ?? null,
    faults: report?.faults ?? [],
  };
}
