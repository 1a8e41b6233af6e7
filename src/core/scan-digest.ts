import { writeHash64 } from './hash.js';
import { compareKeys } from './key-range.js';
import { DIGEST_BYTES } from './record.js';

/** A page of a scan (`ReplicaPage` of `io/peer.ts`), or the digest of one in place of its entries. */
export interface DigestedPage {
  readonly entries: readonly { readonly record: Uint8Array }[];
  readonly scannedTo?: Uint8Array;
  readonly corrupt: readonly Uint8Array[];
  readonly digest?: Uint8Array;
}

/**
 * 8 bytes for all records of a page, in order: the hash of their digests, each of which covers key, version and value. Records
 * and their heads give the same.
 */
export function digestOfRecords(entries: DigestedPage['entries']): Uint8Array {
  const digests = Buffer.allocUnsafe(entries.length * DIGEST_BYTES);
  let at = 0;
  for (const { record } of entries) {
    for (let i = 0; i < DIGEST_BYTES; i++) digests[at++] = record[i] as number;
  }
  const digest = new Uint8Array(DIGEST_BYTES);
  writeHash64(digests, 0, digest, 0);
  return digest;
}

/** Whether each of the others is a digest of just this page: as far, the same records, and nothing that could not be read. */
export function areDigestsOf(page: DigestedPage, others: readonly DigestedPage[]): boolean {
  if (page.corrupt.length > 0) return false;
  const digest = digestOfRecords(page.entries);
  return others.every(
    (other) =>
      other.corrupt.length === 0 &&
      other.digest !== undefined &&
      compareKeys(other.digest, digest) === 0 &&
      compareKeys(other.scannedTo ?? NO_KEY, page.scannedTo ?? NO_KEY) === 0,
  );
}

/** No key is empty, so it stands for the end of the range. */
const NO_KEY = new Uint8Array(0);
