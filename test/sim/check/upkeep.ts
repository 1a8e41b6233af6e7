import type { Evidence, Violation } from './evidence.js';

const FENCES = '(j) no fence passes a replica that is behind';
const TREES = '(k) trees say what is on the disks';

/**
 * Laws (j) and (k). When a fence is committed for the first time, no replica of its partition holds a value at or below it of
 * which another one has the tombstone. And the trees in memory are those of the disk, without the scrub having to mend them.
 */
export function checkUpkeep({ behindFences, wrongTrees }: Evidence): Violation[] {
  return [
    ...behindFences.map(({ key, problem }) => ({ law: FENCES, key, problem, entries: [] })),
    ...wrongTrees.map((problem) => ({ law: TREES, key: '', problem, entries: [] })),
  ];
}
