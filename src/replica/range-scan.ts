import { hash32 } from '../core/hash.js';
import { KeyRecord } from '../core/key-record.js';
import { hasPartition, PARTITION_SET_BYTES } from '../core/partition-set.js';
import { partitionOf } from '../core/placement.js';
import { headOf, isIntact } from '../core/record.js';
import { digestOfRecords } from '../core/scan-digest.js';
import type { Clock } from '../io/clock.js';
import type { ReplicaFailure, ReplicaPage, ReplicaScan } from '../io/peer.js';
import { StoreError, type Store, type StoreEntry } from '../io/store.js';
import { describeStoreError, LATE, refused } from './failure.js';
import type { FenceTable } from './fence-table.js';
import { recordRange, userKeyOf } from './layout.js';

/** A page looks at no more entries than this many for each that it may answer, and the constant. */
const LOOKS_PER_ENTRY = 4;
const LOOKS_AT_LEAST = 1_024;

/** Entries taken from the store at once, so that the event loop and the deadline get their turn. */
const ENTRIES_AT_ONCE = 1_024;

/**
 * One page of a range. Bounded by the work done as well as by what is found: a range full of other partitions' keys costs
 * no more than a page, and the page says how far it has come.
 */
export async function scanPage(
  store: Store,
  request: ReplicaScan,
  fences: FenceTable,
  clock: Clock,
  deadlineMs: number,
): Promise<ReplicaPage | ReplicaFailure> {
  const problem = checkScan(request);
  if (problem !== undefined) return refused('INVALID_ARGUMENT', problem);
  try {
    const cursor = store.cursor({
      ...recordRange(request.gte, request.lt),
      reverse: request.reverse,
    });
    try {
      const page = new PageFiller(request, fences);
      let count = Math.min(request.limit + 1, ENTRIES_AT_ONCE);
      for (;;) {
        if (clock.monotonicMs() >= deadlineMs) return LATE;
        const entries = await cursor.next(Math.min(count, page.looksLeft));
        count = ENTRIES_AT_ONCE;
        if (entries.length === 0) return page.end();
        for (const entry of entries) {
          if (!page.look(entry)) return page.stop();
        }
        if (page.looksLeft === 0) return page.stop();
      }
    } finally {
      await cursor.close();
    }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return refused('STORE_FAILED', describeStoreError(error));
  }
}

function checkScan(request: ReplicaScan): string | undefined {
  if (request.limit < 1) return `limit: ${request.limit}, the least is 1`;
  if (request.partitions.length !== PARTITION_SET_BYTES)
    return `partitions: not ${PARTITION_SET_BYTES} bytes`;
  if (request.whole.length !== PARTITION_SET_BYTES)
    return `whole: not ${PARTITION_SET_BYTES} bytes`;
  return undefined;
}

class PageFiller {
  readonly #request: ReplicaScan;
  readonly #fences: FenceTable;
  readonly #entries: KeyRecord[] = [];
  readonly #corrupt: Uint8Array[] = [];
  #bytes = 0;
  #lastKey: Uint8Array | undefined;
  looksLeft: number;

  constructor(request: ReplicaScan, fences: FenceTable) {
    this.#request = request;
    this.#fences = fences;
    this.looksLeft = LOOKS_PER_ENTRY * request.limit + LOOKS_AT_LEAST;
  }

  /** False when the page is full, and the entry was not looked at. */
  look([storeKey, stored]: StoreEntry): boolean {
    if (this.#entries.length >= this.#request.limit) return false;
    const key = userKeyOf(storeKey);
    const keyHash = hash32(key);
    const partition = partitionOf(keyHash);
    if (hasPartition(this.#request.partitions, partition)) {
      if (!isIntact(keyHash, stored)) {
        this.#corrupt.push(key);
      } else if (!this.#fences.hides(keyHash, stored)) {
        const record = hasPartition(this.#request.whole, partition) ? stored : headOf(stored);
        const bytes = key.length + record.length;
        if (this.#entries.length > 0 && this.#bytes + bytes > this.#request.maxBytes) return false;
        this.#entries.push(new KeyRecord(key, record));
        this.#bytes += bytes;
      }
    }
    this.#lastKey = key;
    this.looksLeft -= 1;
    return true;
  }

  /** There is no more of the range. */
  end(): ReplicaPage {
    const entries = this.#entries;
    const corrupt = this.#corrupt;
    return this.#request.asDigest
      ? { kind: 'page', entries: [], digest: digestOfRecords(entries), corrupt }
      : { kind: 'page', entries, corrupt };
  }

  /** There may be more. Something has been looked at by then: a page has room for one entry at least. */
  stop(): ReplicaPage {
    return { ...this.end(), scannedTo: this.#lastKey as Uint8Array };
  }
}
