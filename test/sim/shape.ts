import type { Member } from '../../src/core/placement.js';
import type { Tempo } from '../../src/core/tempo.js';
import type { DiskLatency } from './disk.js';
import type { NetworkTempo } from './network.js';
import { createStream } from './seed.js';

/** What a run is made of. Drawn from the seed, except for what is asked for. */
export interface Shape {
  readonly seed: number;
  readonly nodes: number;
  readonly replication: number;
  readonly members: readonly Member[];
  readonly clients: number;
  readonly keys: readonly string[];
  /** Those of LINEARIZABLE workloads, of which only law (h) and (d) speak: what is written there gets versions of rounds. */
  readonly roundKeys: readonly string[];
  /** The mean pause of a client between two operations. */
  readonly thinkMs: number;
  readonly tempo: NetworkTempo;
  /** How often nodes do what they do by themselves: much more often than real ones, so that a short run shows it. */
  readonly upkeep: Tempo;
  readonly disk: DiskLatency;
  /** How far the machines' clocks are off, and how fast they drift: parts of a second in a second. */
  readonly skewMs: number;
  readonly driftRate: number;
  /** How long faults come. */
  readonly faultsMs: number;
  /** The mean time between two of them, and how many there may be at once. */
  readonly faultGapMs: number;
  /** How long one lasts at the most, as often each; half of that at the least. */
  readonly faultLastsMs: readonly number[];
  readonly faultsAtOnce: number;
}

export interface ShapeWish {
  readonly seed: number;
  readonly nodes?: number;
  readonly clients?: number;
  readonly faultsMs?: number;
}

/** No client waits longer for an answer. */
export const LONGEST_REQUEST_MS = 5_000;
const DEFAULT_FAULTS_MS = 15_000;
const CLIENTS = 10;

export function drawShape(wish: ShapeWish): Shape {
  const stream = createStream(wish.seed, 'shape');
  const nodes = wish.nodes ?? stream.pick([3, 3, 3, 3, 3, 3, 3, 1, 2, 4, 5]);
  const replication = stream.pick([3, 3, 3, 3, 2, 5]);
  const zones = stream.pick([1, 2, nodes, nodes]);
  const members = Array.from({ length: nodes }, (_, i) => ({
    id: `n${i + 1}`,
    address: `127.0.0.1:${7101 + i}`,
    zone: `z${(i % zones) + 1}`,
  }));
  const keyCount = stream.pick([2, 5, 12, 30]);
  return {
    seed: wish.seed,
    nodes,
    replication,
    members,
    clients: wish.clients ?? CLIENTS,
    keys: Array.from({ length: keyCount }, (_, i) => `key/${String(i).padStart(2, '0')}`),
    roundKeys: ['lin/0', 'lin/1', 'lin/2', 'mix/0', 'mix/1', 'mix/2'],
    thinkMs: stream.pick([40, 80, 160]),
    tempo: {
      delayMs: stream.pick([0.3, 1, 5, 20]),
      grainMs: stream.pick([0, 0, 0.1, 1]),
      tailChance: stream.pick([0, 0.01, 0.1]),
    },
    disk: {
      syncMs: stream.pick([0.5, 2, 10]),
      readMs: stream.pick([0.05, 0.2, 2]),
      // A real disk holds more than a simulated one: what walks over all of it takes long.
      walkMs: stream.pick([0.2, 2, 100]),
      openMs: 20,
    },
    skewMs: stream.pick([0, 20, 200]),
    upkeep: {
      gossipMs: stream.pick([300, 500, 1_000]),
      antiEntropyMs: stream.pick([200, 500, 1_000]),
      fenceEveryMs: stream.pick([300, 1_000, 3_000]),
      fenceLagMs: stream.pick([1_500, 3_000, 8_000]),
      scrubMs: stream.pick([50, 150]),
      longestRequestMs: LONGEST_REQUEST_MS,
    },
    driftRate: stream.pick([0, 0.0001, 0.001]),
    faultsMs: wish.faultsMs ?? DEFAULT_FAULTS_MS,
    faultGapMs: stream.pick([150, 400, 1_000, 2_500]),
    faultLastsMs: [200, 1_000, 3_000, 8_000],
    faultsAtOnce: stream.pick([1, 2, 3, 5]),
  };
}
