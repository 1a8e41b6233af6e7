import type { Log } from '../io/log.js';
import type { Store, StoreBatch } from '../io/store.js';
import type { CancelTimer, Timers } from '../io/timers.js';
import { HintSaver } from './hint-saver.js';
import { ALL_HINTS, partsOfHint } from './layout.js';
import { markOf, OwedKeys, type Mark } from './owed-keys.js';

const LOAD_MARKS = 1_000;
const RETRY_MS = 1_000;
const LOAD_TRIES = 10;

export interface HintBounds {
  /** The most keys that one target is owed. */
  readonly marksPerTarget: number;
  /** The most memory that all marks take, about. */
  readonly bytes: number;
}

const DEFAULT_HINT_BOUNDS: HintBounds = {
  marksPerTarget: 250_000,
  bytes: 64 * 1024 * 1024,
};

/** What a mark takes in memory beside its bytes: short keys are many. */
const MARK_BYTES = 64;

export interface HintsOptions {
  /** Read from, once. */
  readonly store: Store;
  /** Adds to the next synced batch; see {@link GroupCommit.change}. */
  readonly change: (fill: (batch: StoreBatch) => void) => Promise<void>;
  readonly timers: Timers;
  readonly log: Log;
  readonly bounds?: HintBounds;
}

export interface HintsStatus {
  /** Targets that are owed something. */
  readonly owed: readonly { readonly nodeId: string; readonly keys: number }[];
  /** Marks removed because the target had the key. */
  readonly delivered: number;
  /** Marks given up or never made: beyond the bounds, or of a record that cannot be had. Anti-entropy does what is left. */
  readonly dropped: number;
}

/**
 * Which keys other replicas are owed: a hint is a mark and not a copy of the value (DESIGN section 7), so what it costs grows
 * with the distinct keys missed and not with the writes. Marks are in memory, and on disk a moment later; those on disk are
 * loaded in the background when the replica is opened, and nothing is delivered before they are. A disk that fails is tried
 * again, and nothing here fails with it.
 */
export class Hints {
  readonly #options: HintsOptions;
  readonly #bounds: HintBounds;
  readonly #targets = new Map<string, OwedKeys>();
  /** Targets of which the log has been told that they are owed more than is kept. */
  readonly #overflowing = new Set<string>();
  readonly #saver: HintSaver;
  #bytes = 0;
  #delivered = 0;
  #dropped = 0;
  #isLoaded = false;
  #loading: Promise<void>;
  #cancelLoad: CancelTimer | undefined;
  #isStopping = false;

  /** The store holds the hints of the runs before, and nobody else changes those. */
  constructor(options: HintsOptions) {
    this.#options = options;
    this.#saver = new HintSaver({ ...options, targets: this.#targets });
    this.#bounds = options.bounds ?? DEFAULT_HINT_BOUNDS;
    this.#loading = this.#load(1);
  }

  /** How many keys are owed, to all. */
  get owed(): number {
    let owed = 0;
    for (const keys of this.#targets.values()) owed += keys.size;
    return owed;
  }

  /** How many keys this node is owed. */
  owedTo(nodeId: string): number {
    return this.#targets.get(nodeId)?.size ?? 0;
  }

  /** The nodes that are owed something. */
  targets(): string[] {
    return [...this.#targets].filter(([, keys]) => keys.size > 0).map(([nodeId]) => nodeId);
  }

  status(): HintsStatus {
    return {
      owed: this.targets().map((nodeId) => ({ nodeId, keys: this.#of(nodeId).size })),
      delivered: this.#delivered,
      dropped: this.#dropped,
    };
  }

  isOwed(nodeId: string, key: Uint8Array): boolean {
    return this.#targets.get(nodeId)?.has(markOf(key)) ?? false;
  }

  /** The target has missed the key. On disk within moments, and after a crash before that it is anti-entropy's to find. */
  mark(nodeId: string, key: Uint8Array): void {
    const mark = markOf(key);
    if (this.#add(nodeId, mark)) this.#unsave(nodeId, mark);
  }

  /** The same for many keys. Resolves when the marks that were made are synced; rejects with a KvError when they may not be. */
  async markDurably(nodeId: string, keys: readonly Uint8Array[]): Promise<void> {
    const marks = keys.map(markOf);
    for (const mark of marks) this.#add(nodeId, mark);
    try {
      await this.#options.change((batch) => this.#saver.write(batch, nodeId, marks));
    } catch (error) {
      for (const mark of marks) this.#unsave(nodeId, mark);
      throw error;
    }
  }

  /** A key that is owed, to be sent now. It is to be settled, dropped or given back. Undefined: there is none. */
  take(nodeId: string): Mark | undefined {
    return this.#isLoaded ? this.#targets.get(nodeId)?.take() : undefined;
  }

  /** The target has it. */
  settle(nodeId: string, mark: Mark): void {
    if (this.#end(nodeId, mark)) this.#delivered++;
  }

  /** It cannot be delivered, ever. */
  drop(nodeId: string, mark: Mark): void {
    if (this.#end(nodeId, mark)) this.#dropped++;
  }

  /** It was not delivered this time. */
  giveBack(nodeId: string, mark: Mark): void {
    this.#targets.get(nodeId)?.giveBack(mark);
  }

  /** The node is owed nothing: it is no member. */
  forsake(nodeId: string): void {
    if (!this.#isLoaded) return;
    for (const mark of this.#targets.get(nodeId)?.clear() ?? []) {
      this.#bytes -= bytesOf(mark);
      this.#dropped++;
      this.#unsave(nodeId, mark);
    }
  }

  /** Saves what is not saved, unless the disk fails. Nothing is saved afterwards. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#cancelLoad?.();
    await this.#loading;
    await this.#saver.stop();
  }

  #of(nodeId: string): OwedKeys {
    let keys = this.#targets.get(nodeId);
    if (keys === undefined) {
      keys = new OwedKeys();
      this.#targets.set(nodeId, keys);
    }
    return keys;
  }

  /** True: it was not owed before. */
  #add(nodeId: string, mark: Mark): boolean {
    const keys = this.#of(nodeId);
    const isFull =
      keys.size >= this.#bounds.marksPerTarget || this.#bytes + bytesOf(mark) > this.#bounds.bytes;
    if (isFull && !keys.has(mark)) {
      this.#dropped++;
      this.#tellOverflow(nodeId, keys.size);
      return false;
    }
    const isNew = keys.add(mark);
    if (isNew) this.#bytes += bytesOf(mark);
    return isNew;
  }

  #tellOverflow(nodeId: string, keys: number): void {
    if (this.#overflowing.has(nodeId)) return;
    this.#overflowing.add(nodeId);
    this.#options.log.warn(
      { peer: nodeId, keys },
      `${nodeId} has missed more keys than hints are kept of; the rest is found by comparing with it when it is back`,
    );
  }

  /** False: it is owed still. */
  #end(nodeId: string, mark: Mark): boolean {
    const keys = this.#targets.get(nodeId);
    if (keys?.settle(mark) !== true) return false;
    if (keys.size === 0) this.#overflowing.delete(nodeId);
    this.#bytes -= bytesOf(mark);
    this.#unsave(nodeId, mark);
    return true;
  }

  #unsave(nodeId: string, mark: Mark): void {
    this.#of(nodeId).unsave(mark);
    this.#saver.saveSoon();
  }

  async #load(tries: number): Promise<void> {
    const { timers, log } = this.#options;
    try {
      await this.#loadAll();
    } catch (error) {
      log.warn({ err: error }, 'the hints on disk cannot be read');
      if (tries < LOAD_TRIES && !this.#isStopping) {
        this.#cancelLoad = timers.after(RETRY_MS, () => {
          this.#loading = this.#load(tries + 1);
        });
        return;
      }
    }
    this.#isLoaded = true;
  }

  /** What a try before has read is here already. Nothing is delivered meanwhile, so nothing that is read is settled. */
  async #loadAll(): Promise<void> {
    const cursor = this.#options.store.cursor({ ...ALL_HINTS, values: false });
    try {
      while (!this.#isStopping) {
        const entries = await cursor.next(LOAD_MARKS);
        if (entries.length === 0) return;
        for (const [storeKey] of entries) this.#loadOne(storeKey);
      }
    } finally {
      await cursor.close();
    }
  }

  #loadOne(storeKey: Uint8Array): void {
    const parts = partsOfHint(storeKey);
    // Nobody wrote that, and nobody will miss it.
    if (parts === undefined) return;
    const nodeId = markOf(parts.target);
    const mark = markOf(parts.userKey);
    // Beyond the bounds, which were wider once: it goes from the disk.
    if (!this.#add(nodeId, mark) && !this.#of(nodeId).has(mark)) this.#unsave(nodeId, mark);
  }
}

function bytesOf(mark: Mark): number {
  return MARK_BYTES + mark.length;
}
