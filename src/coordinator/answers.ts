import type { Consistency } from '../core/consistency.js';
import { isLocal } from '../core/consistency.js';
import type { ErrorCode, KvError, Outcome } from '../core/errors.js';
import type { Receipt, ReplicaOutcome } from '../core/receipt.js';
import { versionOf } from '../core/record.js';
import { formatVersion, readVersion } from '../core/version.js';
import type { NodeAnswer } from '../io/link.js';
import {
  isReplicaFailure,
  type ApplyAnswer,
  type ReadAnswer,
  type ReplicaFailure,
} from '../io/peer.js';

/** What one replica did, as far as the coordinator knows: an answer, or why there is none. */
export type SlotAnswer = ApplyAnswer | ReadAnswer | 'pending' | 'not-asked';

/** A write that did what it should, and whose caller wants no more: the same object every time. */
export const STORED: NodeAnswer = Object.freeze({
  code: undefined,
  outcome: 'none',
  message: '',
  record: undefined,
  shadow: undefined,
  receipt: undefined,
});

/** Of a read that asked for a least version, where `newest` is all that is to be had. */
export function staleAnswer(
  newest: Uint8Array | undefined,
  minVersion: Uint8Array,
  receipt: Receipt,
): NodeAnswer {
  const asked = formatVersion(readVersion(minVersion, 0));
  const message =
    newest === undefined
      ? `nothing was found, and minVersion is ${asked}`
      : `the newest version found is ${formatVersion(versionOf(newest))}, below minVersion ${asked}`;
  return failure('STALE', 'none', message, receipt);
}

/** What is made of an answer once others are found to know of a later life of the replica that gave it. */
export const EARLIER_LIFE: ReplicaFailure = Object.freeze({
  kind: 'failed',
  code: 'UNAVAILABLE',
  message: 'it answered before it forgot, so its answer does not count',
});

export function failure(
  code: ErrorCode,
  outcome: Outcome,
  message: string,
  receipt?: NodeAnswer['receipt'],
): NodeAnswer {
  return { code, outcome, message, record: undefined, shadow: undefined, receipt };
}

/** A refusal at the door: nothing was sent. */
export function refusal(error: KvError): NodeAnswer {
  return failure(error.code, 'none', error.message);
}

/** One replica's line of a receipt. */
export function replicaOutcome(
  node: string,
  answer: SlotAnswer,
  repaired: boolean,
  /** What an applied write left on the replica. */
  record: Uint8Array | undefined,
): ReplicaOutcome {
  if (typeof answer === 'string') return { node, result: answer };
  if (isReplicaFailure(answer)) return { node, result: answer.kind, reason: answer.message };
  const held =
    answer.kind === 'applied' ? record : answer.kind === 'absent' ? undefined : answer.header;
  return {
    node,
    result: repaired ? 'repaired' : 'ok',
    ...(held === undefined ? {} : { version: versionOf(held) }),
  };
}

/** `QUORUM needs 2 of 3 replicas, 1 answered: n1 ok, n2 unreachable, n3 timed out`. */
export function describeMiss(
  level: Consistency,
  zone: string,
  needed: number,
  counted: number,
  answered: number,
  outcomes: readonly ReplicaOutcome[],
  answers: readonly SlotAnswer[],
): string {
  const where = isLocal(level) ? ` in zone ${zone}` : '';
  const each = outcomes.map(({ node, result, reason }, slot) => {
    const answer = answers[slot];
    const timedOut =
      typeof answer === 'object' && isReplicaFailure(answer) && answer.code === 'TIMED_OUT';
    return `${node} ${timedOut ? 'timed out' : wordsOf(result, reason)}`;
  });
  return `${level} needs ${needed} of ${counted} replicas${where}, ${answered} answered: ${each.join(', ')}`;
}

function wordsOf(result: ReplicaOutcome['result'], reason: string | undefined): string {
  switch (result) {
    case 'pending':
      return 'no answer yet';
    case 'not-asked':
      return 'not asked';
    case 'refused':
    case 'failed':
      return reason === undefined || reason === '' ? result : `${result} (${reason})`;
    case 'ok':
    case 'repaired':
    case 'unreachable':
      return result;
  }
}

/**
 * The code of a missed level. Where every replica that was asked refused for one and the same reason (a full disk, a corrupt
 * record), that reason says more than NO_QUORUM.
 */
export function missCode(answers: readonly SlotAnswer[]): ErrorCode {
  let shared: ErrorCode | undefined;
  for (const answer of answers) {
    if (answer === 'not-asked') continue;
    if (answer === 'pending' || answer.kind !== 'refused') return 'NO_QUORUM';
    if (shared !== undefined && shared !== answer.code) return 'NO_QUORUM';
    shared = answer.code;
  }
  return shared ?? 'NO_QUORUM';
}
