import type { Consistency } from '../../../src/core/consistency.js';
import { isWrite, observationsOf, type History, type HistoryEntry } from '../history.js';
import type { Evidence, Violation } from './evidence.js';
import { expiryOf, mayHaveExpired } from './expiry.js';
import { overlap, shareOf, type Share } from './levels.js';

const LAW = '(b) reads are fresh and never go backwards';

/** Something that a key was known to hold from a moment on, and on how many replicas at least. */
interface Known {
  readonly share: Share;
  readonly version: string;
  readonly entry: HistoryEntry;
}

/** What explains that nothing is found: a tombstone, or a value that expires, with the beginning of its write. */
interface Deletion {
  readonly call: number;
  readonly stamp: string;
  /** Wall ms; of a tombstone 0. */
  readonly fromMs: number;
}

interface Reading {
  readonly entry: HistoryEntry;
  readonly share: Share;
  readonly version: string | undefined;
}

/**
 * Law (b). An acknowledged write is on as many replicas as its level asks for, and so is what a read answered, because a read
 * first brings it there. A later read that must share a replica with them, by the arithmetic of the two levels, finds
 * that version or a newer one. For QUORUM this is the promise that a read sees every write acknowledged before it began, and
 * that successive reads never go backwards; for a write at ALL it holds for reads at any level.
 *
 * `countAs` reads one level as another: a world that is run at ONE and judged as QUORUM must be found wanting.
 */
export function checkFreshness(
  history: History,
  evidence: Evidence,
  countAs: (level: Consistency) => Consistency = (level) => level,
): Violation[] {
  const shares = (entry: HistoryEntry, key: string) =>
    shareOf(countAs(entry.level), entry.zone, evidence.replicasOf(key));
  const known = new Map<string, Known[]>();
  const readings = new Map<string, Reading[]>();
  const deletions = deletionsByKey(history, evidence);
  for (const entry of history) {
    if (!isWrite(entry) || entry.status !== 'ok') continue;
    const { key, version = '' } = entry;
    listOf(known, key).push({ share: shares(entry, key), version, entry });
  }
  for (const { entry, key, version } of observationsOf(history, evidence.keys)) {
    const share = shares(entry, key);
    listOf(readings, key).push({ entry, share, version });
    if (version !== undefined) listOf(known, key).push({ share, version, entry });
  }
  const violations: Violation[] = [];
  for (const [key, reads] of readings) {
    violations.push(
      ...checkKey(key, known.get(key) ?? [], reads, evidence, deletions.get(key) ?? []),
    );
  }
  return violations;
}

/** Walks through one key in the order of time, keeping for every kind of share the newest version known. */
function checkKey(
  key: string,
  known: readonly Known[],
  readings: readonly Reading[],
  evidence: Evidence,
  deletions: readonly Deletion[],
): Violation[] {
  const all = evidence.replicasOf(key).length;
  const learned = known.toSorted((a, b) => a.entry.return - b.entry.return);
  const reads = readings.toSorted((a, b) => a.entry.call - b.entry.call);
  const newest = new Map<string, Known>();
  const violations: Violation[] = [];
  // A lost disk is refilled, and a damaged record mended, with what a majority had.
  const isLossy = evidence.forgot || evidence.everDamaged.has(key);
  const isKept = (one: Known) => !isLossy || one.share.count > all >> 1;
  let at = 0;
  for (const read of reads) {
    for (; at < learned.length; at++) {
      const next = learned[at] as Known;
      if (next.entry.return > read.entry.call) break;
      if (!isKept(next)) continue;
      const kind = `${next.share.zone}/${next.share.count}`;
      if (next.version > (newest.get(kind)?.version ?? '')) newest.set(kind, next);
    }
    let floor: Known | undefined;
    for (const one of newest.values()) {
      if (!overlap(one.share, read.share, all)) continue;
      if (one.version > (floor?.version ?? '')) floor = one;
    }
    if (floor === undefined || satisfies({ ...read, key }, floor.version, deletions, evidence))
      continue;
    const problem = `read ${read.version ?? 'nothing'}, though ${floor.version} was known before it began`;
    violations.push({ law: LAW, key, problem, entries: [floor.entry, read.entry] });
  }
  for (const { entry } of readings) {
    const { minVersion, version } = entry;
    if (minVersion === undefined || version === undefined) continue;
    // Nothing at all is as new as the newest tombstone that it may have been.
    const least = version === '' ? (evidence.dropped.get(key) ?? '') : version;
    if (least < minVersion) {
      const problem = `read ${version || 'nothing'}, though not less than ${minVersion} was asked for`;
      violations.push({ law: LAW, key, problem, entries: [entry] });
    }
  }
  return violations;
}

/**
 * Who finds nothing has found a tombstone whose version is not told, or one that is gone by now: some deletion must explain
 * it, and of a get, which would tell the tombstone, one that some node has dropped.
 */
function satisfies(
  { key, version, entry }: Reading & { readonly key: string },
  floor: string,
  deletions: readonly Deletion[],
  evidence: Evidence,
): boolean {
  if (version !== undefined && version !== '') return version >= floor;
  if (version === '' && (evidence.dropped.get(key) ?? '') < floor) return false;
  return deletions.some(
    ({ call, stamp, fromMs }) =>
      call < entry.return && stamp >= floor && mayHaveExpired(fromMs, entry, evidence),
  );
}

/** Those that reached a disk: no other can explain anything. */
function deletionsByKey(history: History, evidence: Evidence): Map<string, Deletion[]> {
  const ends = new Set<string>();
  for (const { key, version, tombstone, expiresAtMs } of evidence.stored) {
    if (tombstone || expiresAtMs !== undefined) ends.add(`${key}@${version}`);
  }
  const deletions = new Map<string, Deletion[]>();
  for (const entry of history) {
    const { op, key, call, ttlMs, stamps = [] } = entry;
    if (op !== 'delete' && ttlMs === undefined) continue;
    for (const stamp of stamps) {
      const fromMs = op === 'delete' ? 0 : expiryOf(entry, stamp);
      if (ends.has(`${key}@${stamp}`)) listOf(deletions, key).push({ call, stamp, fromMs });
    }
  }
  return deletions;
}

function listOf<T>(map: Map<string, T[]>, key: string): T[] {
  let list = map.get(key);
  if (list === undefined) {
    list = [];
    map.set(key, list);
  }
  return list;
}
