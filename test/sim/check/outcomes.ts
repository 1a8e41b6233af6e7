import { isWrite, type History } from '../history.js';
import type { Evidence, Violation } from './evidence.js';

const LAW = '(g) what failed with outcome none never took effect';

/** Law (g). Nothing of a write that was answered `none` ever reached a disk, before the answer or after. */
export function checkOutcomes(history: History, evidence: Evidence): Violation[] {
  const applied = new Map(evidence.stored.map((one) => [`${one.key}@${one.version}`, one]));
  const violations: Violation[] = [];
  for (const entry of history) {
    if (!isWrite(entry) || entry.status !== 'fail') continue;
    for (const stamp of entry.stamps ?? []) {
      const record = applied.get(`${entry.key}@${stamp}`);
      if (record === undefined) continue;
      const problem = `answered none, and ${record.node} stored it as ${stamp}`;
      violations.push({ law: LAW, key: entry.key, problem, entries: [entry] });
    }
  }
  return violations;
}
