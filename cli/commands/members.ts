import { Command } from 'commander';
import type { BeliefReport } from '../../src/wire/repair-reports.js';
import { formatDuration } from '../durations.js';
import { reportNodes, type NodeReport } from '../node-reports.js';
import { note, printRows, type Column } from '../output.js';
import { settingsOf } from '../settings.js';

/** Beyond this many members what all believe of one stands in one cell. */
const MAX_MATRIX = 9;

/** What every node believes of one member. */
export interface MemberRow {
  readonly id: string;
  readonly address: string;
  readonly zone: string;
  readonly believed: readonly Believed[];
}

interface Believed {
  /** The node that believes it. */
  readonly by: string;
  /** Undefined: that node did not answer, or has heard nothing of the member. */
  readonly belief: BeliefReport | undefined;
}

export function membersCommand(): Command {
  return new Command('members')
    .description('the member list, and what each node believes of each other')
    .addHelpText(
      'after',
      `
A column says what that node has found out by gossip: alive, suspect (it did not answer, and may yet) or dead, and for how long. Beliefs steer
who is asked first; they change neither the member list nor which node stores what. ? is a node that did not answer here.`,
    )
    .action(async (_options: unknown, command: Command) => {
      const settings = settingsOf(command);
      const { cluster, nodes } = await reportNodes(settings);
      const rows = memberRows(nodes);
      await printRows(settings.output ?? 'table', memberColumns(rows), rows, memberView);
      for (const line of memberNotes(nodes)) note(line);
      const { clusterName, clusterId, placementVersion, replicationFactor } = cluster;
      note(
        `cluster ${clusterName} (${clusterId}), placement ${placementVersion}, replication factor ${replicationFactor}`,
      );
    });
}

export function memberRows(nodes: readonly NodeReport[]): MemberRow[] {
  return nodes.map(({ id, address, zone }) => ({
    id,
    address,
    zone,
    believed: nodes
      .filter((other) => other.id !== id)
      .map(({ id: by, report }) => ({
        by,
        belief: report?.members.find(({ nodeId }) => nodeId === id),
      })),
  }));
}

export function memberColumns(rows: readonly MemberRow[]): Column<MemberRow>[] {
  const columns: Column<MemberRow>[] = [
    { title: 'NODE', cell: ({ id }) => id },
    { title: 'ADDRESS', cell: ({ address }) => address },
    { title: 'ZONE', cell: ({ zone }) => zone },
  ];
  if (rows.length > MAX_MATRIX) {
    return [...columns, { title: 'BELIEVED', cell: ({ believed }) => inSum(believed) }];
  }
  for (const { id } of rows) {
    const cell = ({ id: of, believed }: MemberRow) =>
      of === id ? '-' : beliefText(believed.find(({ by }) => by === id)?.belief);
    columns.push({ title: `BY ${id}`, cell });
  }
  return columns;
}

function beliefText(belief: BeliefReport | undefined): string {
  if (belief === undefined) return '?';
  return belief.status === 'alive' ? 'alive' : `${belief.status} ${formatDuration(belief.forMs)}`;
}

/** `alive by 97, dead by 2 (n5, n7)`: most agree, and who does not is named. */
function inSum(believed: readonly Believed[]): string {
  const byStatus = new Map<string, string[]>();
  for (const { by, belief } of believed) {
    const status = belief?.status ?? '?';
    byStatus.set(status, [...(byStatus.get(status) ?? []), by]);
  }
  return [...byStatus]
    .sort(([, a], [, b]) => b.length - a.length)
    .map(([status, by], at) => `${status} by ${by.length}${at === 0 ? '' : ` (${by.join(', ')})`}`)
    .join(', ');
}

/** Members that were re-addressed, and nodes that say nothing. */
function memberNotes(nodes: readonly NodeReport[]): string[] {
  const moved = new Map<string, string>();
  for (const { report } of nodes) {
    for (const { nodeId, address } of report?.members ?? []) {
      const listed = nodes.find(({ id }) => id === nodeId)?.address;
      if (listed !== undefined && address !== '' && address !== listed) moved.set(nodeId, address);
    }
  }
  return [
    ...[...moved].map(([id, address]) => `${id} has been seen at ${address}`),
    ...nodes
      .filter(({ report }) => report === undefined)
      .map(({ id, reason }) => `${id} cannot be reached: ${reason}`),
  ];
}

/** A member in machine output. Documented in cli/README.md. */
function memberView({ id, address, zone, believed }: MemberRow) {
  return {
    id,
    address,
    zone,
    believed: believed.map(({ by, belief }) => ({
      by,
      status: belief?.status ?? 'unknown',
      ...(belief !== undefined && {
        forMs: belief.forMs,
        generation: belief.generation,
        address: belief.address,
      }),
    })),
  };
}
