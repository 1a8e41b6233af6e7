import { Command, InvalidArgumentError } from 'commander';
import { PARTITIONS } from '../../src/core/placement.js';
import type { DifferenceReport, VerifySummaryReport } from '../../src/wire/repair-reports.js';
import { bytesToJson } from '../byte-text.js';
import { formatCount, formatDuration } from '../durations.js';
import { EXIT } from '../exit-code.js';
import { CommandFailure } from '../failure.js';
import { bestConnected, withNode } from '../node-reports.js';
import { jsonText, renderTable, writeData } from '../output.js';
import { startProgress } from '../progress.js';
import { withoutName } from '../repair-view.js';
import { copyRows, COPY_COLUMNS, copyView } from '../replica-copies.js';
import { settingsOf } from '../settings.js';

const DEFAULT_LISTED = 100;
const MAX_LISTED = 10_000;

/** What a verification has found. */
export interface Verification {
  readonly summary: VerifySummaryReport;
  /** In the order in which they were found, as many as were asked for. */
  readonly differences: readonly DifferenceReport[];
}

export function verifyCommand(): Command {
  return new Command('verify')
    .description('compare all replicas of all keys, and say where they differ')
    .option(
      '--limit <n>',
      `how many keys that differ are shown, up to ${formatCount(MAX_LISTED)}; all are counted`,
      listedArgument,
      DEFAULT_LISTED,
    )
    .addHelpText(
      'after',
      `
Mends nothing. What differs is looked at twice, so that writes under way do not count. Exit code 0 says that every replica
of every key holds the same, 8 that some differ, 5 that a node could not be compared and the others agree.

Replicas that differ mend themselves within seconds of hearing each other; \`kvctl repair\` does it now.

Examples:
  kvctl verify
  kvctl verify -o json | jq '.differences[].key'`,
    )
    .action(async ({ limit }: { readonly limit: number }, command: Command) => {
      const settings = settingsOf(command);
      const endpoint = await bestConnected(settings);
      const progress = startProgress({ verb: 'compared', items: 'partitions', total: PARTITIONS });
      const differences: DifferenceReport[] = [];
      let found: Verification;
      try {
        const summary = await withNode(endpoint, settings, (node) =>
          node.verify({
            limit,
            onProgress: ({ done }) => progress.update(done, done),
            onDifference: (difference) => differences.push(difference),
          }),
        );
        found = { summary, differences };
      } finally {
        progress.stop();
      }
      switch (settings.output ?? 'table') {
        case 'json':
          await writeData(jsonText('json', verificationView(found)));
          break;
        case 'jsonl': {
          const { differences: views, ...summary } = verificationView(found);
          const lines = [...views.map((difference) => ({ difference })), { summary }];
          await writeData(lines.map((line) => jsonText('jsonl', line)).join(''));
          break;
        }
        case 'raw':
          await writeData(rowsText(found).replace(/^.*\n/, ''));
          break;
        case 'table':
          if (differences.length > 0) await writeData(`${rowsText(found)}\n`);
          await writeData(`${summaryLines(found).join('\n')}\n`);
      }
      const verdict = verdictOn(found);
      if (verdict !== undefined) throw verdict;
    });
}

/** What there is to say at the end, for people. */
export function summaryLines({ summary, differences }: Verification): string[] {
  const { partitions, compared, differing, differingPartitions, uncompared, durationMs } = summary;
  const took = formatDuration(durationMs);
  const missing = uncompared.map(
    ({ node, reason }) => `${node} was not compared: ${withoutName(node, reason)}`,
  );
  if (differing === 0) {
    return compared === partitions
      ? [`All replicas of all keys hold the same. Looked through in ${took}.`]
      : [
          `No difference was found, but in ${partitions - compared} of ${partitions} partitions not all replicas could be compared.` +
            ` Looked through in ${took}.`,
          ...missing,
        ];
  }
  const unlisted = differing - differences.length;
  return [
    `${keys(differing)} in ${differingPartitions} of ${partitions} partitions ${differing === 1 ? 'differs' : 'differ'}.` +
      (unlisted > 0 ? ` ${formatCount(unlisted)} of them not shown: --limit.` : '') +
      ` Looked through in ${took}.`,
    ...missing,
  ];
}

/** Undefined when every replica of every key was compared, and all are equal. */
export function verdictOn({ summary }: Verification): CommandFailure | undefined {
  const { differing, compared, partitions } = summary;
  if (differing > 0) {
    return new CommandFailure(
      EXIT.differs,
      'DIFFERS',
      `replicas differ on ${keys(differing)}`,
      'They mend themselves as soon as they hear each other; `kvctl repair` does it now, `kvctl cluster status` says what holds it up.',
    );
  }
  if (compared === partitions) return undefined;
  return new CommandFailure(
    EXIT.unavailable,
    'UNAVAILABLE',
    `${summary.uncompared.map(({ node }) => node).join(', ')} could not be compared`,
    'A node that is down, paused or cut off from the others; `kvctl cluster status` says more. What differs there is mended when it is heard again.',
  );
}

/** A verification in machine output. Documented in cli/README.md. */
export function verificationView({ summary, differences }: Verification) {
  const { partitions, compared, differing, differingPartitions, uncompared, durationMs } = summary;
  return {
    equal: differing === 0 && compared === partitions,
    partitions,
    compared,
    differingPartitions,
    differingKeys: differing,
    durationMs,
    uncompared: uncompared.map(({ node, reason }) => ({ node, reason })),
    differences: differences.map(({ partition, key, replicas }) => ({
      partition,
      key: bytesToJson(key),
      replicas: replicas.map(copyView),
    })),
  };
}

function rowsText({ differences }: Verification): string {
  return renderTable(COPY_COLUMNS, differences.flatMap(copyRows));
}

function keys(count: number): string {
  return count === 1 ? '1 key' : `${formatCount(count)} keys`;
}

function listedArgument(text: string): number {
  const limit = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= MAX_LISTED) return limit;
  throw new InvalidArgumentError(`It must be a whole number from 1 to ${MAX_LISTED}.`);
}
