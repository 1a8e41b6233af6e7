import { isUtf8 } from 'node:buffer';
import type { Level } from 'level';
import { keyAfter } from '../core/key-range.js';
import { storeErrorOf } from './level-error.js';
import type { StoreCursor, StoreEntry, StoreRange } from './store.js';

export type Database = Level<Uint8Array, Uint8Array>;

/** A cursor reads ahead about this many bytes at once, whatever the count it is asked for. */
const CURSOR_READ_BYTES = 256 * 1024;

const NO_VALUE = new Uint8Array(0);

/** What a text has in place of bytes that are no UTF-8. */
const REPLACEMENT = '\ufffd';

type Snapshot = ReturnType<Database['snapshot']>;
/** An entry as the binding gives it; `next` makes it what the port promises. */
type GivenEntry = [key: Uint8Array | string, value: Uint8Array | string | undefined];

/**
 * A walk over a snapshot of the database. It asks for keys as text and makes bytes of them here: a buffer that the binding makes
 * costs as much as all the rest of an entry. A key that is no UTF-8 shows by the replacement character in its text; from there
 * on the walk asks for bytes, over the same snapshot.
 */
export class LevelCursor implements StoreCursor {
  readonly #database: Database;
  readonly #range: StoreRange;
  readonly #snapshot: Snapshot;
  #iterator: ReturnType<typeof iterate>;
  /** The last key that was given. */
  #last: Uint8Array | undefined;
  /** Nothing was read yet, or LevelDB has said how it went. */
  #isChecked = true;

  /** LevelDB takes the snapshot within this call. */
  constructor(database: Database, range: StoreRange) {
    this.#database = database;
    this.#range = range;
    // Bounds are handed over as keys are.
    const encoding = isUtf8(range.gte) && isUtf8(range.lt) ? 'utf8' : 'view';
    this.#snapshot = database.snapshot();
    this.#iterator = iterate(database, range, encoding, this.#snapshot);
  }

  async next(count: number): Promise<readonly StoreEntry[]> {
    try {
      const given: GivenEntry[] = await this.#iterator.nextv(count);
      this.#isChecked = given.length === 0;
      const known = finishEntries(given);
      if (known > 0) this.#last = given[known - 1]?.[0] as Uint8Array;
      if (known < given.length) {
        given.length = known;
        await this.#goOnByBytes();
        if (known === 0) return await this.next(count);
      }
      return given as StoreEntry[];
    } catch (error) {
      this.#isChecked = true;
      throw storeErrorOf(error, 'a scan failed');
    }
  }

  async close(): Promise<void> {
    try {
      await this.#check();
    } catch (error) {
      throw storeErrorOf(error, 'a scan failed');
    } finally {
      await this.#iterator.close();
      await this.#snapshot.close();
    }
  }

  async #goOnByBytes(): Promise<void> {
    await this.#check();
    await this.#iterator.close();
    const { reverse = false } = this.#range;
    const last = this.#last;
    const rest = last === undefined ? {} : reverse ? { lt: last } : { gte: keyAfter(last) };
    this.#iterator = iterate(this.#database, { ...this.#range, ...rest }, 'view', this.#snapshot);
  }

  /**
   * LevelDB steps over a block that it cannot read, and says so only when it comes to the end: so it is sent there. It reads
   * its last block on that way, and is as frank about that one.
   */
  async #check(): Promise<void> {
    if (this.#isChecked) return;
    this.#iterator.seek(this.#range.lt);
    await this.#iterator.nextv(1);
    this.#isChecked = true;
  }
}

function iterate(
  database: Database,
  range: StoreRange,
  keyEncoding: 'utf8' | 'view',
  snapshot: Snapshot,
) {
  const { values = true } = range;
  return database.iterator<Uint8Array | string, Uint8Array | string>({
    gte: range.gte,
    lt: range.lt,
    reverse: range.reverse ?? false,
    values,
    highWaterMarkBytes: CURSOR_READ_BYTES,
    keyEncoding,
    // A value that is left out comes as an empty one, and an empty text takes no buffer.
    valueEncoding: values ? 'view' : 'utf8',
    snapshot,
  });
}

/** Makes of each entry what the port promises, up to the first whose key the text does not tell; gives how many those are. */
function finishEntries(entries: GivenEntry[]): number {
  for (const [place, entry] of entries.entries()) {
    const key = entry[0];
    if (typeof key === 'string') {
      if (key.includes(REPLACEMENT)) return place;
      entry[0] = Buffer.from(key);
    }
    if (typeof entry[1] !== 'object') entry[1] = NO_VALUE;
  }
  return entries.length;
}
