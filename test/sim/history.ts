import type { Consistency } from '../../src/core/consistency.js';
import type { ErrorCode } from '../../src/core/errors.js';

/**
 * One operation as its client saw it. Versions are text (`formatVersion`), which sorts as versions do; the empty text is
 * below all of them: never written.
 */
export interface HistoryEntry {
  readonly index: number;
  readonly process: string;
  readonly op: 'get' | 'put' | 'delete' | 'scan' | 'cas';
  /** Of a scan: the empty text. */
  readonly key: string;
  readonly level: Consistency;
  readonly zone: string;
  /** `fail`: it certainly did not happen. `unknown`: it may have, or may still. */
  readonly status: 'ok' | 'fail' | 'unknown';
  readonly code?: ErrorCode;
  /** Milliseconds of true time. An operation that was never answered returns at the end of the run. */
  readonly callMs: number;
  readonly returnMs: number;
  /** What began or ended before what, when both happened in the same millisecond: no two are the same. */
  readonly call: number;
  readonly return: number;
  /** Written or read; absent for a tombstone and for what was not there. No two writes have the same. */
  readonly value?: string;
  /** Of a write: its stamp. Of a read: the version that was found, a tombstone's too; absent when the client cannot know. */
  readonly version?: string;
  /** Of a write: every stamp that was sent for it, in any attempt. */
  readonly stamps?: readonly string[];
  /** Of a write: true where its stamp is not from the clock of its SDK, but of the node or given by the caller. */
  readonly foreignStamp?: boolean;
  /** Of a put that expires: how long after its stamp. */
  readonly ttlMs?: number;
  /** Of a write: how many calls carried it to a node. */
  readonly attempts?: number;
  /** Of a get: at least this version was asked for. */
  readonly minVersion?: string;
  /** Of an acknowledged write: on how many of the counted replicas it, or something newer, was durable at that moment. */
  readonly holders?: number;
  /** Of a scan: its range, and what it found in it. Of a compare-and-set that was told that it lost: what is there. */
  readonly range?: { readonly gte: string; readonly lt: string };
  readonly found?: readonly FoundEntry[];
  /** Of a write: a newer version hid it, or kept it out. */
  readonly isShadowed?: boolean;
  /** Of a compare-and-set: the value it asked for (absent: none), and whether it was so. */
  readonly expected?: string;
  readonly swapped?: boolean;
}

export interface FoundEntry {
  readonly key: string;
  readonly value: string;
  readonly version: string;
}

export type History = readonly HistoryEntry[];

/** A read of one key, by whatever operation. */
export interface Observation {
  readonly entry: HistoryEntry;
  readonly key: string;
  /** Absent: nothing was there, and of a tombstone the version is not known. */
  readonly version: string | undefined;
  readonly value: string | undefined;
}

/** Every successful read of a key: gets, and for each key that a scan covered what it found there. */
export function observationsOf(history: History, keys: readonly string[]): Observation[] {
  const observations: Observation[] = [];
  for (const entry of history) {
    if (entry.status !== 'ok') continue;
    if (entry.op === 'get') {
      const { key, version, value } = entry;
      observations.push({ entry, key, version, value });
    } else if (entry.op === 'scan') {
      const found = new Map(entry.found?.map((one) => [one.key, one]));
      const { gte = '', lt = '' } = entry.range ?? {};
      for (const key of keys) {
        if (key < gte || (lt !== '' && key >= lt)) continue;
        const one = found.get(key);
        observations.push({ entry, key, version: one?.version, value: one?.value });
      }
    }
  }
  return observations;
}

/** Whether only LINEARIZABLE workloads use the key. */
export function isRoundKey(key: string): boolean {
  return key.startsWith('lin/') || key.startsWith('mix/');
}

export function isWrite(entry: HistoryEntry): boolean {
  return entry.op === 'put' || entry.op === 'delete';
}

/** One operation a line, for checkers outside this repository. */
export function toJsonLines(history: History): string {
  return history.map((entry) => `${JSON.stringify(entry)}\n`).join('');
}

export function fromJsonLines(text: string): HistoryEntry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as HistoryEntry);
}

/** An operation in one line, for people. */
export function describeEntry(entry: HistoryEntry): string {
  const { process, op, level, zone, status, code, callMs, returnMs } = entry;
  const what = entry.op === 'scan' ? describeRange(entry) : entry.key;
  const parts = [
    `#${entry.index} ${process} ${op} ${what}`,
    zone === '' ? level : `${level}(${zone})`,
    `${callMs.toFixed(1)}..${returnMs.toFixed(1)} ms`,
    code === undefined ? status : `${status} ${code}`,
  ];
  if (entry.value !== undefined) parts.push(`value ${entry.value}`);
  if (entry.op === 'cas')
    parts.push(`expected ${entry.expected ?? 'nothing'}: ${entry.swapped ? 'swapped' : 'not'}`);
  if (entry.isShadowed === true) parts.push('shadowed');
  if (entry.version !== undefined) parts.push(`version ${entry.version || 'none'}`);
  if ((entry.stamps?.length ?? 0) > 1) parts.push(`stamps ${entry.stamps?.join(' ')}`);
  return parts.join(', ');
}

function describeRange(entry: HistoryEntry): string {
  const found = entry.found?.map(({ key, version }) => `${key}@${version}`).join(' ') ?? '';
  return `${entry.range?.gte ?? ''}..${entry.range?.lt ?? ''} [${found}]`;
}
