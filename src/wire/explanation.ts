import { isExpired } from '../core/expiry.js';
import { isHidden, NO_FENCE } from '../core/fence.js';
import {
  compareRecords,
  decodeRecord,
  formatDigest,
  isTombstone,
  versionOf,
} from '../core/record.js';
import { compareVersions } from '../core/version.js';
import { partitionOf } from '../core/placement.js';
import type { ReadAnswer } from '../io/peer.js';
import type { ExplainedReplica } from './replica-report.js';
import type { ExplainReport } from './reports.js';

/** One replica's copy of a key. */
export interface Copy {
  readonly node: string;
  readonly answer: ReadAnswer;
}

/** Lays open what the replicas of a key hold, and why the winning record wins. `nowMs` of the wall judges expiry. */
export function explain(keyHash: number, copies: readonly Copy[], nowMs: number): ExplainReport {
  const held = copies.flatMap(({ node, answer }) => {
    const record = answer.kind === 'found' ? (answer.record ?? answer.header) : undefined;
    return record === undefined ? [] : [{ node, record }];
  });
  const winning = held.reduce<Uint8Array | undefined>(
    (best, { record }) => (best === undefined || compareRecords(record, best) > 0 ? record : best),
    undefined,
  );
  const winners = held.filter(
    ({ record }) => winning !== undefined && compareRecords(record, winning) === 0,
  );
  const fences = copies.flatMap(({ answer }) =>
    answer.kind === 'absent' ? [answer.fence ?? NO_FENCE] : [],
  );
  return {
    partition: partitionOf(keyHash),
    replicas: copies.map((copy) => explainCopy(copy, fences, nowMs)),
    winner: winners.map(({ node }) => node).join(','),
    why: why(
      winning,
      held.map(({ record }) => record),
      copies.length,
      nowMs,
    ),
  };
}

/** `fences`: those committed by the replicas that have nothing. */
function explainCopy(
  { node, answer }: Copy,
  fences: readonly Uint8Array[],
  nowMs: number,
): ExplainedReplica {
  const nothing = {
    node,
    digest: '',
    recordBytes: 0,
    valueBytes: 0,
    tombstone: false,
    expired: false,
    hidden: false,
    reason: '',
  };
  if (answer.kind === 'absent') return { ...nothing, result: 'absent' };
  if (answer.kind !== 'found') {
    return { ...nothing, result: answer.kind, reason: `${answer.code}: ${answer.message}` };
  }
  const { record, header } = answer;
  // Of a comparison only the header is known, which says nothing of sizes, expiry or what else follows it.
  if (record === undefined) {
    const version = versionOf(header);
    const digest = formatDigest(header);
    return { ...nothing, result: 'found', version, digest, tombstone: isTombstone(header) };
  }
  const fields = decodeRecord(record);
  if (fields === undefined) {
    return { ...nothing, result: 'failed', reason: 'RECORD_CORRUPT: the record cannot be decoded' };
  }
  return {
    node,
    result: 'found',
    version: fields.version,
    digest: formatDigest(record),
    recordBytes: record.length,
    valueBytes: fields.value.length,
    tombstone: fields.tombstone,
    ...(fields.expiresAtMs === undefined ? {} : { expiresAtMs: fields.expiresAtMs }),
    expired: isExpired(record, nowMs),
    hidden: fences.length > 0 && fences.every((fence) => isHidden(record, fence)),
    reason: '',
  };
}

function why(
  winning: Uint8Array | undefined,
  records: readonly Uint8Array[],
  replicas: number,
  nowMs: number,
): string {
  if (winning === undefined) return 'No replica that answered holds a record of this key.';
  const what = isTombstone(winning)
    ? 'a tombstone, so the key is deleted'
    : isExpired(winning, nowMs)
      ? 'a value that has expired, so the key is absent'
      : 'the value';
  const losing = records.filter((record) => compareRecords(record, winning) !== 0);
  if (losing.length === 0) {
    return records.length === replicas
      ? `All replicas hold the same record: ${what}.`
      : `${records.length} of ${replicas} replicas hold ${what}, and no replica another record.`;
  }
  const winningVersion = decodeRecord(winning)?.version;
  const tied = losing.some((record) => {
    const version = decodeRecord(record)?.version;
    return (
      version !== undefined &&
      winningVersion !== undefined &&
      compareVersions(version, winningVersion) === 0
    );
  });
  if (!tied) return `The highest version wins: ${what}.`;
  return isTombstone(winning)
    ? 'Of equal versions with different bytes the tombstone wins, so the key is deleted.'
    : 'Of equal versions with different bytes the greater digest wins.';
}
