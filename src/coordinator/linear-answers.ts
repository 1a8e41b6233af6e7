import { ANSWERED } from '../core/ledger.js';
import type { Change, LinearResult } from '../core/linear-decision.js';
import { headerOf, isTombstone } from '../core/record.js';
import { encodeVersion } from '../core/version.js';
import type { NodeAnswer } from '../io/link.js';
import { failure, STORED } from './answers.js';

export const FORGOTTEN = 'it came too late: whether it was applied before is not known any more';

/** What is answered once `record` has been chosen, from which the result follows. */
export function answerOfChosen(
  kind: Change['kind'],
  record: Uint8Array,
  { code, version }: LinearResult,
): NodeAnswer {
  switch (kind) {
    case 'read':
      return version === undefined ? STORED : { ...STORED, record };
    case 'plain':
      return code === ANSWERED.applied ? STORED : { ...STORED, shadow: headerOf(record) };
    case 'write':
    case 'outcome':
      if (code === 0) return failure('REFUSED', 'none', FORGOTTEN);
      return {
        ...STORED,
        ...(code === ANSWERED.lost && !isTombstone(record) ? { record } : {}),
        result: code,
        ...(version === undefined ? {} : { version: encodeVersion(version) }),
      };
  }
}
