import type { Dice } from './dice.js';
import type { Distribution } from './key-chooser.js';

export const OPERATIONS = ['read', 'update', 'insert', 'scan', 'modify'] as const;
/** `modify` reads a record and writes it back changed: one operation of both. */
export type Operation = (typeof OPERATIONS)[number];

export interface Workload {
  readonly about: string;
  /** How often each comes, of 100. */
  readonly shares: Partial<Readonly<Record<Operation, number>>>;
  readonly distribution: Distribution;
  /** Whether the records are stored before the measurement. */
  readonly isLoaded: boolean;
}

/** The core workloads of YCSB (Cooper et al. 2010), and its two halves alone. */
export const WORKLOADS = {
  A: {
    about: '50 reads, 50 updates',
    shares: { read: 50, update: 50 },
    distribution: 'zipfian',
    isLoaded: true,
  },
  B: {
    about: '95 reads, 5 updates',
    shares: { read: 95, update: 5 },
    distribution: 'zipfian',
    isLoaded: true,
  },
  C: { about: 'reads', shares: { read: 100 }, distribution: 'zipfian', isLoaded: true },
  D: {
    about: '95 reads of the latest, 5 inserts',
    shares: { read: 95, insert: 5 },
    distribution: 'latest',
    isLoaded: true,
  },
  E: {
    about: '95 short scans, 5 inserts',
    shares: { scan: 95, insert: 5 },
    distribution: 'zipfian',
    isLoaded: true,
  },
  F: {
    about: '50 reads, 50 read-modify-writes',
    shares: { read: 50, modify: 50 },
    distribution: 'zipfian',
    isLoaded: true,
  },
  put: { about: 'puts', shares: { update: 100 }, distribution: 'uniform', isLoaded: false },
  get: { about: 'gets', shares: { read: 100 }, distribution: 'uniform', isLoaded: true },
} as const satisfies Record<string, Workload>;

export type WorkloadName = keyof typeof WORKLOADS;

/** Draws operations in their shares. */
export function createMix(shares: Workload['shares'], dice: Dice): () => Operation {
  const drawn: Operation[] = OPERATIONS.flatMap((operation) =>
    Array.from({ length: shares[operation] ?? 0 }, () => operation),
  );
  return () => drawn[dice.below(drawn.length)] as Operation;
}
