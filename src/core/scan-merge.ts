import { hash32 } from './hash.js';
import { compareKeys } from './key-range.js';
import { partitionOf } from './placement.js';
import { compareRecords, isIntact } from './record.js';

/** What one node answered of its part of a scan (`ReplicaPage` of `io/peer.ts`). */
export interface MergePage {
  readonly entries: readonly { readonly key: Uint8Array; readonly record: Uint8Array }[];
  readonly scannedTo?: Uint8Array;
  readonly corrupt: readonly Uint8Array[];
}

/** One key of the merged range. */
export interface MergedKey {
  readonly key: Uint8Array;
  readonly keyHash: number;
  /** The newest record or header that was seen; undefined when no node could read the key. */
  readonly newest: Uint8Array | undefined;
  /** True when `newest` is the record, not only its header. */
  readonly whole: boolean;
  /** True when every node that answers for the key holds `newest`. Otherwise the key must be read again, and repaired. */
  readonly agreed: boolean;
  /** True when a node holds the key and cannot read it, or sent a record that fails its checksum. */
  readonly corrupt: boolean;
}

export interface MergedRange {
  /** In the order of the scan. */
  readonly keys: readonly MergedKey[];
  /** How far every node has come, inclusive; nothing beyond it is in `keys`. Undefined: to the end of the range. */
  readonly scannedTo: Uint8Array | undefined;
}

/**
 * Merges the pages of a scan. Only keys up to the *safe horizon*, the least that any node has come, are in the result: of a
 * key beyond it one node may not have spoken yet, and its silence must not be taken for absence.
 *
 * `assigned[p]` are the indexes of the pages that answer for partition p, the one with whole records first; with
 * `wholeRecords` false every record is taken for a header.
 */
export function mergePages(
  pages: readonly MergePage[],
  assigned: readonly (readonly number[])[],
  reverse: boolean,
  wholeRecords: boolean,
): MergedRange {
  const sign = reverse ? -1 : 1;
  const order = (a: Uint8Array, b: Uint8Array): number => sign * compareKeys(a, b);
  const scannedTo = horizonOf(pages, order);
  const at = pages.map(() => 0);
  const corrupt = pages.map((page) => [...page.corrupt].sort(order));
  const corruptAt = pages.map(() => 0);
  const keys: MergedKey[] = [];

  for (;;) {
    let key: Uint8Array | undefined;
    for (let i = 0; i < pages.length; i++) {
      const held = pages[i]?.entries[at[i] as number]?.key;
      if (held !== undefined && (key === undefined || order(held, key) < 0)) key = held;
      const unread = corrupt[i]?.[corruptAt[i] as number];
      if (unread !== undefined && (key === undefined || order(unread, key) < 0)) key = unread;
    }
    if (key === undefined || (scannedTo !== undefined && order(key, scannedTo) > 0)) break;

    const keyHash = hash32(key);
    const answering = assigned[partitionOf(keyHash)] ?? [];
    let newest: Uint8Array | undefined;
    let whole = false;
    let holders = 0;
    let isCorrupt = false;
    // Every cursor that stands at the key moves on, those of nodes that do not answer for it included.
    for (let i = 0; i < pages.length; i++) {
      const answers = answering.includes(i);
      const unread = corrupt[i]?.[corruptAt[i] as number];
      if (unread !== undefined && compareKeys(unread, key) === 0) {
        corruptAt[i] = (corruptAt[i] as number) + 1;
        isCorrupt ||= answers;
      }
      const entry = pages[i]?.entries[at[i] as number];
      if (entry === undefined || compareKeys(entry.key, key) !== 0) continue;
      at[i] = (at[i] as number) + 1;
      if (!answers) continue;
      const isWhole = wholeRecords && i === answering[0];
      if (isWhole && !isIntact(keyHash, entry.record)) {
        isCorrupt = true;
        continue;
      }
      const newer = newest === undefined ? 1 : compareRecords(entry.record, newest);
      if (newer > 0) {
        newest = entry.record;
        whole = false;
        holders = 0;
      }
      if (newer >= 0) {
        holders++;
        if (isWhole) {
          newest = entry.record;
          whole = true;
        }
      }
    }
    if (newest === undefined && !isCorrupt) continue;
    const agreed = holders === answering.length && !isCorrupt;
    keys.push({ key, keyHash, newest, whole, agreed, corrupt: isCorrupt });
  }
  return { keys, scannedTo };
}

function horizonOf(
  pages: readonly MergePage[],
  order: (a: Uint8Array, b: Uint8Array) => number,
): Uint8Array | undefined {
  let horizon: Uint8Array | undefined;
  for (const { scannedTo } of pages) {
    if (scannedTo !== undefined && (horizon === undefined || order(scannedTo, horizon) < 0)) {
      horizon = scannedTo;
    }
  }
  return horizon;
}
