import { Command } from 'commander';
import { KvError } from '../../src/core/errors.js';
import type { PeerRepairReport } from '../../src/wire/repair-reports.js';
import { formatBytes, formatCount, formatDuration } from '../durations.js';
import { EXIT } from '../exit-code.js';
import { CommandFailure, usageError } from '../failure.js';
import { reportNodes, withNode } from '../node-reports.js';
import { withoutName } from '../repair-view.js';
import { note, printRows, type Column } from '../output.js';
import { startProgress } from '../progress.js';
import { settingsOf, type Settings } from '../settings.js';

/** What came of comparing one node with one of its peers; `unreachable` when the node could not be asked. */
export type RepairRow =
  | (PeerRepairReport & { readonly node: string; readonly unreachable: false })
  | { readonly node: string; readonly unreachable: true; readonly reason: string };

const COLUMNS: readonly Column<RepairRow>[] = [
  { title: 'NODE', cell: ({ node }) => node },
  { title: 'WITH', cell: (row) => (row.unreachable ? '-' : row.peer) },
  { title: 'RESULT', cell: (row) => resultOf(row) },
  { title: 'KEYS', align: 'right', cell: numbers(({ differing }) => formatCount(differing)) },
  { title: 'PULLED', align: 'right', cell: numbers(({ pulled }) => formatCount(pulled)) },
  { title: 'PUSHED', align: 'right', cell: numbers(({ pushed }) => formatCount(pushed)) },
  { title: 'BYTES', align: 'right', cell: numbers(({ bytes }) => formatBytes(bytes)) },
  { title: 'TOOK', align: 'right', cell: numbers(({ durationMs }) => formatDuration(durationMs)) },
];

export function repairCommand(): Command {
  return new Command('repair')
    .description('compare every node with every other now, and mend what differs')
    .option('--node <id>', 'only this node, with each of its peers')
    .addHelpText(
      'after',
      `
Nodes do this by themselves all the time, one peer after another; this does not wait for their turn. KEYS differed; PULLED
records came to NODE, PUSHED ones went to its peer. Exit code 5 says that some could not be compared.

Examples:
  kvctl repair
  kvctl repair --node n2 && kvctl verify`,
    )
    .action(async ({ node: only }: { readonly node?: string }, command: Command) => {
      const settings = settingsOf(command);
      const { nodes } = await reportNodes(settings);
      if (only !== undefined && !nodes.some(({ id }) => id === only)) {
        const known = nodes.map(({ id }) => id).join(', ');
        throw usageError(`--node: there is no node "${only}"`, `The cluster has ${known}.`);
      }
      const rows: RepairRow[] = [];
      const progress = startProgress({ verb: 'copied', items: 'records', total: undefined });
      let copied = 0;
      const shown: Shown = {
        copying: (more) => progress.update(copied + more, copied + more),
        copied: (more) => void (copied += more),
      };
      try {
        // One after the other: who is being compared with one node is busy for the others.
        for (const { id, endpoint, report, reason } of nodes) {
          if (only !== undefined && id !== only) continue;
          if (report === undefined) rows.push({ node: id, unreachable: true, reason });
          else rows.push(...(await repairNode(id, endpoint, settings, shown)));
        }
      } finally {
        progress.stop();
      }
      const format = settings.output ?? 'table';
      await printRows(format, COLUMNS, rows, viewOf);
      if (format === 'table') note(`\n${summaryOf(rows)}`);
      const failure = failureOf(rows);
      if (failure !== undefined) throw failure;
    });
}

/** How far it has come, on the screen. */
interface Shown {
  /** Records of the comparison under way. */
  copying(count: number): void;
  /** Of one that is done. */
  copied(count: number): void;
}

async function repairNode(
  node: string,
  endpoint: string,
  settings: Settings,
  shown: Shown,
): Promise<RepairRow[]> {
  const rows: RepairRow[] = [];
  try {
    await withNode(endpoint, settings, (client) =>
      client.repair({
        onProgress: ({ copied }) => shown.copying(copied),
        onPeer(repair) {
          shown.copied(repair.pulled + repair.pushed);
          rows.push({ node, unreachable: false, ...repair });
        },
      }),
    );
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    rows.push({ node, unreachable: true, reason: error.message });
  }
  return rows;
}

/** One sentence for people. */
export function summaryOf(rows: readonly RepairRow[]): string {
  const done = rows.filter((row) => !row.unreachable);
  const copied = done.reduce((sum, { pulled, pushed }) => sum + pulled + pushed, 0);
  const bytes = done.reduce((sum, row) => sum + row.bytes, 0);
  const isWhole = failureOf(rows) === undefined;
  if (copied === 0) {
    return isWhole
      ? 'Nothing differed: there was nothing to mend.'
      : 'Nothing was mended; not everything could be compared.';
  }
  const what = `${formatCount(copied)} ${copied === 1 ? 'record was' : 'records were'} copied, with ${formatBytes(bytes)} of traffic`;
  return isWhole
    ? `Mended: ${what}.`
    : `Mended in part: ${what}; not everything could be compared.`;
}

/** Undefined when every two nodes were compared. Each pair is tried from both ends, and what one end did holds for both. */
export function failureOf(rows: readonly RepairRow[]): CommandFailure | undefined {
  const silent = rows.filter((row) => row.unreachable).map(({ node }) => node);
  const pairs = rows
    .filter((row) => !row.unreachable)
    .map((row) => ({ ...row, pair: [row.node, row.peer].sort().join(' with ') }));
  const compared = new Set(pairs.filter(({ complete }) => complete).map(({ pair }) => pair));
  const apart = pairs
    .filter(({ pair, peer }) => !compared.has(pair) && !silent.includes(peer))
    .map(({ pair }) => pair);
  const missing = [...silent, ...new Set(apart)];
  if (missing.length === 0) return undefined;
  return new CommandFailure(
    EXIT.unavailable,
    'UNAVAILABLE',
    `could not be compared: ${missing.join(', ')}`,
    'They did not hear each other, or do not run; `kvctl cluster status` says more. What was not mended now is mended when they do.',
  );
}

function resultOf(row: RepairRow): string {
  if (row.unreachable) return `unreachable: ${row.reason}`;
  if (!row.complete) return `incomplete: ${withoutName(row.peer, row.reason)}`;
  return row.differing === 0 ? 'equal' : 'mended';
}

function numbers(cell: (row: PeerRepairReport) => string): (row: RepairRow) => string {
  return (row) => (row.unreachable ? '-' : cell(row));
}

/** A row in machine output. Documented in cli/README.md. */
function viewOf(row: RepairRow) {
  if (row.unreachable) return { node: row.node, reachable: false, reason: row.reason };
  const { unreachable: _, reason, ...rest } = row;
  return { ...rest, reachable: true, ...(reason !== '' && { reason }) };
}
