import { HashTree } from '../core/hash-tree.js';
import type { Recount, Trees } from './trees.js';

export interface SweepResult {
  /** Records that can be read and were kept. */
  readonly records: number;
  /** Records that were taken out. */
  readonly dropped: number;
  /** Records that cannot be read; the replica remembers their keys. */
  readonly corrupt: number;
  /** Segments whose digest is not that of what is on disk, though all of them can be read. */
  readonly differing: number;
}

/** What a sweep has found so far. */
export class PartitionSweep {
  readonly partition: number;
  /** The first segment that has not been looked at. */
  next = 0;
  readonly #trees: Trees;
  readonly #drop: (record: Uint8Array) => boolean;
  readonly #recount: Recount;
  /** What is on disk. */
  readonly #disk = new HashTree();
  readonly #corrupt = new Set<number>();
  #records = 0;
  #dropped = 0;
  #corruptRecords = 0;
  #differing = 0;

  constructor(partition: number, trees: Trees, drop: (record: Uint8Array) => boolean) {
    this.partition = partition;
    this.#trees = trees;
    this.#drop = drop;
    this.#recount = trees.recount(partition);
  }

  /** A record that can be read. True: it is to go. */
  add(segment: number, record: Uint8Array): boolean {
    this.#disk.toggle(segment, record);
    const goes = this.#drop(record);
    if (goes) {
      this.#dropped += 1;
    } else {
      this.#records += 1;
      this.#recount.add(record);
    }
    return goes;
  }

  addCorrupt(segment: number): void {
    this.#corrupt.add(segment);
    this.#corruptRecords += 1;
  }

  /** All records of the segments up to this one have been added. To be called before those that go are out of the trees. */
  check(until: number): void {
    for (let segment = this.next; segment < until; segment++) {
      if (this.#trees.hasSegment(this.partition, segment, this.#disk)) continue;
      if (this.#corrupt.has(segment)) this.#trees.setSegment(this.partition, segment, this.#disk);
      else this.#differing += 1;
    }
  }

  /** What goes from the segments up to this one is out of the trees: from now on, what changes in them is counted. */
  advance(until: number): void {
    this.next = until;
    this.#recount.countedTo(until);
  }

  /** False: the trees are being rebuilt, so what is on disk is not to be compared with them, and nothing to be set. */
  get isValid(): boolean {
    return this.#recount.isValid;
  }

  end(): SweepResult {
    this.#recount.end();
    return {
      records: this.#records,
      dropped: this.#dropped,
      corrupt: this.#corruptRecords,
      differing: this.#differing,
    };
  }
}
