import { Command } from 'commander';
import { formatVersion } from '../../src/core/version.js';
import { formatMs } from '../durations.js';
import { isoTime } from '../entry-view.js';
import { reportNodes, type NodeReport } from '../node-reports.js';
import { note, printRows, type Column } from '../output.js';
import { settingsOf } from '../settings.js';
import { unreachableFailure } from './cluster.js';

const COLUMNS: readonly Column<NodeReport>[] = [
  { title: 'NODE', cell: ({ id }) => id },
  { title: 'WALL CLOCK', cell: ({ report }) => (report ? isoTime(report.wallMs) : '-') },
  {
    title: 'OFFSET',
    align: 'right',
    cell: ({ report }) => (report ? formatMs(report.offsetMs) : '-'),
  },
  {
    title: 'HLC AHEAD',
    align: 'right',
    cell: ({ report }) => (report ? `${Math.max(0, report.hlc.wallMs - report.wallMs)} ms` : '-'),
  },
  { title: 'HLC', cell: ({ report }) => (report ? formatVersion(report.hlc) : '-') },
  {
    title: 'REFUSALS',
    align: 'right',
    cell: ({ report }) => (report ? String(report.driftRefusals) : '-'),
  },
  { title: 'STATE', cell: ({ report }) => report?.state ?? 'unreachable' },
];

export function clockCommand(): Command {
  return new Command('clock')
    .description("each node's clock: its offset from the median, its HLC and what it refused")
    .addHelpText(
      'after',
      `
OFFSET is the node's wall clock less the median of its peers, as it measures it: below 0, it is behind. HLC AHEAD says how far the hybrid clock
runs before the wall clock. REFUSALS counts stamps that were refused with CLOCK_DRIFT since the node started.`,
    )
    .action(async (_options: unknown, command: Command) => {
      const settings = settingsOf(command);
      const { cluster, nodes } = await reportNodes(settings);
      await printRows(settings.output ?? 'table', COLUMNS, nodes, clockView);
      for (const { id, report } of nodes) {
        if (report?.state === 'quarantined') note(`${id} is quarantined: ${report.reason}`);
      }
      note(`A stamp or a clock may be ${cluster.maxDriftMs} ms off.`);
      const failure = unreachableFailure(nodes);
      if (failure !== undefined) throw failure;
    });
}

function clockView({ id, report, reason }: NodeReport) {
  if (report === undefined) return { id, reachable: false, reason };
  const { wallMs, offsetMs, hlc, driftRefusals, state } = report;
  const quarantined = state === 'quarantined';
  return {
    id,
    reachable: true,
    wallMs,
    offsetMs,
    hlc: formatVersion(hlc),
    hlcWallMs: hlc.wallMs,
    driftRefusals,
    quarantined,
  };
}
