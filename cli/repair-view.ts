import type { HintsReport, RepairStatusReport, RoundReport } from '../src/wire/repair-reports.js';
import { formatBytes, formatCount, formatDuration } from './durations.js';
import type { NodeReport } from './node-reports.js';
import type { Column } from './output.js';

/** How the replicas of each node are being mended. */
export const REPAIR_COLUMNS: readonly Column<NodeReport>[] = [
  { title: 'NODE', cell: ({ id }) => id },
  { title: 'HINTS OWED', cell: ({ report }) => (report ? owedText(report.hints) : '-') },
  {
    title: 'DIFFERING',
    align: 'right',
    cell: ({ report }) => (report ? differingText(report.repair) : '-'),
  },
  {
    title: 'REPAIRED',
    align: 'right',
    cell: ({ report }) => (report ? formatBytes(report.repair.bytes) : '-'),
  },
  {
    title: 'LAST COMPARED',
    cell: ({ report }) => (report ? report.repair.rounds.map(roundText).join('; ') : '-'),
  },
];

/** What somebody should know who was woken by it: a sentence each, for nodes that are not simply well. */
export function repairNotes({ id, report }: NodeReport): string[] {
  if (report === undefined) return [];
  const notes: string[] = [];
  const { repair, hints } = report;
  if (!repair.treesReady) {
    notes.push(`${id} is rebuilding its hash trees; until that is done it is compared with nobody`);
  }
  if (repair.corruptKeys > 0) {
    const keys = count(repair.corruptKeys, 'key');
    notes.push(
      `${id} cannot read ${keys}: the checksums fail. Reads go to the other replicas, and it asks them for good copies`,
    );
  }
  for (const { target, keys } of hints.owed) {
    const isReached =
      report.peers.some(({ nodeId, state }) => nodeId === target && state === 'connected') &&
      report.members.some(({ nodeId, status }) => nodeId === target && status === 'alive');
    const owed = `${id} owes ${count(keys, 'key')} to ${target}`;
    notes.push(
      isReached
        ? `${owed}, and is delivering ${keys === 1 ? 'it' : 'them'}`
        : `${owed}, and delivers ${keys === 1 ? 'it' : 'them'} when it reaches ${target} again`,
    );
  }
  return notes;
}

export function owedText({ owed }: HintsReport): string {
  if (owed.length === 0) return 'none';
  return owed.map(({ target, keys }) => `${formatCount(keys)} to ${target}`).join(', ');
}

function differingText({ treesReady, partitionsDiffering }: RepairStatusReport): string {
  return treesReady ? formatCount(partitionsDiffering) : 'rebuilding';
}

/** `n2 equal 3 s ago`, `n2 mended 5 keys (1.2 KiB) 3 s ago`, `n2 never`. */
export function roundText({ peer, result, reason, agoMs, keys, bytes }: RoundReport): string {
  if (result === 'never') return `${peer} never`;
  const ago = `${formatDuration(agoMs)} ago`;
  if (result === 'equal') return `${peer} equal ${ago}`;
  if (result === 'mended') {
    return `${peer} mended ${count(keys, 'key')} (${formatBytes(bytes)}) ${ago}`;
  }
  return `${peer} incomplete ${ago}: ${withoutName(peer, reason)}`;
}

/** A reason that comes from a node begins with its name. */
export function withoutName(node: string, reason: string): string {
  return reason.startsWith(`${node}: `) ? reason.slice(node.length + 2) : reason;
}

function count(number: number, what: string): string {
  return number === 1 ? `1 ${what}` : `${formatCount(number)} ${what}s`;
}
