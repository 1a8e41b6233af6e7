import type { BenchStore } from '../../../cli/bench/bench-run.js';
import type { Limit } from './limit.js';
import { mediansOf, Meter, type Figures, type Seen, type SystemName } from './measured.js';
import type { Row, Target, Task } from './rows.js';
import { workOf, type Work } from './work.js';

/** What a row is measured on. */
export interface System {
  readonly name: SystemName;
  readonly pids: readonly number[];
  /** Undefined: it does not do this row. */
  work(row: Row): Work | undefined;
}

/** How long and how often. */
export interface Pace {
  readonly rounds: number;
  readonly sliceMs: number;
  readonly warmUpMs: number;
}

export interface RowResult {
  readonly name: string;
  readonly about: string;
  readonly systems: Partial<Readonly<Record<SystemName, SystemResult>>>;
  readonly verdicts: readonly Verdict[];
}

export interface SystemResult {
  readonly median: Figures;
  readonly rounds: readonly Figures[];
  readonly firstError?: string;
}

/** A figure of Quorate beside what it must be. */
export interface Verdict {
  readonly what: string;
  readonly quorate: string;
  /** Absent: it stands for itself. */
  readonly other?: string;
  readonly ratio?: number;
  /** The same in each round: how far they are apart says how much the machine had to do with it. */
  readonly roundRatios?: readonly number[];
  readonly target: string;
  readonly isMet: boolean;
}

/** Lets a compaction or a collection of what the last slice left behind end before the next one begins. */
const REST_MS = 250;

export function storeSystem(
  name: SystemName,
  pids: readonly number[],
  storeFor: (task: Task) => BenchStore,
  records: number,
  openPerSecond: number | undefined,
): System {
  return {
    name,
    pids,
    work({ task }) {
      const isOpen = task.kind === 'workload' && task.isOpen === true;
      return isOpen && openPerSecond === undefined
        ? undefined
        : workOf(storeFor(task), task, records, isOpen ? openPerSecond : undefined);
    },
  };
}

export function limitSystem(limit: Limit): System {
  return {
    name: 'limit',
    pids: limit.pids,
    work: ({ targets }) =>
      targets.some(({ against }) => against === 'limit')
        ? (durationMs) => limit.measure(durationMs)
        : undefined,
  };
}

interface Lane {
  readonly row: Row;
  readonly system: System;
  readonly work: Work;
  readonly rounds: Figures[];
  firstError?: string;
}

/**
 * Each row on each system, a slice of each by turns, round after round, so that what else the machine does hits all alike.
 * Within a row the order of the systems turns with the rounds: none always follows the same one.
 */
export async function measureRows(
  rows: readonly Row[],
  systems: readonly System[],
  { rounds, sliceMs, warmUpMs }: Pace,
  ours: () => readonly number[],
  tell: (progress: string) => void,
): Promise<RowResult[]> {
  const lanes = rows.map((row) =>
    systems.flatMap((system): Lane[] => {
      const work = system.work(row);
      return work === undefined ? [] : [{ row, system, work, rounds: [] }];
    }),
  );
  for (let round = 0; round < rounds; round++) {
    for (const ofRow of lanes) {
      for (let turn = 0; turn < ofRow.length; turn++) {
        const lane = ofRow[(turn + round) % ofRow.length] as Lane;
        tell(`round ${round + 1} of ${rounds}: ${lane.row.name} on ${lane.system.name}`);
        if (round === 0) await lane.work(warmUpMs);
        await rest();
        const { name, pids } = lane.system;
        const meter = new Meter(pids, name === 'limit' ? undefined : process.pid, ours);
        const { figures, seen } = await meter.around(() => lane.work(sliceMs));
        lane.rounds.push(figures);
        keepError(lane, seen);
      }
    }
  }
  return lanes.flatMap((ofRow) => (ofRow[0] === undefined ? [] : [resultOf(ofRow[0].row, ofRow)]));
}

function keepError(lane: Lane, { firstError }: Seen): void {
  if (firstError !== undefined) lane.firstError ??= firstError;
}

function resultOf(row: Row, lanes: readonly Lane[]): RowResult {
  const systems: Partial<Record<SystemName, SystemResult>> = {};
  for (const { system, rounds, firstError } of lanes) {
    systems[system.name] = {
      median: mediansOf(rounds),
      rounds,
      ...(firstError !== undefined && { firstError }),
    };
  }
  const verdicts = row.targets.flatMap((target) => verdictOf(target, systems) ?? []);
  return { name: row.name, about: row.about, systems, verdicts };
}

const WORDS = { perSecond: 'ops/s', p50Ms: 'p50', p99Ms: 'p99' } as const;

function verdictOf(
  { against, of, bound }: Target,
  systems: RowResult['systems'],
): Verdict | undefined {
  const own = systems.quorate?.median[of];
  const other = systems[against]?.median[of];
  const others = systems[against]?.rounds ?? [];
  const roundRatios = systems.quorate?.rounds.map(
    (figures, round) => (figures[of] ?? Number.NaN) / (others[round]?.[of] ?? Number.NaN),
  );
  if (own === undefined || other === undefined) return undefined;
  const ratio = own / other;
  const isWithin = 'atLeast' in bound ? ratio >= bound.atLeast : ratio <= bound.atMost;
  // What fails is quick, and what finds nothing too: a row with either proves nothing.
  const isSound = [systems.quorate, systems[against]].every(
    (result) => result?.median.errors === 0 && result.median.missing === 0,
  );
  const show = (value: number) =>
    of === 'perSecond' ? Math.round(value).toLocaleString('en-US') : `${value.toFixed(2)} ms`;
  return {
    what: `${WORDS[of]} against ${against}`,
    quorate: show(own),
    other: show(other),
    ratio,
    ...(roundRatios !== undefined && { roundRatios }),
    target: 'atLeast' in bound ? `at least ${bound.atLeast}` : `at most ${bound.atMost}`,
    isMet: isWithin && isSound,
  };
}

export function rest(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, REST_MS);
  });
}
