import { Command } from 'commander';
import { formatVersion } from '../../src/core/version.js';
import type { PeerStatusReport } from '../../src/wire/reports.js';
import { printable } from '../byte-text.js';
import { formatBytes, formatCount, formatDuration, formatMs } from '../durations.js';
import { isoTime } from '../entry-view.js';
import { endpointOf, withNode } from '../node-reports.js';
import { printFields, renderTable, writeData, type Column } from '../output.js';
import { owedText, roundText } from '../repair-view.js';
import { settingsOf } from '../settings.js';

const PEER_COLUMNS: readonly Column<PeerStatusReport>[] = [
  { title: 'PEER', cell: ({ nodeId }) => nodeId },
  { title: 'ADDRESS', cell: ({ address }) => address },
  {
    title: 'STATE',
    cell: ({ state, quarantined }) => (quarantined ? `${state}, quarantined` : state),
  },
  { title: 'RTT', align: 'right', cell: (peer) => measured(peer, peer.roundTripMs) },
  { title: 'OFFSET', align: 'right', cell: (peer) => measured(peer, peer.offsetMs) },
  { title: 'REASON', cell: ({ reason }) => reason },
];

export function nodeCommand(): Command {
  return new Command('node').description('look at one node').addCommand(
    new Command('status')
      .description('what one node says of itself and of its peers')
      .argument('[node]', 'id or HOST:PORT (default: the first endpoint)')
      .action(async (name: string | undefined, _options: unknown, command: Command) => {
        const settings = settingsOf(command);
        const endpoint = await endpointOf(name, settings);
        const status = await withNode(endpoint, settings, (node) => node.status());
        const format = settings.output ?? 'table';
        const { peers, faults } = status;
        await printFields(
          format,
          [
            ['node', `${status.nodeId} at ${endpoint}`],
            ['cluster', `${status.clusterName} (${status.clusterId})`],
            ['release', status.release],
            ['state', status.reason === '' ? status.state : `${status.state}: ${status.reason}`],
            ['up', formatDuration(status.uptimeMs)],
            ['wall clock', isoTime(status.wallMs)],
            ['HLC', formatVersion(status.hlc)],
            ['writer', status.writer],
            ['incarnation', status.incarnation],
            ['offset', `${formatMs(status.offsetMs)} from the median of its peers`],
            ['drift refusals', formatCount(status.driftRefusals)],
            ['commit counter', formatCount(status.commitCounter)],
            ['writes', formatCount(status.writes)],
            ['reads', formatCount(status.reads)],
            ['read repairs', formatCount(status.repairs)],
            ['hints owed', owedText(status.hints)],
            ['hints delivered', formatCount(status.hints.delivered)],
            ['hints dropped', formatCount(status.hints.dropped)],
            ['hash trees', status.repair.treesReady ? 'ready' : 'being rebuilt'],
            ['digest', status.digest === '' ? 'not known yet' : status.digest],
            ['partitions differing', formatCount(status.repair.partitionsDiffering)],
            [
              'repaired',
              `${formatCount(status.repair.keys)} records, ${formatBytes(status.repair.bytes)}`,
            ],
            ['unreadable keys', formatCount(status.repair.corruptKeys)],
            ...status.repair.rounds.map((round) => ['last compared', roundText(round)] as const),
            ['shed', formatCount(status.shed)],
            ['in flight', formatCount(status.inFlight)],
            ['store', formatBytes(status.storeBytes)],
            ['memory', formatBytes(status.memoryBytes)],
            ...faults.map((fault) => ['injected fault', printable(fault)] as const),
          ],
          { endpoint, ...status, hlc: formatVersion(status.hlc) },
        );
        if (format === 'table' && peers.length > 0) {
          await writeData(`\n${renderTable(PEER_COLUMNS, peers)}`);
        }
      }),
  );
}

/** Of a peer that is not connected nothing is measured; what was last is of no use. */
function measured({ state }: PeerStatusReport, ms: number): string {
  return state === 'connected' ? formatMs(ms) : '-';
}
