import { ANSWERED } from '../core/ledger.js';
import type { Change, LinearResult } from '../core/linear-decision.js';
import { headerOf, isTombstone } from '../core/record.js';
import { encodeVersion } from '../core/version.js';
import type { NodeAnswer } from '../io/link.js';
import { STORED } from './answers.js';

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
      return {
        ...STORED,
        ...(code === ANSWERED.lost && !isTombstone(record) ? { record } : {}),
        ...(code === 0 ? {} : { result: code }),
        ...(version === undefined ? {} : { version: encodeVersion(version) }),
      };
  }
}
