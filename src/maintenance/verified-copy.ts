import { NO_FENCE } from '../core/fence.js';
import { compareRecords, headerOf, isTombstone } from '../core/record.js';
import type { ReadAnswer } from '../io/peer.js';
import { isAtOrBelow } from './key-difference.js';

/** What one replica holds of a key. */
export type VerifiedCopy =
  /** The first 25 bytes of its record: version, digest, whether it is a tombstone. */
  | { readonly nodeId: string; readonly kind: 'record'; readonly header: Uint8Array }
  /** `fence`: what it has committed; empty: nothing. */
  | { readonly nodeId: string; readonly kind: 'absent'; readonly fence: Uint8Array }
  | { readonly nodeId: string; readonly kind: 'unreadable'; readonly reason: string }
  /** It did not answer when the key was read again. */
  | { readonly nodeId: string; readonly kind: 'unknown'; readonly reason: string };

/** What the answer of a replica says that it holds. */
export function copyOf(nodeId: string, answer: ReadAnswer): VerifiedCopy {
  switch (answer.kind) {
    case 'found':
      // Of a record with an expiry, more than the header comes.
      return { nodeId, kind: 'record', header: headerOf(answer.header) };
    case 'absent':
      return { nodeId, kind: 'absent', fence: answer.fence ?? NO_FENCE };
    case 'refused':
      if (answer.code === 'RECORD_CORRUPT') {
        return { nodeId, kind: 'unreadable', reason: answer.message };
      }
      break;
    case 'unreachable':
    case 'failed':
      break;
  }
  return { nodeId, kind: 'unknown', reason: answer.message };
}

/** A tombstone at or below the fence of a replica that has nothing is what that replica has. Who did not answer has no say. */
export function differ(copies: readonly VerifiedCopy[]): boolean {
  let newest: Uint8Array | undefined;
  for (const copy of copies) {
    if (copy.kind !== 'record') continue;
    if (newest === undefined || compareRecords(copy.header, newest) > 0) newest = copy.header;
  }
  return copies.some((copy) => {
    switch (copy.kind) {
      case 'unreadable':
        return true;
      case 'unknown':
        return false;
      case 'record':
        return compareRecords(copy.header, newest as Uint8Array) !== 0;
      case 'absent':
        return newest !== undefined && !(isTombstone(newest) && isAtOrBelow(newest, copy.fence));
    }
  });
}
