import { isRoundKey, isWrite, type History, type HistoryEntry } from '../history.js';
import type { Violation } from './evidence.js';
import { judgeRegister, type RegisterCall } from './register.js';

const LAW = '(h) LINEARIZABLE operations have one order that agrees with real time';
/** No law of the store: a run of which the checker cannot tell has failed, and proves nothing about a defect either. */
const UNDECIDED = '(?) the checker comes to a verdict about (h)';

/** As many operations as a person wants to see of what led to a violation. */
const TOLD = 8;

/** Law (h), for every key by itself: linearizability is local (Herlihy and Wing 1990). */
export function checkLinearizable(history: History, maxStandings?: number): Violation[] {
  const byKey = new Map<string, HistoryEntry[]>();
  for (const entry of history) {
    if (!isJudged(entry)) continue;
    const list = byKey.get(entry.key);
    if (list === undefined) byKey.set(entry.key, [entry]);
    else list.push(entry);
  }
  const violations: Violation[] = [];
  for (const [key, all] of byKey) {
    const { verdict, until } = judgeRegister(all.flatMap(callsOf), maxStandings);
    if (verdict === 'linearizable') continue;
    const entries = all.filter(({ call }) => call <= until).slice(-TOLD);
    const broken = verdict === 'illegal';
    const problem = broken
      ? `no order of its ${all.length} operations explains what they answered up to here`
      : `the search for an order of its ${all.length} operations was given up`;
    violations.push({ law: broken ? LAW : UNDECIDED, key, problem, entries });
  }
  return violations;
}

/** Whether it says only that the search was given up. */
export function isUndecided({ law }: Violation): boolean {
  return law === UNDECIDED;
}

/**
 * Plain reads of a key promise less than this law asks for. Plain writes are taken in, as what LINEARIZABLE operations may find:
 * one that a majority holds and nothing hides has taken place, any other may have, or may still.
 */
function isJudged(entry: HistoryEntry): boolean {
  if (entry.level === 'LINEARIZABLE') return entry.op !== 'scan';
  return isRoundKey(entry.key) && isWrite(entry);
}

function isKnown(entry: HistoryEntry): boolean {
  if (entry.status !== 'ok') return false;
  if (entry.level === 'LINEARIZABLE') return true;
  return (entry.level === 'QUORUM' || entry.level === 'ALL') && entry.isShadowed !== true;
}

/**
 * What certainly did not happen, and reads that nobody was told the answer of, say nothing. A value that expires may be gone at
 * any time since, once and for all. What a compare-and-set that lost was told is there was there at some time of it: a retry is
 * told that it lost at its first attempt, and what is there now.
 */
function callsOf(entry: HistoryEntry): RegisterCall[] {
  const known = isKnown(entry);
  if (entry.status === 'fail' || (entry.op === 'get' && !known)) return [];
  const call: RegisterCall = {
    kind: entry.op === 'get' ? 'read' : entry.op === 'cas' ? 'cas' : 'write',
    call: entry.call,
    return: known ? entry.return : Number.POSITIVE_INFINITY,
    known,
    value: entry.value,
    expected: entry.expected,
    swapped: entry.swapped ?? false,
  };
  const calls = [call];
  if (entry.op === 'cas' && entry.found !== undefined) {
    calls.push({ ...call, kind: 'read', value: entry.found[0]?.value });
  }
  if (entry.ttlMs !== undefined && entry.op !== 'delete') calls.push(expiryOf(call));
  return calls;
}

function expiryOf(call: RegisterCall): RegisterCall {
  return {
    kind: 'cas',
    call: call.call,
    return: Number.POSITIVE_INFINITY,
    known: false,
    value: undefined,
    expected: call.value,
    swapped: false,
  };
}
