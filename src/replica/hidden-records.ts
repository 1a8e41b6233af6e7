import { isHidden } from '../core/fence.js';
import { PARTITIONS } from '../core/placement.js';
import { readWallMs } from '../core/version.js';
import type { Log } from '../io/log.js';
import { StoreError } from '../io/store.js';
import type { FenceTable } from './fence-table.js';
import type { Sweeper } from './sweep.js';
import type { Trees } from './trees.js';

export interface HiddenRecordsOptions {
  readonly table: FenceTable;
  readonly trees: Trees;
  readonly sweeper: Sweeper;
  readonly log: Log;
}

/**
 * Takes off the disk what committed fences hide. Nobody sees it any more from the commit on, so this is only about room: it is
 * done in the background, in small steps, and where a crash or a failing disk ends it, it goes on with the partitions whose
 * counts say that something droppable may be left.
 */
export class HiddenRecords {
  readonly #options: HiddenRecordsOptions;
  readonly #waiting = new Set<number>();
  /** Partitions that the log has been told of. */
  readonly #unreadable = new Set<number>();
  #work: Promise<void> | undefined;
  #stopping = false;
  #dropped = 0;

  constructor(options: HiddenRecordsOptions) {
    this.#options = options;
  }

  /** How many records have gone since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  /** What the committed fence of the partition hides goes, soon. */
  drop(partition: number): void {
    if (!this.#mayHide(partition)) return;
    this.#waiting.add(partition);
    this.#work ??= this.#dropWaiting();
  }

  /** Resolves when nothing is left that the fences hide, or the disk failed. */
  async dropAll(): Promise<void> {
    for (let partition = 0; partition < PARTITIONS; partition++) this.drop(partition);
    await this.#work;
  }

  /** Begins nothing more. What is under way ends when the group commit does. */
  stop(): void {
    this.#stopping = true;
  }

  /** By the counts of the trees, which say from when on a fence could drop something. */
  #mayHide(partition: number): boolean {
    const { table, trees } = this.#options;
    const { committed } = table.of(partition);
    if (committed.length === 0 || !trees.ready || this.#stopping) return false;
    return trees.counts(partition).droppableFromMs <= readWallMs(committed, 0);
  }

  async #dropWaiting(): Promise<void> {
    const { table, sweeper, log } = this.#options;
    // Partitions that are added meanwhile are come to as well.
    for (const partition of this.#waiting) {
      this.#waiting.delete(partition);
      if (!this.#mayHide(partition)) continue;
      const { committed } = table.of(partition);
      try {
        const swept = await sweeper.sweep(partition, {
          drop: (record) => isHidden(record, committed),
        });
        this.#dropped += swept?.dropped ?? 0;
        this.#unreadable.delete(partition);
      } catch (error) {
        // A disk that takes nothing takes nothing of the others either; one that cannot be read here may be sound there.
        if (!(error instanceof StoreError)) this.#waiting.clear();
        if (this.#stopping) break;
        if (this.#unreadable.has(partition)) continue;
        if (error instanceof StoreError) this.#unreadable.add(partition);
        const message = 'records that a fence hides could not be taken off the disk yet';
        log.warn({ err: error, partition }, message);
      }
    }
    this.#work = undefined;
  }
}
