import { Command } from 'commander';
import { KvError } from '../../src/core/errors.js';
import { formatVersion, type Version } from '../../src/core/version.js';
import type { LocalKeyReport } from '../../src/wire/repair-reports.js';
import type { ExplainedReplica } from '../../src/wire/replica-report.js';
import type { ExplainReport } from '../../src/wire/reports.js';
import { bytesToDisplay, bytesToJson } from '../byte-text.js';
import { isoTime, writtenAt } from '../entry-view.js';
import { EXIT } from '../exit-code.js';
import { CommandFailure } from '../failure.js';
import { askForMost, describeCluster, withNode } from '../node-reports.js';
import { jsonText, renderTable, writeData, type Column } from '../output.js';
import { roundText } from '../repair-view.js';
import { copyView } from '../replica-copies.js';
import { keyArgument, keyHexOption, settingsOf, type Settings } from '../settings.js';

export function explainCommand(): Command {
  return new Command('explain')
    .description("show every replica's copy of a key, and why the winner wins")
    .argument('<key>', 'key as text')
    .addOption(keyHexOption())
    .addHelpText(
      'after',
      `
Reads the copies as they are and repairs nothing. The second table has what each replica knows beside its copy: to whom it owes
the key (hints), the fences of its partition, and the last comparison with the others. A tombstone at or below the fence
that a node has committed is gone there, and that is no difference. Exit code 8 says that the replicas that answered differ, 5 that one did
not answer.

Example:
  kvctl explain user/42`,
    )
    .action(async (keyText: string, options: { readonly keyHex?: true }, command: Command) => {
      const settings = settingsOf(command);
      const key = keyArgument(keyText, options.keyHex === true);
      const report = await askForMost(settings, (node) => node.explain(key), silentReplicas);
      const asides = await asidesOf(key, report, settings);
      const format = settings.output ?? 'table';
      const winners = winnersOf(report);
      if (format === 'json' || format === 'jsonl') {
        await writeData(jsonText(format, viewOf(key, report, asides)));
      } else if (format === 'raw') {
        await writeData(renderTable(columns(winners), report.replicas).replace(/^.*\n/, ''));
      } else {
        await writeData(
          `${bytesToDisplay(key)}  partition ${report.partition}\n\n${renderTable(columns(winners), report.replicas)}\n` +
            `${bytesToDisplay(Buffer.from(report.why))}\n\n${renderTable(ASIDE_COLUMNS, asides)}`,
        );
      }
      const verdict = judge(report);
      if (verdict !== undefined) throw verdict;
    });
}

/** What a node knows of the key beside its record, or why it says nothing. */
interface Aside {
  readonly node: string;
  readonly local: LocalKeyReport | undefined;
  /** Why there is nothing; else empty. */
  readonly reason: string;
}

async function asidesOf(
  key: Uint8Array,
  { replicas }: ExplainReport,
  settings: Settings,
): Promise<Aside[]> {
  const { members } = await describeCluster(settings);
  return Promise.all(
    replicas.map(async ({ node }): Promise<Aside> => {
      const address = members.find(({ id }) => id === node)?.address ?? '';
      try {
        const local = await withNode(address, { timeoutMs: settings.statusTimeoutMs }, (client) =>
          client.explainLocal(key),
        );
        return { node, local, reason: '' };
      } catch (error) {
        if (!(error instanceof KvError)) throw error;
        return { node, local: undefined, reason: error.message };
      }
    }),
  );
}

const ASIDE_COLUMNS: readonly Column<Aside>[] = [
  { title: 'NODE', cell: ({ node }) => node },
  {
    title: 'OWES IT TO',
    cell: ({ local }) => (local ? local.hintsOwed.join(', ') || 'nobody' : '-'),
  },
  { title: 'FENCE PROMISED', cell: ({ local }) => fenceText(local?.promised) },
  { title: 'COMMITTED', cell: ({ local }) => fenceText(local?.committed) },
  {
    title: 'LAST COMPARED',
    cell: ({ local, reason }) => (local ? local.rounds.map(roundText).join('; ') : reason),
  },
];

function fenceText(fence: Version | undefined): string {
  return fence === undefined ? '-' : writtenAt(fence);
}

function asideView({ node, local, reason }: Aside) {
  if (local === undefined) return { node, reachable: false, reason };
  const { hintsOwed, promised, committed, rounds } = local;
  return {
    node,
    reachable: true,
    hintsOwed,
    ...(promised !== undefined && { fencePromised: formatVersion(promised) }),
    ...(committed !== undefined && { fenceCommitted: formatVersion(committed) }),
    lastCompared: rounds,
  };
}

/** Undefined when all replicas answered and hold the same. */
export function judge(report: ExplainReport): CommandFailure | undefined {
  const answered = report.replicas.filter(
    ({ result }) => result === 'found' || result === 'absent',
  );
  const copies = new Set(answered.map((replica) => copyOf(replica)));
  if (copies.size > 1) {
    return new CommandFailure(
      EXIT.differs,
      'DIFFERS',
      `${copies.size} different copies on ${answered.length} replicas`,
      'A read of the key at ALL brings every replica up to the winner.',
    );
  }
  const silent = silentReplicas(report);
  if (silent === 0) return undefined;
  return new CommandFailure(
    EXIT.unavailable,
    'UNAVAILABLE',
    `${silent} of ${report.replicas.length} replicas did not answer`,
    'See `kvctl cluster status`.',
  );
}

/** Those that did not say what they hold. */
function silentReplicas({ replicas }: ExplainReport): number {
  return replicas.filter(({ result }) => result !== 'found' && result !== 'absent').length;
}

/** Two replicas with the same text hold the same. */
function copyOf({ result, version, digest, hidden }: ExplainedReplica): string {
  if (hidden) return 'absent';
  return result === 'found' && version !== undefined
    ? `${formatVersion(version)} ${digest}`
    : result;
}

function columns(winners: readonly string[]): readonly Column<ExplainedReplica>[] {
  return [
    { title: 'REPLICA', cell: ({ node }) => node },
    { title: 'WINS', cell: ({ node }) => (winners.includes(node) ? 'yes' : '') },
    { title: 'HOLDS', cell: (replica) => holds(replica) },
    { title: 'VERSION', cell: ({ version }) => (version ? formatVersion(version) : '-') },
    { title: 'WRITTEN AT', cell: ({ version }) => (version ? writtenAt(version) : '-') },
    { title: 'DIGEST', cell: ({ digest }) => digest || '-' },
    { title: 'VALUE', align: 'right', cell: (replica) => sizeOf(replica) },
    {
      title: 'RECORD',
      align: 'right',
      cell: ({ result, recordBytes }) => (result === 'found' ? `${recordBytes} B` : '-'),
    },
  ];
}

function holds(replica: ExplainedReplica): string {
  const { result, tombstone, expiresAtMs, expired, hidden, reason } = replica;
  if (reason !== '') return `${result}: ${reason}`;
  if (tombstone) return hidden ? 'tombstone, to be dropped' : 'tombstone';
  if (expiresAtMs === undefined) return result;
  return `${result}, ${expired ? 'expired' : 'expires'} ${isoTime(expiresAtMs)}`;
}

function sizeOf({ result, tombstone, valueBytes }: ExplainedReplica): string {
  return result === 'found' && !tombstone ? `${valueBytes} B` : '-';
}

function winnersOf(report: ExplainReport): string[] {
  return report.winner.split(',').map((id) => id.trim());
}

function viewOf(key: Uint8Array, report: ExplainReport, asides: readonly Aside[]) {
  const winners = winnersOf(report);
  return {
    key: bytesToJson(key),
    partition: report.partition,
    winners: winners.filter((id) => id !== ''),
    why: report.why,
    replicas: report.replicas.map(copyView),
    nodes: asides.map(asideView),
  };
}
