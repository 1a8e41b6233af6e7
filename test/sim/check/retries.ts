import { isWrite, type History } from '../history.js';
import type { Evidence, Violation } from './evidence.js';

const LAW = '(f) a retry never applies twice';

/** Law (f). However often and through whichever nodes a write was sent, it reached the disks under one version only. */
export function checkRetries(history: History, evidence: Evidence): Violation[] {
  const applied = new Set(evidence.stored.map(({ key, version }) => `${key}@${version}`));
  const violations: Violation[] = [];
  for (const entry of history) {
    if (!isWrite(entry)) continue;
    const versions = (entry.stamps ?? []).filter((stamp) => applied.has(`${entry.key}@${stamp}`));
    if (versions.length > 1) {
      const problem = `applied under ${versions.length} versions: ${versions.join(' and ')}`;
      violations.push({ law: LAW, key: entry.key, problem, entries: [entry] });
    }
  }
  return violations;
}
