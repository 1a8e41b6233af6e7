import { isRoundKey, isWrite, type History, type HistoryEntry } from '../history.js';
import type { Violation } from './evidence.js';
import { settleUnknown } from './unknown-outcomes.js';
import { isInOrderOfVersions, type VersionedCall } from './version-order.js';

const LAW = '(h) LINEARIZABLE operations have one order that agrees with real time';
const UNDECIDED = 'the search for an order came to no end';

/** What a register did. `known` false: nobody was told, so it may have taken effect at any time since, or never. */
export interface RegisterCall {
  readonly kind: 'read' | 'write' | 'cas';
  /** When it began and ended; of what is not known to have ended, infinity. */
  readonly call: number;
  readonly return: number;
  readonly known: boolean;
  /** Read or written; undefined: nothing there. */
  readonly value: string | undefined;
  readonly expected: string | undefined;
  /** Whether the compare-and-set took place; only where known. */
  readonly swapped: boolean;
}

export type Judgement = 'linearizable' | 'illegal' | 'undecided';

/** Law (h), for every key by itself: linearizability is local (Herlihy and Wing 1990). */
export function checkLinearizable(history: History, maxSteps = 2_000_000): Violation[] {
  const byKey = new Map<string, HistoryEntry[]>();
  for (const entry of history) {
    if (!isJudged(entry)) continue;
    const list = byKey.get(entry.key);
    if (list === undefined) byKey.set(entry.key, [entry]);
    else list.push(entry);
  }
  const violations: Violation[] = [];
  for (const [key, entries] of byKey) {
    const calls = entries.flatMap(callsOf);
    if (isInOrderOfVersions(calls)) continue;
    const judgement = judgeRegister(calls, maxSteps);
    if (judgement === 'linearizable') continue;
    const some = { key, entries: entries.slice(0, 40) };
    if (judgement === 'illegal') {
      const problem = `no order of its ${entries.length} operations explains what they answered`;
      violations.push({ law: LAW, problem, ...some });
    } else {
      // A run must not pass for it. That defects of rounds are seen by this, too, proves less than it should.
      const problem = `${UNDECIDED} after ${maxSteps} steps`;
      violations.push({ law: LAW, problem, ...some });
    }
  }
  return violations;
}

/** Whether it says only that the search was given up. */
export function isUndecided({ problem }: Violation): boolean {
  return problem.startsWith(UNDECIDED);
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
function callsOf(entry: HistoryEntry): VersionedCall[] {
  const known = isKnown(entry);
  if (entry.status === 'fail' || (entry.op === 'get' && !known)) return [];
  const call: VersionedCall = {
    kind: entry.op === 'get' ? 'read' : entry.op === 'cas' ? 'cas' : 'write',
    call: entry.call,
    return: known ? entry.return : Number.POSITIVE_INFINITY,
    known,
    value: entry.value,
    expected: entry.expected,
    swapped: entry.swapped ?? false,
    version: entry.version,
  };
  const calls = [call];
  if (entry.op === 'cas' && entry.found !== undefined) {
    const [found] = entry.found;
    calls.push({
      ...call,
      kind: 'read',
      value: found?.value,
      version: found?.version ?? entry.version,
    });
  }
  if (entry.ttlMs !== undefined && entry.op !== 'delete') calls.push(expiryOf(call));
  return calls;
}

function expiryOf(call: VersionedCall): VersionedCall {
  return {
    kind: 'cas',
    call: call.call,
    return: Number.POSITIVE_INFINITY,
    known: false,
    value: undefined,
    expected: call.value,
    swapped: false,
    version: undefined,
  };
}

interface Node {
  /** Index of the call. */
  readonly id: number;
  readonly isCall: boolean;
  /** Of a call: its return. */
  match: Node | undefined;
  before: Node | undefined;
  after: Node | undefined;
}

/**
 * Wing and Gong's search for an order (1993) with the memory that Lowe added (2017): a set of calls already placed, with the
 * state they lead to, is looked at once. States are the register's values; a search that takes more than `maxSteps` is
 * given up.
 */
export function judgeRegister(history: readonly RegisterCall[], maxSteps = 2_000_000): Judgement {
  const calls = settleUnknown(history);
  const head = linkEvents(calls);
  const placed = new Uint32Array((calls.length >> 5) + 1);
  const seen = new Map<number, { readonly placed: Uint32Array; readonly state: Value }[]>();
  const trail: { readonly node: Node; readonly state: Value }[] = [];
  let open = calls.reduce(
    (count, call) => count + (call.return < Number.POSITIVE_INFINITY ? 1 : 0),
    0,
  );
  let state: Value = undefined;
  let at = head.after;
  for (let steps = 0; open > 0; steps++) {
    if (steps > maxSteps) return 'undecided';
    if (at?.isCall === true) {
      const call = calls[at.id] as RegisterCall;
      const next = step(state, call);
      setBit(placed, at.id);
      if (next !== ILLEGAL && isNew(seen, placed, next)) {
        trail.push({ node: at, state });
        state = next;
        if (call.return < Number.POSITIVE_INFINITY) open--;
        lift(at);
        at = head.after;
      } else {
        clearBit(placed, at.id);
        at = at.after;
      }
      continue;
    }
    // A call returned and has no place: the last choice was wrong.
    const last = trail.pop();
    if (last === undefined) return 'illegal';
    state = last.state;
    clearBit(placed, last.node.id);
    if ((calls[last.node.id] as RegisterCall).return < Number.POSITIVE_INFINITY) open++;
    unlift(last.node);
    at = last.node.after;
  }
  return 'linearizable';
}

type Value = string | undefined;
const ILLEGAL = Symbol('illegal');

/** The state after the call, or that it cannot happen here. */
function step(state: Value, call: RegisterCall): Value | typeof ILLEGAL {
  switch (call.kind) {
    case 'read':
      return call.value === state ? state : ILLEGAL;
    case 'write':
      return call.value;
    case 'cas': {
      const swaps = state === call.expected;
      if (call.known && swaps !== call.swapped) return ILLEGAL;
      return swaps ? call.value : state;
    }
  }
}

/** All calls and returns in the order of time, in a list from which they can be taken and put back. */
function linkEvents(calls: readonly RegisterCall[]): Node {
  const events = calls.flatMap((call, id) => {
    const back = newNode(id, false);
    const start = newNode(id, true);
    start.match = back;
    return [
      { at: call.call, node: start },
      { at: call.return, node: back },
    ];
  });
  // At one moment calls come before returns: what overlaps in a point overlaps.
  events.sort((a, b) =>
    a.at === b.at ? Number(b.node.isCall) - Number(a.node.isCall) : a.at - b.at,
  );
  const head = newNode(-1, false);
  let last = head;
  for (const { node } of events) {
    last.after = node;
    node.before = last;
    last = node;
  }
  return head;
}

function newNode(id: number, isCall: boolean): Node {
  return { id, isCall, match: undefined, before: undefined, after: undefined };
}

function lift(node: Node): void {
  unlink(node);
  if (node.match !== undefined) unlink(node.match);
}

function unlift(node: Node): void {
  if (node.match !== undefined) relink(node.match);
  relink(node);
}

function unlink(node: Node): void {
  if (node.before !== undefined) node.before.after = node.after;
  if (node.after !== undefined) node.after.before = node.before;
}

function relink(node: Node): void {
  if (node.before !== undefined) node.before.after = node;
  if (node.after !== undefined) node.after.before = node;
}

/** Whether this set of calls with this state is seen for the first time; it is remembered. */
function isNew(
  seen: Map<number, { readonly placed: Uint32Array; readonly state: Value }[]>,
  placed: Uint32Array,
  state: Value,
): boolean {
  let hash = 0x811c9dc5;
  for (let i = 0; i < placed.length; i++) {
    hash = Math.imul(hash ^ (placed[i] as number), 0x01000193);
    hash ^= hash >>> 15;
  }
  const bucket = seen.get(hash);
  if (bucket === undefined) {
    seen.set(hash, [{ placed: placed.slice(), state }]);
    return true;
  }
  for (const one of bucket) {
    if (one.state === state && equalBits(one.placed, placed)) return false;
  }
  bucket.push({ placed: placed.slice(), state });
  return true;
}

function equalBits(a: Uint32Array, b: Uint32Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function setBit(bits: Uint32Array, at: number): void {
  bits[at >> 5] = (bits[at >> 5] as number) | (1 << (at & 31));
}

function clearBit(bits: Uint32Array, at: number): void {
  bits[at >> 5] = (bits[at >> 5] as number) & ~(1 << (at & 31));
}
