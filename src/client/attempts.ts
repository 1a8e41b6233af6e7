import type { ErrorCode, Outcome } from '../core/errors.js';
import type { NodeState } from './node-state.js';

/** An attempt that has failed, or that was given up on and may still be answered. */
export interface PastAttempt {
  readonly node: NodeState;
  /** Identifies the attempt when a late answer comes. */
  readonly call: object;
  /** `unknown` as well while nothing has been answered: it may have happened, or may still. */
  outcome: Outcome;
  /** Undefined: no answer so far. */
  code: ErrorCode | undefined;
  /** What was answered, or how long it was waited for. */
  message: string;
}

/** As many answers as an error message tells of; of the rest it tells the number. */
const TOLD = 6;

/** So much of each: what was answered last is told in full elsewhere. */
const TOLD_CHARACTERS = 100;

/** The outcome of an operation is that of all its attempts: `none` only when every one was answered `none`. */
export function outcomeOf(attempts: readonly PastAttempt[]): Outcome {
  for (const attempt of attempts) if (attempt.outcome !== 'none') return 'unknown';
  return 'none';
}

/** `n1: no answer in 2500 ms; n2, n3: NO_QUORUM, needs 2 of 3`: what was said, and by whom; the latest, oldest first. */
export function describeAttempts(attempts: readonly PastAttempt[]): string {
  const saidBy = new Map<string, Set<string>>();
  for (const { node, code, message } of attempts) {
    const said = code === undefined ? message : `${code}, ${shortened(message)}`;
    const nodes = saidBy.get(said);
    if (nodes === undefined) saidBy.set(said, new Set([node.name]));
    else nodes.add(node.name);
  }
  const all = [...saidBy].map(([said, nodes]) => `${[...nodes].join(', ')}: ${said}`);
  const told = all.slice(-TOLD);
  const untold = all.length - told.length;
  return (untold > 0 ? [`${untold} others before`, ...told] : told).join('; ');
}

/** Ends at a word. Nodes name the reasons of others in theirs, and repeated for each attempt they would bury what matters. */
function shortened(message: string): string {
  if (message.length <= TOLD_CHARACTERS) return message;
  return `${message.slice(0, message.lastIndexOf(' ', TOLD_CHARACTERS))} ...`;
}

/** A node that does not answer is given half of what time remains, though not less than this, while others are there. */
const MIN_SHARE_MS = 200;

/** How much of the remaining time one attempt may take before another node is asked. */
export function shareOf(remainingMs: number): number {
  return Math.min(remainingMs, Math.max(remainingMs / 2, MIN_SHARE_MS));
}

/** `1 attempt`, `3 attempts`. */
export function countAttempts(attempts: readonly PastAttempt[]): string {
  return attempts.length === 1 ? '1 attempt' : `${attempts.length} attempts`;
}

/** Failures that say something about the node and nothing about the request: another node may well do it. */
export const FAILURES_OF_THE_NODE: ReadonlySet<ErrorCode> = new Set([
  'UNAVAILABLE',
  'TIMED_OUT',
  'STORE_FAILED',
  'WRONG_CLUSTER',
  'INCOMPATIBLE',
  'QUARANTINED',
]);
