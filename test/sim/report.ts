import type { Violation } from './check/evidence.js';
import { describeEntry } from './history.js';
import type { RunResult } from './run.js';
import type { Job } from './simulate.js';

/** A run in numbers, small enough to hand from one thread to another. */
export interface RunSummary {
  readonly seed: number;
  readonly nodes: number;
  readonly virtualMs: number;
  readonly events: number;
  readonly operations: number;
  readonly succeeded: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly traceHash: string;
  readonly isVoid: boolean;
  readonly violations: number;
  /** The letters of the laws that were broken; `!` for what no law speaks of, `?` for what the checker could not tell. */
  readonly laws: string;
  /** The violations for people, with what led to the first of them. Empty when there are none. */
  readonly story: string;
}

const UNDECIDED = '?';
/** How much of a trace a story tells. */
const STORY_LINES = 60;
/** What happened this long before the first operation of a violation belongs to its story. */
const BEFORE_MS = 100;
const STORY_VIOLATIONS = 5;

export function summarize(result: RunResult): RunSummary {
  return {
    seed: result.seed,
    nodes: result.shape.nodes,
    virtualMs: result.virtualMs,
    events: result.events,
    operations: result.operations,
    succeeded: result.succeeded,
    faults: result.faults,
    traceHash: result.traceHash,
    isVoid: result.isVoid,
    violations: result.violations.length,
    laws: [...new Set(result.violations.map(letterOf))].sort().join(''),
    story: result.violations.length === 0 ? '' : storyOf(result),
  };
}

function letterOf({ law }: Violation): string {
  return law.startsWith('(') ? (law[1] as string) : '!';
}

function storyOf({ violations, trace }: RunResult): string {
  const told = violations.slice(0, STORY_VIOLATIONS).map(describeViolation);
  const untold = violations.length - told.length;
  if (untold > 0) told.push(`and ${untold} more`);
  const lines = relevantLines(violations[0] as Violation, trace);
  return [...told, ...(lines.length === 0 ? [] : ['what led to the first:', ...lines])].join('\n');
}

function describeViolation({ law, key, problem, entries }: Violation): string {
  const head = `${law}${key === '' ? '' : `: ${key}`}: ${problem}`;
  return [head, ...entries.slice(0, 8).map((entry) => `    ${describeEntry(entry)}`)].join('\n');
}

/** The lines about the key, and those about nodes and faults, around the operations that show the violation. */
function relevantLines({ key, entries }: Violation, trace: readonly string[]): readonly string[] {
  const fromMs = Math.min(...entries.map((entry) => entry.callMs)) - BEFORE_MS;
  const toMs = Math.max(...entries.map((entry) => entry.returnMs));
  const ofClients = /^c\d+ /;
  const relevant = trace.filter((line) => {
    const atMs = Number.parseFloat(line);
    if (entries.length > 0 && (atMs < fromMs || atMs > toMs)) return false;
    const rest = line.slice(12);
    return key === '' || rest.includes(` ${key} `) || rest.includes('--') || !/ key\//.test(rest)
      ? !(ofClients.test(rest) && / (open|broken)/.test(rest))
      : false;
  });
  return relevant.slice(-STORY_LINES);
}

/** What became of a run that was not clean. */
export function describeFailure({ laws }: RunSummary): string {
  return laws === UNDECIDED
    ? 'could not be judged, which is a problem of the checker'
    : 'violates a law';
}

/** What to type to see the run again, with its trace. */
export function replayCommand({ seed, nodes, faultsMs, faults, defect }: Job): string {
  return [
    `npm run sim -- --seed ${seed}`,
    ...(nodes === undefined ? [] : [`--nodes ${nodes}`]),
    ...(faultsMs === undefined ? [] : [`--minutes ${faultsMs / 60_000}`]),
    ...(faults === undefined
      ? []
      : [`--faults ${faults.length === 0 ? 'none' : faults.join(',')}`]),
    ...(defect === undefined ? [] : [`--defect '${defect}'`]),
  ].join(' ');
}

/** Many runs in numbers. */
export class Totals {
  runs = 0;
  virtualMs = 0;
  operations = 0;
  succeeded = 0;
  events = 0;
  /** Promises that were not kept, and the runs in which that was so. */
  violations = 0;
  violated = 0;
  /** Runs of which the checker could not tell, whether something else was violated in them or not. */
  undecided = 0;
  isVoid = 0;
  readonly faults = new Map<string, number>();

  add(summary: RunSummary): void {
    this.runs++;
    this.virtualMs += summary.virtualMs;
    this.operations += summary.operations;
    this.succeeded += summary.succeeded;
    this.events += summary.events;
    if (summary.laws.includes(UNDECIDED)) this.undecided++;
    if (summary.violations > 0 && summary.laws !== UNDECIDED) {
      this.violations += summary.violations;
      this.violated++;
    }
    if (summary.isVoid) this.isVoid++;
    for (const [name, count] of Object.entries(summary.faults)) {
      this.faults.set(name, (this.faults.get(name) ?? 0) + count);
    }
  }

  /** Whether a law was violated, or one was not judged. */
  get failed(): boolean {
    return this.violated + this.undecided > 0;
  }

  describe(elapsedMs: number): string {
    const hours = this.virtualMs / 3_600_000;
    const faults = [...this.faults].sort(([a], [b]) => (a < b ? -1 : 1));
    const rows: readonly (readonly [string, string])[] = [
      ['seeds', `${this.runs}`],
      ['virtual cluster-hours', hours.toFixed(2)],
      ['operations', `${this.operations}, of which ${this.succeeded} succeeded`],
      ['faults', faults.map(([name, count]) => `${name} ${count}`).join(', ') || 'none'],
      ['violations', this.violated === 0 ? '0' : `${this.violations} in ${this.violated} runs`],
      ['undecided runs', `${this.undecided}`],
      ['void runs', `${this.isVoid}`],
      ['virtual seconds a second', (this.virtualMs / elapsedMs).toFixed(0)],
    ];
    return rows.map(([name, value]) => `${name.padEnd(26)}${value}`).join('\n');
  }
}
