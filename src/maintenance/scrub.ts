import { PARTITIONS } from '../core/placement.js';
import type { Log } from '../io/log.js';
import type { Random } from '../io/random.js';
import type { Timers } from '../io/timers.js';
import type { LocalReplica } from '../replica/local-replica.js';

export interface ScrubOptions {
  readonly replica: LocalReplica;
  readonly timers: Timers;
  readonly random: Random;
  readonly log: Log;
  /** Between two partitions. */
  readonly everyMs: number;
}

/**
 * Reads every record again in the course of time, a partition after the other, and compares what the trees say of it: so damage
 * is found while the other replicas still have what was lost, and a tree that has gone wrong does not stay so. Begins anywhere,
 * for a node that is restarted often would else never come to the last. A replica that has forgotten is left to its refill, which
 * first completes the index that a damaged log may have lost entries of. Stops when what is given is called.
 */
export function startScrub({ replica, timers, random, log, everyMs }: ScrubOptions): () => void {
  let partition = Math.floor(random.fraction() * PARTITIONS);
  let isBusy = false;

  const scrubNext = async (): Promise<void> => {
    if (replica.sweeper.needsWalk) await replica.sweeper.walkAgain();
    if (!replica.trees.ready || replica.standing.state !== 'serving') return;
    const current = partition;
    // Also when this one cannot be read: the others are to have their turn.
    partition = (partition + 1) % PARTITIONS;
    const fields = { partition: current };
    try {
      const found = await replica.sweeper.sweep(current, { rests: true });
      if (found === undefined || found.differing === 0) return;
      log.error({ ...fields, ...found }, 'the hash trees differ from the disk and are rebuilt');
      await replica.sweeper.rebuild();
    } catch (error) {
      if (isStopped) return;
      log.warn(
        { err: error, ...fields },
        'a partition could not be checked against the disk; if this goes on and the disk is sound, stop the node and empty its data folder, and it is refilled by the others',
      );
    }
  };

  let isStopped = false;
  const cancel = timers.every(everyMs, () => {
    if (isBusy) return;
    isBusy = true;
    scrubNext()
      // The disk takes nothing, and says so elsewhere.
      .catch(() => {})
      .finally(() => {
        isBusy = false;
      });
  });
  return () => {
    isStopped = true;
    cancel();
  };
}
