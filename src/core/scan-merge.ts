import { hash32 } from './hash.js';
import { compareKeys } from './key-range.js';
import { partitionOf } from './placement.js';
import { compareRecords, isIntact } from './record.js';

/** What one node answered of its part of a scan (`ReplicaPage` of `io/peer.ts`). */
export interface MergePage {
  readonly entries: readonly { readonly key: Uint8Array; readonly record: Uint8Array }[];
  readonly scannedTo?: Uint8Array;
  readonly corrupt: readonly Uint8Array[];
  /** Whoever gave it has checked its records, in this process. What a wire gives is checked by the merge. */
  readonly checked: boolean;
}

/** One key of the merged range. */
export interface MergedKey {
  readonly key: Uint8Array;
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
  const cursors = pages.flatMap((page, place) => cursorsOf(page, place, order));
  const keys: MergedKey[] = [];

  for (let round = 1; ; round++) {
    const key = firstKey(cursors, order, round);
    if (key === undefined || (scannedTo !== undefined && order(key, scannedTo) > 0)) break;

    const keyHash = hash32(key);
    const answering = assigned[partitionOf(keyHash)] ?? NO_PLACES;
    let newest: Uint8Array | undefined;
    let whole = false;
    let holders = 0;
    let corrupt = false;
    for (const cursor of cursors) {
      if (cursor.stoodAt !== round) continue;
      // Every cursor that stands at the key moves on, those of nodes that do not answer for it included.
      const record = cursor.entries[cursor.at++]?.record;
      if (!answering.includes(cursor.place)) continue;
      const isWhole = wholeRecords && cursor.place === answering[0];
      if (record === undefined || (isWhole && !cursor.checked && !isIntact(keyHash, record))) {
        corrupt = true;
        continue;
      }
      const newer = newest === undefined ? 1 : compareRecords(record, newest);
      if (newer > 0) {
        newest = record;
        whole = isWhole;
        holders = 1;
      } else if (newer === 0) {
        holders++;
        if (isWhole) {
          newest = record;
          whole = true;
        }
      }
    }
    if (newest === undefined && !corrupt) continue;
    const agreed = holders === answering.length && !corrupt;
    keys.push({ key, newest, whole, agreed, corrupt });
  }
  return { keys, scannedTo };
}

/** Where the merge stands in the entries of a page, or in its keys that could not be read. */
interface Cursor {
  readonly place: number;
  readonly checked: boolean;
  readonly entries: readonly {
    readonly key: Uint8Array;
    readonly record: Uint8Array | undefined;
  }[];
  at: number;
  /** The last round of the merge whose key it stood at. */
  stoodAt: number;
}

function cursorsOf(
  { entries, corrupt, checked }: MergePage,
  place: number,
  order: (a: Uint8Array, b: Uint8Array) => number,
): Cursor[] {
  const ofRecords: Cursor = { place, checked, entries, at: 0, stoodAt: 0 };
  if (corrupt.length === 0) return [ofRecords];
  const unread = [...corrupt].sort(order).map((key) => ({ key, record: undefined }));
  return [ofRecords, { ...ofRecords, entries: unread }];
}

/** The first key that any cursor stands at; those that do are marked with the round. */
function firstKey(
  cursors: readonly Cursor[],
  order: (a: Uint8Array, b: Uint8Array) => number,
  round: number,
): Uint8Array | undefined {
  let first: Uint8Array | undefined;
  for (let i = 0; i < cursors.length; i++) {
    const cursor = cursors[i] as Cursor;
    const key = cursor.entries[cursor.at]?.key;
    if (key === undefined) continue;
    const before = first === undefined ? -1 : order(key, first);
    if (before > 0) continue;
    if (before < 0) {
      first = key;
      for (let earlier = 0; earlier < i; earlier++) (cursors[earlier] as Cursor).stoodAt = 0;
    }
    cursor.stoodAt = round;
  }
  return first;
}

const NO_PLACES: readonly number[] = [];

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
