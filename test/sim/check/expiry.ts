import { parseVersion, type Version } from '../../../src/core/version.js';
import { isWrite, observationsOf, type History, type HistoryEntry } from '../history.js';
import { isGivenUp, type Evidence, type Violation } from './evidence.js';

const LAW = '(i) what has expired is never served, and what has not is';

/** When the write under that stamp expires, wall ms; infinity: never. */
export function expiryOf(write: HistoryEntry, stamp: string): number {
  const { ttlMs } = write;
  return ttlMs === undefined ? Infinity : (parseVersion(stamp) as Version).wallMs + ttlMs;
}

/** Whether some node could take the moment for reached before the operation had ended. */
export function mayHaveExpired(expiresAtMs: number, read: HistoryEntry, seen: Evidence): boolean {
  return seen.startWallMs + read.returnMs + seen.clockErrorMs >= expiresAtMs;
}

/** Whether every node took the moment for reached before the operation began. */
function mustHaveExpired(expiresAtMs: number, read: HistoryEntry, seen: Evidence): boolean {
  return seen.startWallMs + read.callMs - seen.clockErrorMs >= expiresAtMs;
}

/**
 * Law (i). A read is judged by the clock of the node that coordinates it, and clocks are off by so much at the most: a value
 * is not read by anything that began later than that after its expiry, and a tombstone is not read in its place by anything
 * that ended earlier than that before it. On disk it expires as long after its stamp as was asked, whichever attempt brought it.
 */
export function checkExpiry(history: History, evidence: Evidence): Violation[] {
  const writes = new Map<string, HistoryEntry>();
  for (const entry of history) {
    if (!isWrite(entry)) continue;
    for (const stamp of entry.stamps ?? []) writes.set(`${entry.key}@${stamp}`, entry);
  }
  const violations: Violation[] = [];
  for (const { entry, key, version = '', value } of observationsOf(history, evidence.keys)) {
    const write = writes.get(`${key}@${version}`);
    if (write?.ttlMs === undefined) continue;
    const expiresAtMs = expiryOf(write, version);
    const atMs = (expiresAtMs - evidence.startWallMs).toFixed(1);
    let problem: string | undefined;
    if (value !== undefined && mustHaveExpired(expiresAtMs, entry, evidence)) {
      problem = `read ${value}, which expired at ${atMs} ms`;
    } else if (value === undefined && !mayHaveExpired(expiresAtMs, entry, evidence)) {
      problem = `read a tombstone, though ${write.value ?? ''} expires at ${atMs} ms`;
    }
    if (problem !== undefined) violations.push({ law: LAW, key, problem, entries: [write, entry] });
  }
  for (const record of evidence.stored) {
    const { node, key, version, expiresAtMs = Infinity } = record;
    const write = writes.get(`${key}@${version}`);
    if (isGivenUp(record, evidence)) continue;
    if (write === undefined || expiryOf(write, version) === expiresAtMs) continue;
    const problem = `${node} stored ${version} to expire at ${expiresAtMs}, not at ${expiryOf(write, version)}`;
    violations.push({ law: LAW, key, problem, entries: [write] });
  }
  return violations;
}
