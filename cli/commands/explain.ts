import { Command } from 'commander';
import { formatVersion } from '../../src/core/version.js';
import type { ExplainedReplica, ExplainReport } from '../../src/wire/reports.js';
import { bytesToDisplay, bytesToJson } from '../byte-text.js';
import { isoTime, writtenAt } from '../entry-view.js';
import { EXIT } from '../exit-code.js';
import { CommandFailure } from '../failure.js';
import { askAnyNode } from '../node-reports.js';
import { jsonText, renderTable, writeData, type Column } from '../output.js';
import { keyArgument, keyHexOption, settingsOf } from '../settings.js';

export function explainCommand(): Command {
  return new Command('explain')
    .description("show every replica's copy of a key, and why the winner wins")
    .argument('<key>', 'key as text')
    .addOption(keyHexOption())
    .addHelpText(
      'after',
      `
Reads the copies as they are and repairs nothing. Exit code 8 says that the replicas that answered differ, 5 that one did
not answer.

Example:
  kvctl explain user/42`,
    )
    .action(async (keyText: string, options: { readonly keyHex?: true }, command: Command) => {
      const settings = settingsOf(command);
      const key = keyArgument(keyText, options.keyHex === true);
      const report = await askAnyNode(settings, (node) => node.explain(key));
      const format = settings.output ?? 'table';
      const winners = winnersOf(report);
      if (format === 'json' || format === 'jsonl') {
        await writeData(jsonText(format, viewOf(key, report)));
      } else if (format === 'raw') {
        await writeData(renderTable(columns(winners), report.replicas).replace(/^.*\n/, ''));
      } else {
        await writeData(
          `${bytesToDisplay(key)}  partition ${report.partition}\n\n${renderTable(columns(winners), report.replicas)}\n${bytesToDisplay(Buffer.from(report.why))}\n`,
        );
      }
      const verdict = judge(report);
      if (verdict !== undefined) throw verdict;
    });
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
  const silent = report.replicas.length - answered.length;
  if (silent === 0) return undefined;
  return new CommandFailure(
    EXIT.unavailable,
    'UNAVAILABLE',
    `${silent} of ${report.replicas.length} replicas did not answer`,
    'See `kvctl cluster status`.',
  );
}

/** Two replicas with the same text hold the same. */
function copyOf({ result, version, digest }: ExplainedReplica): string {
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

function holds({ result, tombstone, expiresAtMs, expired, reason }: ExplainedReplica): string {
  if (reason !== '') return `${result}: ${reason}`;
  if (tombstone) return 'tombstone';
  if (expiresAtMs === undefined) return result;
  return `${result}, ${expired ? 'expired' : 'expires'} ${isoTime(expiresAtMs)}`;
}

function sizeOf({ result, tombstone, valueBytes }: ExplainedReplica): string {
  return result === 'found' && !tombstone ? `${valueBytes} B` : '-';
}

function winnersOf(report: ExplainReport): string[] {
  return report.winner.split(',').map((id) => id.trim());
}

function viewOf(key: Uint8Array, report: ExplainReport) {
  const winners = winnersOf(report);
  return {
    key: bytesToJson(key),
    partition: report.partition,
    winners: winners.filter((id) => id !== ''),
    why: report.why,
    replicas: report.replicas.map((replica) => ({
      node: replica.node,
      result: replica.result,
      ...(replica.version !== undefined && {
        version: formatVersion(replica.version),
        writtenAt: writtenAt(replica.version),
      }),
      ...(replica.result === 'found' && {
        digest: replica.digest,
        recordBytes: replica.recordBytes,
        valueBytes: replica.valueBytes,
        tombstone: replica.tombstone,
      }),
      ...(replica.expiresAtMs !== undefined && {
        expiresAt: isoTime(replica.expiresAtMs),
        expired: replica.expired,
      }),
      ...(replica.reason !== '' && { reason: replica.reason }),
    })),
  };
}
