import type { Consistency } from '../../../src/core/consistency.js';
import type { ReplicaPlace } from './evidence.js';

/** So many replicas, of those of one zone or of all: what a level asks for. Stated here anew, not taken from the node. */
export interface Share {
  /** Empty: all replicas of the key. */
  readonly zone: string;
  readonly count: number;
  /** How many there are to choose from. */
  readonly of: number;
}

export function shareOf(
  level: Consistency,
  zone: string,
  replicas: readonly ReplicaPlace[],
): Share {
  const all = replicas.length;
  const local = replicas.filter((place) => place.zone === zone).length;
  switch (level) {
    case 'ONE':
      return { zone: '', count: 1, of: all };
    case 'TWO':
      return { zone: '', count: 2, of: all };
    case 'THREE':
      return { zone: '', count: 3, of: all };
    case 'QUORUM':
    case 'LINEARIZABLE':
      return { zone: '', count: (all >> 1) + 1, of: all };
    case 'ALL':
      return { zone: '', count: all, of: all };
    case 'LOCAL_ONE':
      return { zone, count: 1, of: local };
    case 'LOCAL_QUORUM':
      return { zone, count: (local >> 1) + 1, of: local };
  }
}

/** Whether the two must have a replica in common, whichever ones they are. `all` is how many replicas the key has. */
export function overlap(a: Share, b: Share, all: number): boolean {
  if (a.zone !== '' && b.zone !== '' && a.zone !== b.zone) return false;
  const choice = a.zone === b.zone ? a.of : all;
  return a.count + b.count > choice;
}
