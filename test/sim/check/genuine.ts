import { isWrite, observationsOf, type History, type HistoryEntry } from '../history.js';
import { isGivenUp, type Evidence, type Violation } from './evidence.js';

const LAW = '(c) nothing is read that was never written';

/**
 * Law (c). What is read under a version is what a write sent under that version, and not before it began. The same holds for
 * every record that reached a disk, and a scan finds nothing outside its range.
 */
export function checkGenuine(history: History, evidence: Evidence): Violation[] {
  const writes = new Map<string, HistoryEntry>();
  for (const entry of history) {
    if (!isWrite(entry)) continue;
    for (const stamp of entry.stamps ?? []) writes.set(`${entry.key}@${stamp}`, entry);
  }
  const violations: Violation[] = [];
  for (const { entry, key, version, value } of observationsOf(history, evidence.keys)) {
    if (version === undefined || version === '') {
      if (value !== undefined) {
        violations.push(violation(key, `read value ${value} without a version`, [entry]));
      }
      continue;
    }
    const write = writes.get(`${key}@${version}`);
    if (write === undefined) {
      violations.push(violation(key, `read version ${version}, which nobody wrote`, [entry]));
    } else if (write.call > entry.return) {
      violations.push(violation(key, 'read before it was written', [write, entry]));
    } else if (value === undefined && write.ttlMs !== undefined) {
      // It may have expired; law (i) says whether.
      continue;
    } else if (write.value !== value) {
      const problem = `read ${value ?? 'a tombstone'} where ${write.value ?? 'a tombstone'} was written`;
      violations.push(violation(key, problem, [write, entry]));
    }
  }
  const keys = new Set(evidence.keys);
  for (const entry of history) {
    const { gte = '', lt = '' } = entry.range ?? {};
    for (const { key } of entry.found ?? []) {
      if (keys.has(key) && key >= gte && (lt === '' || key < lt)) continue;
      violations.push(violation(key, 'found by a scan of another range', [entry]));
    }
  }
  for (const record of evidence.stored) {
    const write = writes.get(`${record.key}@${record.version}`);
    if (write !== undefined && isGivenUp(record, evidence)) continue;
    if (write === undefined || write.value !== record.value) {
      const problem = `${record.node} stored ${record.value ?? 'a tombstone'} as ${record.version}, which nobody wrote so`;
      violations.push(violation(record.key, problem, write === undefined ? [] : [write]));
    }
  }
  return violations;
}

function violation(key: string, problem: string, entries: readonly HistoryEntry[]): Violation {
  return { law: LAW, key, problem, entries };
}
