import type { AnsweredRequest } from '../../src/core/ledger.js';
import { readVersion } from '../../src/core/version.js';

/** The requests that a ledger lists, in its order. */
export function answeredIn(ledger: Uint8Array): AnsweredRequest[] {
  const answered: AnsweredRequest[] = [];
  for (let at = 16; at < ledger.length; at += 33) {
    const result = ledger[at + 16] as number;
    answered.push({ id: readVersion(ledger, at), result, version: readVersion(ledger, at + 17) });
  }
  return answered;
}
