import {
  StoreError,
  type StoreCursor,
  type StoreEntry,
  type StoreOpener,
  type StoreRange,
} from '../../src/io/store.js';
import type { Stream } from './seed.js';
import { SimStore } from './sim-store.js';
import { bytesOf, SortedEntries, textOf } from './sorted-entries.js';

/** What a disk needs of the process that uses it: an answer that comes later, and never once the process is dead. */
export interface DiskUser {
  readonly alive: boolean;
  post(delayMs: number, action: () => void): void;
}

export interface DiskLatency {
  /** The mean of a synced commit. */
  readonly syncMs: number;
  readonly readMs: number;
  /** The next entries of a cursor. */
  readonly walkMs: number;
  readonly openMs: number;
}

/** Every put that reached the disk, at the moment it did: nobody can write there without being seen. */
export type DiskWitness = (key: Uint8Array, value: Uint8Array | undefined) => void;

/** A put, or a delete where there is no value. Keys are text of the same order. */
export type Change = readonly [key: string, value: Uint8Array | undefined];

interface Commit {
  readonly changes: readonly Change[];
  readonly sync: boolean;
  readonly resolve: () => void;
  readonly reject: (error: StoreError) => void;
}

/** However slow it is: a disk that keeps a call for longer is one that has failed. */
const LONGEST_MS = 5_000;
/** What came before is in tables. */
const LOG_BATCHES = 64;
const NO_VALUE = new Uint8Array(0);

/**
 * The disk of one machine, which outlives its processes, with LevelDB's semantics: batches are in one order and atomic, a
 * read sees a batch when its commit is done, a synced commit makes durable itself and all before it, and after a failed one
 * nothing more is taken until the store has been opened again.
 */
export class SimDisk {
  /** How many times slower than usual it is. */
  slowness = 1;
  /** No commit succeeds, and it cannot be opened. */
  full = false;
  /** How likely a commit fails. Whether it is there after all is seen when the store is opened again. */
  failureChance = 0;
  /** Called for every change that reached the disk. */
  witness: DiskWitness = () => {};
  /** How many commits a crash took apart: handed over and not to be found afterwards. */
  torn = 0;

  readonly #stream: Stream;
  readonly #latency: DiskLatency;
  #entries = new SortedEntries();
  /** What undoes each batch that is not synced, oldest first. */
  #unsynced: Change[][] = [];
  /** Handed over and not answered, oldest first. */
  #underWay: Commit[] = [];
  /** Batches whose commit failed: in the log or not. */
  #limbo: Commit[] = [];
  /** The log: what each batch since it was begun has changed, and what undoes that; oldest first. */
  #log: { readonly changes: readonly Change[]; readonly undo: readonly Change[] }[] = [];
  #damaged = false;
  #session: SimStore | undefined;
  #flipped = new Set<string>();

  constructor(stream: Stream, latency: DiskLatency) {
    this.#stream = stream;
    this.#latency = latency;
  }

  /** What a node of `user` opens. */
  opener(user: DiskUser): StoreOpener {
    return {
      open: () =>
        new Promise((resolve, reject) => {
          user.post(this.#delayMs(this.#latency.openMs), () => {
            if (this.#session !== undefined) reject(new StoreError('locked', 'it is open already'));
            else if (this.full) reject(new StoreError('full', 'no space left to open it'));
            else {
              this.#replay();
              this.#log = [];
              this.#session = new SimStore(this, user);
              resolve(this.#session);
            }
          });
        }),
      verify: () => Promise.resolve(this.#damaged ? 'damaged' : 'intact'),
      acceptDamage: () => {
        this.#damaged = false;
        return Promise.resolve();
      },
      hasRoom: () =>
        new Promise((resolve) => {
          user.post(this.#delayMs(this.#latency.readMs), () => resolve(!this.full));
        }),
    };
  }

  /**
   * The process that used it is gone. Of what it had handed over and not heard of, a prefix is there. With the power went
   * also what was not synced, or the end of it.
   */
  crash(power: boolean): void {
    let lostTail = false;
    if (power) {
      const kept = this.#stream.below(this.#unsynced.length + 1);
      lostTail = kept < this.#unsynced.length;
      for (const undo of this.#unsynced.splice(kept).reverse()) this.#change(undo);
      this.#unsynced = [];
      if (lostTail) this.#log = [];
    }
    const limbo = this.#limbo;
    const underWay = this.#underWay;
    this.#limbo = [];
    this.#underWay = [];
    this.#session = undefined;
    const written = [...limbo, ...underWay];
    const kept = lostTail ? 0 : this.#stream.below(written.length + 1);
    for (const commit of written.slice(0, kept)) this.#apply(commit.changes);
    this.torn += written.length - kept;
  }

  /** Flips one bit of one stored value among those whose keys `eligible` takes. What was there; undefined: there was none. */
  flipBit(eligible: (key: Uint8Array) => boolean): StoreEntry | undefined {
    const candidates = this.#entries
      .between('', '\u{ff}\u{ff}')
      .filter(
        ([key, value]) => value.length > 0 && !this.#flipped.has(key) && eligible(bytesOf(key)),
      );
    if (candidates.length === 0) return undefined;
    const [key, value] = this.#stream.pick(candidates);
    const damaged = Uint8Array.from(value);
    const at = this.#stream.below(damaged.length);
    damaged[at] = (damaged[at] as number) ^ (1 << this.#stream.below(8));
    this.#entries.set(key, damaged);
    this.#flipped.add(key);
    return [bytesOf(key), value];
  }

  /** Keys whose value is not what was written. */
  flippedKeys(): readonly Uint8Array[] {
    return [...this.#flipped].map(bytesOf);
  }

  isFlipped(key: Uint8Array): boolean {
    return this.#flipped.has(textOf(key));
  }

  /** Everything on it, in order, as a reader of it would find it now. */
  entries(range: StoreRange): readonly StoreEntry[] {
    return this.#entries
      .between(textOf(range.gte), textOf(range.lt))
      .map(([key, value]) => [bytesOf(key), value]);
  }

  /** A copy of what is on it; {@link restore} puts it back, or says that its log is damaged. */
  backup(): SortedEntries {
    return this.#entries.copy();
  }

  /** Replaces what is on it, as someone does who restores a folder; without `from` it is empty. Nothing may have it open. */
  restore(from = new SortedEntries(), condition: 'intact' | 'damaged' = 'intact'): void {
    this.#entries = from.copy();
    this.#damaged = condition === 'damaged';
    this.#unsynced = [];
    this.#limbo = [];
    this.#log = [];
    this.#flipped.clear();
  }

  /**
   * What would be on it if batches that were synced had got lost in the log. In the `middle`: any one, which opening passes
   * over. At the `end`: the last few; the log looks as it does after any crash then. Undefined: the log is empty.
   */
  withoutSynced(where: 'middle' | 'end', stream: Stream): SortedEntries | undefined {
    const log = this.#log;
    const lost = where === 'middle' ? 1 : Math.min(1 + stream.below(3), log.length);
    // Without the first batch of all it is no folder of a node any more, which is refused.
    const from = where === 'middle' ? 1 + stream.below(log.length) : log.length - lost;
    if (lost === 0 || from >= log.length) return undefined;
    const entries = this.#entries.copy();
    for (const { undo } of log.slice(from).reverse()) changeIn(entries, undo);
    for (const { changes } of log.slice(from + lost)) changeIn(entries, changes);
    return entries;
  }

  get(key: Uint8Array, user: DiskUser): Promise<Uint8Array | undefined> {
    return this.getMany([key], user).then(([value]) => value);
  }

  getMany(keys: readonly Uint8Array[], user: DiskUser): Promise<(Uint8Array | undefined)[]> {
    const wanted = keys.map(textOf);
    // A read looks at some moment between being asked and being answered.
    const early = this.#stream.chance(0.5) ? this.#look(wanted) : undefined;
    return new Promise((resolve) => {
      user.post(this.#delayMs(this.#latency.readMs), () => resolve(early ?? this.#look(wanted)));
    });
  }

  /** What has nothing more to read costs no walk. */
  snapshot(range: StoreRange, user: DiskUser): StoreCursor {
    const found = this.#entries.between(textOf(range.gte), textOf(range.lt));
    if (range.reverse === true) found.reverse();
    const withValues = range.values !== false;
    let at = 0;
    return {
      next: (count) =>
        new Promise((resolve) => {
          const { walkMs, readMs } = this.#latency;
          user.post(this.#delayMs(at < found.length ? walkMs : readMs), () => {
            const page = found.slice(at, at + count);
            at += page.length;
            resolve(
              page.map(([key, value]) => [
                bytesOf(key),
                withValues ? Uint8Array.from(value) : NO_VALUE,
              ]),
            );
          });
        }),
      close: () => Promise.resolve(),
    };
  }

  /** Commits are done one after another, in the order in which they were handed over. */
  commit(changes: readonly Change[], sync: boolean, user: DiskUser): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!user.alive) return;
      this.#underWay.push({ changes, sync, resolve, reject });
      if (this.#underWay.length === 1) this.#work(user);
    });
  }

  /** Resolves when nothing is under way any more, and lets go of the disk. */
  close(user: DiskUser): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.#underWay.length > 0) {
          user.post(1, look);
          return;
        }
        this.#session = undefined;
        resolve();
      };
      look();
    });
  }

  sizeBytes(): number {
    return this.#entries.sizeBytes();
  }

  /** What a reader would find under the key, or find after the power failed now. */
  holds(key: Uint8Array): Uint8Array | undefined {
    return this.#entries.get(textOf(key));
  }

  #work(user: DiskUser): void {
    const first = this.#underWay[0];
    if (first === undefined) return;
    const meanMs = first.sync ? this.#latency.syncMs : this.#latency.readMs;
    user.post(this.#delayMs(meanMs), () => {
      this.#underWay.shift();
      const error = this.#complete(first);
      if (error === undefined) first.resolve();
      else first.reject(error);
      this.#work(user);
    });
  }

  #complete(commit: Commit): StoreError | undefined {
    if (this.#limbo.length > 0) return new StoreError('failed', 'a commit before it failed');
    if (this.full) {
      this.#limbo.push(commit);
      return new StoreError('full', 'no space left on the disk');
    }
    if (this.#stream.chance(this.failureChance)) {
      this.#limbo.push(commit);
      return new StoreError('failed', 'the sync failed');
    }
    const undo = this.#apply(commit.changes);
    if (commit.sync) this.#unsynced = [];
    else this.#unsynced.push(undo);
    return undefined;
  }

  /** What opening does with the log: of the batches whose commit failed, a prefix is there after all, and durable. */
  #replay(): void {
    const kept = this.#stream.below(this.#limbo.length + 1);
    for (const commit of this.#limbo.splice(0, kept)) this.#apply(commit.changes);
    this.#limbo = [];
    this.#unsynced = [];
  }

  #apply(changes: readonly Change[]): Change[] {
    const undo: Change[] = [];
    for (const [key, value] of changes) {
      undo.push([key, this.#entries.get(key)]);
      this.witness(bytesOf(key), value);
    }
    this.#change(changes);
    undo.reverse();
    this.#log.push({ changes, undo });
    if (this.#log.length > LOG_BATCHES) this.#log.shift();
    return undo;
  }

  #change(changes: readonly Change[]): void {
    for (const [key] of changes) this.#flipped.delete(key);
    changeIn(this.#entries, changes);
  }

  #look(keys: readonly string[]): (Uint8Array | undefined)[] {
    return keys.map((key) => {
      const value = this.#entries.get(key);
      return value === undefined ? undefined : Uint8Array.from(value);
    });
  }

  #delayMs(meanMs: number): number {
    const delayMs = (meanMs / 2 + this.#stream.exponential(meanMs / 2)) * this.slowness;
    return Math.min(delayMs, LONGEST_MS);
  }
}

function changeIn(entries: SortedEntries, changes: readonly Change[]): void {
  for (const [key, value] of changes) {
    if (value === undefined) entries.delete(key);
    else entries.set(key, value);
  }
}
