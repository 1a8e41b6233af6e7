import { isWrite, type History } from '../history.js';
import { laterOf, type Evidence, type Violation } from './evidence.js';
import { shareOf } from './levels.js';

const LAW = '(a) no acknowledged write is lost';

/**
 * Law (a). When a write is acknowledged, as many replicas as its level asks for have it on disk, or something newer; and in
 * the end it is there, or something newer is, or was until its tombstone could go. One copy of a key may have been damaged by
 * its disk, so of such a key only writes that were on more than one replica must be there; and where disks were lost, only
 * those that a majority had.
 */
export function checkAcknowledged(history: History, evidence: Evidence): Violation[] {
  const violations: Violation[] = [];
  for (const entry of history) {
    if (!isWrite(entry) || entry.status !== 'ok') continue;
    const { key, version = '' } = entry;
    const replicas = evidence.replicasOf(key);
    const share = shareOf(entry.level, entry.zone, replicas);
    if (entry.holders !== undefined && entry.holders < share.count) {
      const problem = `acknowledged at ${entry.level} with ${share.count} replicas needed, and on the disk of ${entry.holders}`;
      violations.push({ law: LAW, key, problem, entries: [entry] });
    }
    if (evidence.forgot && share.count <= replicas.length >> 1) continue;
    if (evidence.everDamaged.has(key) && share.count < 2) continue;
    const newest = newestCopy(key, evidence);
    if (newest < version) {
      const problem = `acknowledged with version ${version}, and in the end the newest copy is ${newest || 'none'}`;
      violations.push({ law: LAW, key, problem, entries: [entry] });
    }
  }
  return violations;
}

function newestCopy(key: string, evidence: Evidence): string {
  let newest = evidence.dropped.get(key) ?? '';
  for (const copies of evidence.copies.values()) {
    newest = laterOf(newest, copies.get(key)?.version ?? '');
  }
  return newest;
}
