import { HashTree, SEGMENTS, segmentOf } from '../core/hash-tree.js';
import { hash32 } from '../core/hash.js';
import { compareKeys } from '../core/key-range.js';
import { partitionOf } from '../core/placement.js';
import { isIntact } from '../core/record.js';
import type { Clock } from '../io/clock.js';
import { StoreError, type Store, type StoreBatch } from '../io/store.js';
import { sleep, type Timers } from '../io/timers.js';
import type { GroupCommit } from './group-commit.js';
import type { KnownRecords } from './known-records.js';
import { ALL_RECORDS, recordKey, segmentEntryKey, segmentOfEntry, userKeyOf } from './layout.js';
import { lookUp } from './lookup.js';
import { PartitionSweep, type SweepResult } from './partition-sweep.js';
import { indexedRecords, readPage, readSegments } from './segment-index.js';

/** A step reads whole segments, and begins no further one once it has read so much: a few milliseconds of a disk. */
const STEP_RECORDS = 256;
const STEP_BYTES = 1024 * 1024;
const KEYS_AT_ONCE = 1_000;
/** Whole records are read. */
const RECORDS_AT_ONCE = 32;
/** However long a step took, as on a disk that was slow for a moment: whoever waits for the next turn is not to wait for rests. */
const MAX_REST_MS = 500;
const NO_VALUE = new Uint8Array(0);

export interface SweepOptions {
  /** Which records to take out. Default: none. */
  readonly drop?: (record: Uint8Array) => boolean;
  /** Rest between steps for as long as the last one took, within bounds. */
  readonly rests?: boolean;
}

export interface SweeperOptions {
  readonly store: Store;
  readonly commit: GroupCommit;
  readonly known: KnownRecords;
  readonly clock: Clock;
  readonly timers: Timers;
}

/**
 * Goes through the records of a partition, segment by segment, in small steps between commits: checks what the trees say of them
 * against the disk, counts them anew, and takes out what is to go. Sweeps take turns; what is mended goes between their steps.
 */
export class Sweeper {
  readonly #store: Store;
  readonly #commit: GroupCommit;
  readonly #known: KnownRecords;
  readonly #clock: Clock;
  readonly #timers: Timers;
  #last: Promise<unknown> = Promise.resolve();
  #swept = 0;
  #differed = 0;

  constructor(options: SweeperOptions) {
    this.#store = options.store;
    this.#commit = options.commit;
    this.#known = options.known;
    this.#clock = options.clock;
    this.#timers = options.timers;
  }

  /** Partitions swept so far, to the end. */
  get swept(): number {
    return this.#swept;
  }

  /** Segments that were found to differ from the disk so far, without a reason that is known. */
  get differed(): number {
    return this.#differed;
  }

  /** The last walk over all records ended with something that could not be read: {@link walkAgain}. */
  get needsWalk(): boolean {
    return this.#known.walkFailed;
  }

  /**
   * Sweeps one partition, once the trees are ready. Undefined: they are not, or no more. A segment with a record that cannot be
   * read is given the digest of the others. Rejects with a StoreError or a KvError.
   */
  sweep(partition: number, options: SweepOptions = {}): Promise<SweepResult | undefined> {
    return this.#inTurn(() => this.#sweep(partition, options));
  }

  /**
   * Puts `record` (undefined: nothing) in the place of the record of `key`, unless that can be read after all, and computes the
   * digest of its segment anew. False: the trees are not ready, and nothing was done. Rejects with a StoreError or a KvError.
   */
  async mend(key: Uint8Array, keyHash: number, record: Uint8Array | undefined): Promise<boolean> {
    const { trees } = this.#known;
    const partition = partitionOf(keyHash);
    const segment = segmentOf(keyHash);
    let isDone = false;
    await this.#commit.alone(async (batch) => {
      if (!trees.ready) return undefined;
      const [held] = await lookUp(this.#store, [recordKey(key)]);
      if (held instanceof StoreError) throw held;
      const isCorrupt = held !== undefined && !isIntact(keyHash, held);
      const now = isCorrupt ? record : held;
      if (isCorrupt) this.#overwrite(batch, key, keyHash, record);
      const disk = new HashTree();
      if (now !== undefined) disk.toggle(segment, now);
      const entries = await readSegments(this.#store, partition, segment, segment + 1);
      for await (const other of indexedRecords(this.#store, entries)) {
        if (other.record instanceof StoreError) throw other.record;
        if (other.record === undefined || compareKeys(other.key, key) === 0) continue;
        if (isIntact(other.keyHash, other.record)) disk.toggle(segment, other.record);
      }
      return () => {
        isDone = true;
        trees.setSegment(partition, segment, disk);
        this.#known.mended(key, keyHash);
      };
    });
    return isDone;
  }

  /** Has all records walked over once more: for the filter of keys, and for the trees where they are not ready. */
  walkAgain(): Promise<void> {
    return this.#commit.alone(async () => {
      this.#known.walk();
      return undefined;
    });
  }

  /**
   * For when the disk and what is known of it disagree: puts in what the index of segments lacks, and has the trees computed
   * anew from all records. Resolves when that walk has begun. Rejects with a StoreError or a KvError.
   */
  rebuild(): Promise<void> {
    return this.#inTurn(() => this.#rebuild());
  }

  async #sweep(partition: number, options: SweepOptions): Promise<SweepResult | undefined> {
    if (!this.#known.trees.ready) return undefined;
    const sweep = new PartitionSweep(partition, this.#known.trees, options.drop ?? (() => false));
    while (sweep.next < SEGMENTS) {
      const beganMs = this.#clock.monotonicMs();
      await this.#commit.alone(async (batch) =>
        sweep.isValid ? this.#step(sweep, batch) : undefined,
      );
      if (!sweep.isValid) return undefined;
      if (options.rests === true && sweep.next < SEGMENTS) {
        await sleep(this.#timers, Math.min(this.#clock.monotonicMs() - beganMs, MAX_REST_MS));
      }
    }
    const result = sweep.end();
    this.#swept += 1;
    this.#differed += result.differing;
    return result;
  }

  /** Looks at whole segments from `sweep.next` on. */
  async #step(sweep: PartitionSweep, batch: StoreBatch): Promise<() => void> {
    const { partition } = sweep;
    const { entries, until } = await readPage(this.#store, partition, sweep.next, STEP_RECORDS);
    const onDone: (() => void)[] = [];
    let to = until;
    let bytes = 0;
    let segment = -1;
    for await (const { entryKey, key, keyHash, record } of indexedRecords(this.#store, entries)) {
      if (segmentOfEntry(entryKey) !== segment && bytes >= STEP_BYTES) {
        to = segmentOfEntry(entryKey);
        break;
      }
      if (record instanceof StoreError) throw record;
      segment = segmentOfEntry(entryKey);
      bytes += record?.length ?? 0;
      if (record === undefined) {
        batch.del(entryKey);
        this.#known.foundMissing(key, keyHash);
      } else if (!isIntact(keyHash, record)) {
        this.#known.foundCorrupt(key, keyHash);
        sweep.addCorrupt(segment);
      } else if (sweep.add(segment, record)) {
        onDone.push(this.#commit.remove(batch, key, keyHash, record));
      }
    }
    return () => {
      sweep.check(to);
      for (const done of onDone) done();
      sweep.advance(to);
    };
  }

  #overwrite(batch: StoreBatch, key: Uint8Array, keyHash: number, record?: Uint8Array): void {
    const entryKey = segmentEntryKey(keyHash, key);
    if (record === undefined) {
      batch.del(recordKey(key)).del(entryKey);
    } else {
      const storeKey = recordKey(key);
      this.#known.willWrite(storeKey, keyHash);
      batch.put(storeKey, record).put(entryKey, NO_VALUE);
    }
  }

  async #rebuild(): Promise<void> {
    const cursor = this.#store.cursor({ ...ALL_RECORDS, values: false });
    try {
      for (;;) {
        const records = await cursor.next(KEYS_AT_ONCE);
        if (records.length === 0) break;
        await this.#completeIndex(records.map(([storeKey]) => userKeyOf(storeKey)));
      }
    } finally {
      await cursor.close();
    }
    await this.#commit.alone(async () => {
      this.#known.rebuild();
      return undefined;
    });
  }

  /** Puts the entries of these keys into the index where they are not there and the records still are. */
  async #completeIndex(keys: readonly Uint8Array[]): Promise<void> {
    const entries = await this.#store.getMany(keys.map((key) => segmentEntryKey(hash32(key), key)));
    const missing = keys.filter((_, i) => entries[i] === undefined);
    for (let at = 0; at < missing.length; at += RECORDS_AT_ONCE) {
      const some = missing.slice(at, at + RECORDS_AT_ONCE);
      await this.#commit.alone(async (batch) => {
        const records = await this.#store.getMany(some.map(recordKey));
        for (const [i, key] of some.entries()) {
          if (records[i] !== undefined) batch.put(segmentEntryKey(hash32(key), key), NO_VALUE);
        }
        return undefined;
      });
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }
}
