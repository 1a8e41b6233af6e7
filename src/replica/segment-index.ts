import { SEGMENTS } from '../core/hash-tree.js';
import { hash32 } from '../core/hash.js';
import type { Store } from '../io/store.js';
import { recordKey, segmentEntries, segmentOfEntry, userKeyOfEntry } from './layout.js';
import { lookUp, type Lookup } from './lookup.js';

const ENTRIES_AT_ONCE = 512;
/** Opening a cursor costs about as much as passing over so many entries. */
const ENTRIES_FOR_A_CURSOR = 64;
const RUNS_AT_ONCE = 4;
/** Whole records are read: so many at once, the fewer the larger they are. */
const FIRST_RECORDS = 8;
const MAX_RECORDS = 32;
const LARGE_BYTES = 256 * 1024;

/** All entries of the segments from `from` up to `until` (exclusive), in order. Rejects with a StoreError. */
export async function readSegments(
  store: Store,
  partition: number,
  from: number,
  until: number,
): Promise<readonly Uint8Array[]> {
  return (await readSome(store, partition, from, until, Infinity)).entries;
}

/** Entries of the index in order, of whole segments, up to segment `until` (exclusive). */
export interface IndexPage {
  readonly entries: readonly Uint8Array[];
  readonly until: number;
}

/** The entries of the segments from `from` on, whole segments until `enough` are found. Rejects with a StoreError. */
export function readPage(
  store: Store,
  partition: number,
  from: number,
  enough: number,
): Promise<IndexPage> {
  return readSome(store, partition, from, SEGMENTS, enough);
}

/**
 * The entries of each of these segments, which ascend. Those that lie close are read in one go, with what is between them, because
 * a cursor costs as much as some entries more; `density` is how many entries a segment has, about. Rejects with a StoreError.
 */
export async function* readScattered(
  store: Store,
  partition: number,
  segments: readonly number[],
  density: number,
): AsyncGenerator<readonly Uint8Array[], void, undefined> {
  const runs = runsOf(segments, density);
  for (let first = 0; first < runs.length; first += RUNS_AT_ONCE) {
    const some = runs.slice(first, first + RUNS_AT_ONCE);
    const read = await Promise.all(
      some.map((run) =>
        readSegments(store, partition, run[0] as number, (run.at(-1) as number) + 1),
      ),
    );
    for (let i = 0; i < some.length; i++) {
      yield* bySegment(read[i] as readonly Uint8Array[], some[i] as readonly number[]);
    }
  }
}

/** Cuts ascending segments where a gap, or the whole, is too wide to be read in one go. */
function runsOf(segments: readonly number[], density: number): readonly (readonly number[])[] {
  const runs: number[][] = [];
  for (const segment of segments) {
    const run = runs.at(-1);
    const isNear =
      run !== undefined &&
      (segment - (run.at(-1) as number)) * density <= ENTRIES_FOR_A_CURSOR &&
      (segment - (run[0] as number)) * density <= ENTRIES_AT_ONCE;
    if (isNear) run.push(segment);
    else runs.push([segment]);
  }
  return runs;
}

function* bySegment(
  entries: readonly Uint8Array[],
  segments: readonly number[],
): Generator<readonly Uint8Array[], void, undefined> {
  let at = 0;
  for (const segment of segments) {
    while (at < entries.length && segmentOfEntry(entries[at] as Uint8Array) < segment) at++;
    const from = at;
    while (at < entries.length && segmentOfEntry(entries[at] as Uint8Array) === segment) at++;
    yield entries.slice(from, at);
  }
}

async function readSome(
  store: Store,
  partition: number,
  from: number,
  until: number,
  enough: number,
): Promise<IndexPage> {
  const entries: Uint8Array[] = [];
  const cursor = store.cursor({ ...segmentEntries(partition, from, until), values: false });
  try {
    let segment = from;
    for (;;) {
      const some = await cursor.next(ENTRIES_AT_ONCE);
      if (some.length === 0) return { entries, until };
      for (const [entryKey] of some) {
        if (segmentOfEntry(entryKey) !== segment && entries.length >= enough) {
          return { entries, until: segmentOfEntry(entryKey) };
        }
        segment = segmentOfEntry(entryKey);
        entries.push(entryKey);
      }
    }
  } finally {
    await cursor.close();
  }
}

/** A key that the index names. */
export interface IndexedRecord {
  readonly entryKey: Uint8Array;
  readonly key: Uint8Array;
  readonly keyHash: number;
  /** As it lies on disk, intact or not; undefined: there is none. */
  readonly record: Lookup;
}

/** The records that these entries name, in order, read a few at a time. */
export async function* indexedRecords(
  store: Store,
  entries: readonly Uint8Array[],
): AsyncGenerator<IndexedRecord, void, undefined> {
  let atOnce = FIRST_RECORDS;
  for (let from = 0; from < entries.length;) {
    const some = entries.slice(from, from + atOnce);
    from += some.length;
    const keys = some.map(userKeyOfEntry);
    const records = await lookUp(store, keys.map(recordKey));
    let bytes = 0;
    for (const record of records) if (record instanceof Uint8Array) bytes += record.length;
    atOnce = bytes > LARGE_BYTES ? Math.ceil(atOnce / 2) : Math.min(2 * atOnce, MAX_RECORDS);
    for (let i = 0; i < some.length; i++) {
      const key = keys[i] as Uint8Array;
      yield {
        entryKey: some[i] as Uint8Array,
        key,
        keyHash: hash32(key),
        record: records[i],
      };
    }
  }
}
