import type { RunWish } from './run.js';

/**
 * A failure that the simulation found, and that is mended: what was wrong, and runs that showed it. What a seed means changes
 * with the simulation, so the wish is narrow and there are several seeds: most of them would show it again.
 */
export interface Scenario {
  readonly name: string;
  readonly story: string;
  readonly seeds: readonly number[];
  readonly wish: Omit<RunWish, 'seed'>;
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'a read that misses its level while a replica was not asked',
    story: 'The coordinator looked for the answer of the replica that it had not asked, and threw.',
    seeds: [1, 2, 8, 11],
    wish: {
      nodes: 3,
      faultsMs: 6_000,
      faults: ['disk-full', 'isolate', 'drop'],
      workloads: ['levels', 'deletes'],
      shape: { replication: 3, faultGapMs: 200, faultsAtOnce: 3, thinkMs: 30 },
    },
  },
  {
    name: 'a write after a scan is stamped above what the scan read',
    story: 'The SDK observed the versions of gets and not those of scans.',
    seeds: [1, 2, 3],
    wish: { nodes: 3, faultsMs: 4_000, faults: ['skew'], workloads: ['scans'] },
  },
];
