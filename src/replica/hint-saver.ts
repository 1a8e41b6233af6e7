import type { StoreBatch } from '../io/store.js';
import type { CancelTimer, Timers } from '../io/timers.js';
import { hintKey } from './layout.js';
import { keyOfMark, type Mark, type OwedKeys } from './owed-keys.js';

/** Marks wait this long for others, and for the commit of some write to go with. */
const GATHER_MS = 10;
/** Marks in one batch: it is a foreground commit's too, and each mark makes that some microseconds longer. */
const BATCH_MARKS = 256;
const RETRY_MS = 1_000;

const NO_VALUE = new Uint8Array(0);

export interface HintSaverOptions {
  /** Adds to the next synced batch; see {@link GroupCommit.change}. */
  readonly change: (fill: (batch: StoreBatch) => void) => Promise<void>;
  readonly timers: Timers;
  /** What each target is owed, and which of that the disk does not know yet. */
  readonly targets: ReadonlyMap<string, OwedKeys>;
}

/** Brings the hints on disk up to those in memory, many at once. A disk that fails is tried again. */
export class HintSaver {
  readonly #options: HintSaverOptions;
  #cancelTimer: CancelTimer | undefined;
  #saving: Promise<void> | undefined;
  /** Nothing is saved before the timer says so. */
  #isFailing = false;
  #isStopping = false;

  constructor(options: HintSaverOptions) {
    this.#options = options;
  }

  /** Saves what is not saved, unless the disk fails. Nothing is saved afterwards. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#cancelTimer?.();
    await this.#saving;
    if (this.#unsaved > 0) await this.#save(1).catch(() => {});
  }

  get #unsaved(): number {
    let unsaved = 0;
    for (const keys of this.#options.targets.values()) unsaved += keys.unsaved;
    return unsaved;
  }

  /** To be called when a mark is unsaved. */
  saveSoon(): void {
    if (this.#saving !== undefined || this.#isFailing || this.#isStopping) return;
    if (this.#unsaved >= BATCH_MARKS) this.#startSaving();
    else this.#cancelTimer ??= this.#options.timers.after(GATHER_MS, () => this.#startSaving());
  }

  #startSaving(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#saving = this.#saveGathered();
  }

  async #saveGathered(): Promise<void> {
    try {
      await this.#save(BATCH_MARKS);
      this.#isFailing = false;
    } catch {
      // The disk fails, and says so elsewhere. What was not saved is unsaved again, and tried again.
      this.#isFailing = true;
    }
    this.#saving = undefined;
    if (this.#isStopping) return;
    if (this.#isFailing) {
      this.#cancelTimer = this.#options.timers.after(RETRY_MS, () => this.#startSaving());
    } else if (this.#unsaved > 0) {
      this.saveSoon();
    }
  }

  /** Saves a batch, and others while at least `least` marks are unsaved. */
  async #save(least: number): Promise<void> {
    do await this.#saveBatch();
    while (this.#unsaved >= least);
  }

  async #saveBatch(): Promise<void> {
    const taken: (readonly [string, Mark[]])[] = [];
    try {
      await this.#options.change((batch) => {
        let room = BATCH_MARKS;
        for (const [nodeId, keys] of this.#options.targets) {
          const marks = keys.takeUnsaved(room);
          room -= marks.length;
          taken.push([nodeId, marks]);
          this.write(batch, nodeId, marks);
        }
      });
    } catch (error) {
      for (const [nodeId, marks] of taken)
        for (const mark of marks) this.#options.targets.get(nodeId)?.unsave(mark);
      throw error;
    }
  }

  /** Brings the disk up to what is owed when the batch is put together, so the order of batches is the order of changes. */
  write(batch: StoreBatch, nodeId: string, marks: readonly Mark[]): void {
    const target = Buffer.from(nodeId, 'latin1');
    const keys = this.#options.targets.get(nodeId);
    for (const mark of marks) {
      const storeKey = hintKey(target, keyOfMark(mark));
      if (keys?.has(mark) === true) batch.put(storeKey, NO_VALUE);
      else batch.del(storeKey);
    }
  }
}
