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
 * for a node that is restarted often would else never come to the last. Stops when what is given is called.
 */
export function startScrub({ replica, timers, random, log, everyMs }: ScrubOptions): () => void {
  let partition = Math.floor(random.fraction() * PARTITIONS);
  let isBusy = false;

  const scrubNext = async (): Promise<void> => {
    if (replica.sweeper.needsRebuild) return replica.sweeper.rebuild();
    const found = await replica.sweeper.sweep(partition, { rests: true });
    if (found === undefined) return;
    if (found.differing > 0) {
      log.error({ partition, ...found }, 'the hash trees differ from the disk and are rebuilt');
      await replica.sweeper.rebuild();
    }
    partition = (partition + 1) % PARTITIONS;
  };

  let isStopped = false;
  const cancel = timers.every(everyMs, () => {
    if (isBusy) return;
    isBusy = true;
    scrubNext()
      .catch((error: unknown) => {
        if (isStopped) return;
        log.warn({ err: error, partition }, 'a partition could not be checked against the disk');
      })
      .finally(() => {
        isBusy = false;
      });
  });
  return () => {
    isStopped = true;
    cancel();
  };
}
