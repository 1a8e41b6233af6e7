import { isUndecided } from '../sim/check/linearizable.js';
import { describeEntry, type HistoryEntry } from '../sim/history.js';
import type { ChaosResult } from './chaos.js';

const LAWS = '(a) (b) (c) (d) (e) (f) (g) (h)';
const STORIES = 5;
const STORY_ENTRIES = 8;
const STATUSES = ['ok', 'fail', 'unknown'] as const;

/** Whether everything was as it has to be. */
export function isClean({ violations, problems }: ChaosResult): boolean {
  return violations.length === 0 && problems.length === 0;
}

/** What happened, in numbers. */
export function describeRun(result: ChaosResult): string {
  const { history, faults, violations, problems, elapsedMs, judgedMs } = result;
  const undecided = violations.filter(isUndecided).length;
  const injected = [...faults].map(([name, count]) => `${name} ${count}`).join(', ');
  const rows: readonly (readonly [string, string])[] = [
    ['operations', `${history.length} in ${(elapsedMs / 1_000).toFixed(1)} s`],
    ...countsByKind(history),
    ['retried writes', `${history.filter(({ attempts = 0 }) => attempts > 1).length}`],
    ['faults', injected],
    ['keys', `${new Set(history.map(({ key }) => key)).size}`],
    ['laws', `${LAWS}, judged in ${(judgedMs / 1_000).toFixed(1)} s`],
    ['illegal', `${violations.length - undecided}`],
    ['undecided', `${undecided}`],
    ['problems', `${problems.length}`],
  ];
  return rows.map(([name, value]) => `${name.padEnd(26)}${value}`).join('\n');
}

function countsByKind(history: readonly HistoryEntry[]): [string, string][] {
  const counts = new Map<string, Map<HistoryEntry['status'], number>>();
  for (const { op, level, status } of history) {
    const kind = `  ${op} ${level}`;
    let row = counts.get(kind);
    if (row === undefined) counts.set(kind, (row = new Map()));
    row.set(status, (row.get(status) ?? 0) + 1);
  }
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([kind, row]) => [
      kind,
      STATUSES.map((status) => `${row.get(status) ?? 0} ${status}`).join(', '),
    ]);
}

/** What was not as it has to be, for people. Empty: nothing. */
export function describeFailures({ violations, problems }: ChaosResult): string {
  const told = violations
    .slice(0, STORIES)
    .map(({ law, key, problem, entries }) =>
      [
        `${law}: ${key}: ${problem}`,
        ...entries.slice(0, STORY_ENTRIES).map((entry) => `    ${describeEntry(entry)}`),
      ].join('\n'),
    );
  const untold = violations.length - told.length;
  if (untold > 0) told.push(`and ${untold} more`);
  return [...problems, ...told].join('\n');
}
