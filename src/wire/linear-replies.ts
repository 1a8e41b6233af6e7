import { invalidArgument, KvError } from '../core/errors.js';
import { encodeExpectation } from '../core/expectation.js';
import { ANSWERED } from '../core/ledger.js';
import { readVersion, type Version } from '../core/version.js';
import type { NodeAnswer } from '../io/link.js';
import { receiptToWire, versionFromWire, versionToWire } from './codec.js';
import { entryToWire } from './entry-codec.js';
import { EMPTY_BYTES, v1 } from './messages.js';

const { Result } = v1.OutcomeResponse;

export const FORGOTTEN: v1.OutcomeResponse.$Properties = { result: Result.FORGOTTEN };

/** An expectation of the unary calls as it travels to the coordinator; no bytes for none. Throws INVALID_ARGUMENT. */
export function expectationFromWire(
  expect: v1.Expectation.$Properties | null | undefined,
): Uint8Array {
  if (!expect) return EMPTY_BYTES;
  const { version, value, absent } = expect;
  if (version) {
    return encodeExpectation({
      kind: 'version',
      version: versionFromWire(version, 'expect.version'),
    });
  }
  if (value) return encodeExpectation({ kind: 'value', value });
  if (absent === true) return encodeExpectation({ kind: 'absent' });
  throw invalidArgument('expect', 'must have a version, a value, or absent = true');
}

/** What became of a write at LINEARIZABLE that was sent with the stamp `id`. */
export function linearToReply(id: Version, answer: NodeAnswer): v1.PutResponse.$Properties {
  const { result, record, receipt } = answer;
  const told = {
    requestId: versionToWire(id),
    ...(receipt === undefined ? {} : { receipt: receiptToWire(receipt) }),
  };
  if (result === ANSWERED.never) {
    throw new KvError('REFUSED', 'its outcome was asked for before it took effect: it never does');
  }
  return result === ANSWERED.lost
    ? { ...told, lost: true, found: entryToWire(record) }
    : { ...told, ...versionField(answer) };
}

export function outcomeToReply(answer: NodeAnswer): v1.OutcomeResponse.$Properties {
  switch (answer.result) {
    case ANSWERED.applied:
      return { result: Result.APPLIED, ...versionField(answer) };
    case ANSWERED.lost:
      return { result: Result.LOST, ...versionField(answer) };
    case ANSWERED.never:
      return { result: Result.NEVER };
    case undefined:
    default:
      throw new KvError('INTERNAL', 'nothing was answered', { outcome: 'unknown' });
  }
}

function versionField({ version }: NodeAnswer): { version?: v1.Version.$Properties } {
  return version === undefined ? {} : { version: versionToWire(readVersion(version, 0)) };
}
