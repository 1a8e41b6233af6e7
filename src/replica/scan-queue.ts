import type { Clock } from '../io/clock.js';
import type { ReplicaFailure, ReplicaPage } from '../io/peer.js';
import { LATE, refused, STOPPING } from './failure.js';

/** LevelDB works on four threads, and a sync waits behind whatever has come before it: twice as many keep them busy. */
const AT_ONCE = 8;

/** What a page costs beyond its records, in records: a cursor, and a message each way. */
const PAGE_COST = 50;

/** A third of a second of work, some 400 short scans: waiting longer would spend deadlines on nothing when more comes in. */
const MAX_WAITING_COST = 40_000;

const OVERLOADED = refused('OVERLOADED', 'too many scans wait for the disk of this replica');

/** The work of one page; it never rejects for anything but a defect. */
export type PageWork = () => Promise<ReplicaPage | ReplicaFailure>;

interface Waiting {
  readonly cost: number;
  readonly deadlineMs: number;
  readonly work: PageWork;
  readonly resolve: (answer: Promise<ReplicaPage | ReplicaFailure> | ReplicaFailure) => void;
}

/**
 * Pages wait for their turn, first come first served, and are refused only when more work waits than is done in a
 * good part of a second: a burst is served a little later, and lasting overload is told at once, before anything has been done for it.
 */
export class ScanQueue {
  readonly #clock: Clock;
  readonly #waiting = new Set<Waiting>();
  readonly #underWay = new Set<Promise<unknown>>();
  #waitingCost = 0;
  #isStopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Does the work of a page of up to `limit` records in its turn. Refuses with OVERLOADED when too much waits, with
   * TIMED_OUT when its deadline (on the monotonic clock) has passed by its turn, and with UNAVAILABLE after {@link stop}.
   */
  run(
    limit: number,
    deadlineMs: number,
    work: PageWork,
  ): Promise<ReplicaPage | ReplicaFailure> | ReplicaFailure {
    if (this.#isStopped) return STOPPING;
    if (this.#underWay.size < AT_ONCE) return this.#begin(work);
    const cost = limit + PAGE_COST;
    if (this.#waitingCost + cost > MAX_WAITING_COST) return OVERLOADED;
    this.#waitingCost += cost;
    return new Promise((resolve) => {
      this.#waiting.add({ cost, deadlineMs, work, resolve });
    });
  }

  /** Refuses what waits, and resolves when what was begun has ended. Nothing is begun any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const { resolve } of this.#waiting) resolve(STOPPING);
    this.#waiting.clear();
    await Promise.allSettled(this.#underWay);
  }

  async #begin(work: PageWork): Promise<ReplicaPage | ReplicaFailure> {
    const page = work();
    this.#underWay.add(page);
    try {
      return await page;
    } finally {
      this.#underWay.delete(page);
      this.#next();
    }
  }

  /** The oldest that is not late. */
  #next(): void {
    for (const one of this.#waiting) {
      if (this.#underWay.size >= AT_ONCE) return;
      this.#waiting.delete(one);
      this.#waitingCost -= one.cost;
      const isLate = this.#clock.monotonicMs() >= one.deadlineMs;
      one.resolve(isLate ? LATE : this.#begin(one.work));
    }
  }
}
