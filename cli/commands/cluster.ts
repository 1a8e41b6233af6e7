import { Command } from 'commander';
import { hash32 } from '../../src/core/hash.js';
import {
  createPlacement,
  partitionOf,
  PARTITIONS,
  type Placement,
} from '../../src/core/placement.js';
import { bytesToDisplay, bytesToJson } from '../byte-text.js';
import { formatBytes, formatCount, formatDuration, formatMs } from '../durations.js';
import { EXIT } from '../exit-code.js';
import { CommandFailure } from '../failure.js';
import { describeCluster, reportNodes, type NodeReport } from '../node-reports.js';
import { note, printFields, printRows, renderTable, writeData, type Column } from '../output.js';
import { repairNotes, REPAIR_COLUMNS } from '../repair-view.js';
import { keyArgument, keyHexOption, settingsOf } from '../settings.js';
import { membersCommand } from './members.js';

export function clusterCommand(): Command {
  return new Command('cluster')
    .description('look at the cluster')
    .addCommand(statusCommand())
    .addCommand(membersCommand())
    .addCommand(placementCommand());
}

const STATUS_COLUMNS: readonly Column<NodeReport>[] = [
  { title: 'NODE', cell: ({ id }) => id },
  { title: 'ADDRESS', cell: ({ address }) => address },
  { title: 'ZONE', cell: ({ zone }) => zone },
  { title: 'STATE', cell: (node) => stateOf(node) },
  { title: 'UP', cell: ({ report }) => (report ? formatDuration(report.uptimeMs) : '-') },
  { title: 'RTT', align: 'right', cell: ({ roundTripMs }) => timed(roundTripMs) },
  { title: 'OFFSET', align: 'right', cell: ({ report }) => timed(report?.offsetMs) },
  { title: 'COMMIT', align: 'right', cell: ({ report }) => counted(report?.commitCounter) },
  { title: 'WRITES', align: 'right', cell: ({ report }) => counted(report?.writes) },
  { title: 'READS', align: 'right', cell: ({ report }) => counted(report?.reads) },
  { title: 'REPAIRS', align: 'right', cell: ({ report }) => counted(report?.repairs) },
  { title: 'SHED', align: 'right', cell: ({ report }) => counted(report?.shed) },
  { title: 'IN FLIGHT', align: 'right', cell: ({ report }) => counted(report?.inFlight) },
  { title: 'STORE', align: 'right', cell: ({ report }) => sized(report?.storeBytes) },
  { title: 'MEMORY', align: 'right', cell: ({ report }) => sized(report?.memoryBytes) },
  { title: 'PEERS', align: 'right', cell: (node) => peersOf(node) },
];

function statusCommand(): Command {
  return new Command('status')
    .description('how every node is; exits with 5 when one cannot be reached')
    .addHelpText(
      'after',
      `
RTT is the way from here to the node and back; OFFSET its clock less the median of its peers. COMMIT goes up by one
with each of its group commits, and leaps when it starts again, so that a commit that its folder has lost is noticed.
WRITES, READS, REPAIRS (of copies that a read found old) and SHED (refused for too much load) count what it coordinated since
it started. STORE is on disk, PEERS says to how many of the others it is connected.

The second table says how replicas mend themselves. HINTS OWED are keys that a node keeps for one that missed them. DIFFERING
counts partitions that differed from a peer's when last compared. REPAIRED are bytes of records copied by these comparisons since
the node started. All is well when no hints are owed, nothing differs, and the last comparisons are seconds old and equal.`,
    )
    .action(async (_options: unknown, command: Command) => {
      const settings = settingsOf(command);
      const { nodes } = await reportNodes(settings);
      const format = settings.output ?? 'table';
      await printRows(format, STATUS_COLUMNS, nodes, nodeView);
      if (format === 'table') await writeData(`\n${renderTable(REPAIR_COLUMNS, nodes)}`);
      for (const node of nodes) {
        const { id, report, reason } = node;
        if (report?.reason) note(`${id} is ${report.state}: ${report.reason}`);
        for (const fault of report?.faults ?? []) note(`${id} has an injected fault: ${fault}`);
        for (const line of repairNotes(node)) note(line);
        if (report === undefined) note(`${id} cannot be reached: ${reason}`);
      }
      const failure = unreachableFailure(nodes);
      if (failure !== undefined) throw failure;
    });
}

/** Undefined when every node answered. */
export function unreachableFailure(nodes: readonly NodeReport[]): CommandFailure | undefined {
  const missing = nodes.filter(({ report }) => report === undefined).map(({ id }) => id);
  if (missing.length === 0) return undefined;
  return new CommandFailure(
    EXIT.unavailable,
    'UNAVAILABLE',
    `${missing.length} of ${nodes.length} nodes did not answer: ${missing.join(', ')}`,
    'Where the connection is refused, it does not run: start it. Where no answer comes, it is paused, overloaded or cut off from here.',
  );
}

/** A node in machine output: the status of the wire, with what is known from outside. */
function nodeView({ id, address, zone, report, roundTripMs, reason }: NodeReport) {
  if (report === undefined) return { id, address, zone, reachable: false, reason };
  const { nodeId: _, hlc: __, ...status } = report;
  return { id, address, zone, reachable: true, roundTripMs, ...status };
}

interface MemberShare {
  readonly node: string;
  readonly zone: string;
  /** Partitions of which it is a replica. */
  readonly partitions: number;
  /** Partitions whose preference list it heads. */
  readonly first: number;
}

function placementCommand(): Command {
  return new Command('placement')
    .description('how many partitions each node has, or which nodes have a key')
    .option('--key <key>', 'show the preference list of this key')
    .addOption(keyHexOption())
    .action(
      async (options: { readonly key?: string; readonly keyHex?: true }, command: Command) => {
        const settings = settingsOf(command);
        const format = settings.output ?? 'table';
        const { members, replicationFactor, placementVersion } = await describeCluster(settings);
        const placement = createPlacement(members, replicationFactor, placementVersion);
        if (options.key === undefined) {
          await printRows(format, SHARE_COLUMNS, sharesOf(placement), (share) => share);
          return;
        }
        const key = keyArgument(options.key, options.keyHex === true);
        const partition = partitionOf(hash32(key));
        const nodes = (placement.preference[partition] ?? []).map(
          (at) => placement.members[at]?.id ?? '',
        );
        await printFields(
          format,
          [
            ['key', bytesToDisplay(key)],
            ['partition', `${partition} of ${PARTITIONS}`],
            ['preference', nodes.join(', ')],
          ],
          { key: bytesToJson(key), partition, preference: nodes },
        );
      },
    );
}

const SHARE_COLUMNS: readonly Column<MemberShare>[] = [
  { title: 'NODE', cell: ({ node }) => node },
  { title: 'ZONE', cell: ({ zone }) => zone },
  { title: 'PARTITIONS', align: 'right', cell: ({ partitions }) => String(partitions) },
  { title: 'FIRST OF', align: 'right', cell: ({ first }) => String(first) },
];

export function sharesOf({ members, preference }: Placement): MemberShare[] {
  return members.map(({ id, zone }, at) => ({
    node: id,
    zone,
    partitions: preference.filter((list) => list.includes(at)).length,
    first: preference.filter(([best]) => best === at).length,
  }));
}

function stateOf({ report }: NodeReport): string {
  if (report === undefined) return 'unreachable';
  return report.faults.length > 0 ? `${report.state}, faults` : report.state;
}

function peersOf({ report }: NodeReport): string {
  if (report === undefined) return '-';
  const connected = report.peers.filter(({ state }) => state === 'connected').length;
  return `${connected}/${report.peers.length}`;
}

const counted = (count: number | undefined) => (count === undefined ? '-' : formatCount(count));
const sized = (bytes: number | undefined) => (bytes === undefined ? '-' : formatBytes(bytes));
const timed = (ms: number | undefined) => (ms === undefined ? '-' : formatMs(ms));
