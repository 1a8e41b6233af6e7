/** How many replicas, and which, a request needs before it is answered. */
export const CONSISTENCY_LEVELS = [
  'ONE',
  'TWO',
  'THREE',
  'QUORUM',
  'ALL',
  'LOCAL_ONE',
  'LOCAL_QUORUM',
  'LINEARIZABLE',
] as const;

export type Consistency = (typeof CONSISTENCY_LEVELS)[number];

export const DEFAULT_CONSISTENCY: Consistency = 'QUORUM';

export function isConsistency(text: string): text is Consistency {
  return (CONSISTENCY_LEVELS as readonly string[]).includes(text);
}

/** True for the levels that count only replicas of the zone that the request names. */
export function isLocal(level: Consistency): boolean {
  return level === 'LOCAL_ONE' || level === 'LOCAL_QUORUM';
}

/** More than half of `replicas`: any two majorities share a replica, which is what QUORUM rests on. */
export function majority(replicas: number): number {
  return Math.floor(replicas / 2) + 1;
}

/**
 * How many of `replicas` must answer. For a local level `replicas` counts those of the zone. The answer may exceed
 * `replicas` (THREE of two): then the level cannot be met, and the request is refused before anything is sent.
 */
export function neededReplicas(level: Consistency, replicas: number): number {
  switch (level) {
    case 'ONE':
    case 'LOCAL_ONE':
      return 1;
    case 'TWO':
      return 2;
    case 'THREE':
      return 3;
    case 'ALL':
      return Math.max(replicas, 1);
    case 'QUORUM':
    case 'LOCAL_QUORUM':
    case 'LINEARIZABLE':
      return majority(replicas);
  }
}
