import { isWrite, observationsOf, type History, type HistoryEntry } from '../history.js';
import type { Evidence, Violation } from './evidence.js';

const LAW = '(e) no version is issued twice, and every clock is monotone';

/**
 * Law (e). No two writes were sent under the same version, whoever stamped them. What a node stamps grows, across restarts
 * too, for as long as it keeps its disk: that has the bound of its clock, and stamps of a later life have a writer of their own. An SDK stamps above all that it had read or written when the write began.
 */
export function checkVersions(history: History, evidence: Evidence): Violation[] {
  const violations: Violation[] = [];
  const issued = new Map<string, HistoryEntry>();
  for (const entry of history) {
    if (!isWrite(entry)) continue;
    for (const stamp of entry.stamps ?? []) {
      const other = issued.get(stamp);
      if (other !== undefined) {
        const problem = `version ${stamp} was given to two writes`;
        violations.push({ law: LAW, key: entry.key, problem, entries: [other, entry] });
      }
      issued.set(stamp, entry);
    }
  }
  const latest = new Map<string, string>();
  for (const { node, disk, version } of evidence.nodeStamps) {
    const clock = `${node} on disk ${disk}`;
    const before = latest.get(clock) ?? '';
    if (version <= before) {
      const problem = `${node} stamped ${version} after ${before}`;
      violations.push({ law: LAW, key: '', problem, entries: [] });
    }
    latest.set(clock, version);
  }
  // Beyond drift a client cannot follow what it reads: no node would take what it then stamped.
  if (evidence.clocksSane) violations.push(...checkCauses(history, evidence));
  return violations;
}

function isStampedWrite(entry: HistoryEntry): boolean {
  return isWrite(entry) && entry.foreignStamp !== true;
}

/** Each client in the order of time: what it stamps is above what it knew. */
function checkCauses(history: History, evidence: Evidence): Violation[] {
  const seen = [
    ...observationsOf(history, evidence.keys).map(({ entry, version }) => ({ entry, version })),
    ...history
      .filter((entry) => isStampedWrite(entry) && entry.status === 'ok')
      .map((entry) => ({ entry, version: entry.version })),
  ].sort((a, b) => a.entry.return - b.entry.return);
  const writes = history
    .filter((entry) => isStampedWrite(entry) && (entry.stamps?.length ?? 0) > 0)
    .sort((a, b) => a.call - b.call);
  const known = new Map<string, { readonly version: string; readonly entry: HistoryEntry }>();
  const violations: Violation[] = [];
  let at = 0;
  for (const write of writes) {
    for (; at < seen.length; at++) {
      const { entry, version = '' } = seen[at] as (typeof seen)[number];
      if (entry.return > write.call) break;
      if (version > (known.get(entry.process)?.version ?? '')) {
        known.set(entry.process, { version, entry });
      }
    }
    const cause = known.get(write.process);
    const lowest = (write.stamps ?? []).reduce((a, b) => (a < b ? a : b));
    if (cause !== undefined && lowest <= cause.version) {
      const problem = `stamped ${lowest}, though its client knew ${cause.version} before`;
      violations.push({ law: LAW, key: write.key, problem, entries: [cause.entry, write] });
    }
  }
  return violations;
}
