import type { Consistency } from '../../src/core/consistency.js';
import { checkAcknowledged } from './check/acknowledged.js';
import { checkEqual } from './check/equal.js';
import type { Evidence, Violation } from './check/evidence.js';
import { checkExpiry } from './check/expiry.js';
import { checkFreshness } from './check/freshness.js';
import { checkGenuine } from './check/genuine.js';
import { checkLinearizable } from './check/linearizable.js';
import { checkOutcomes } from './check/outcomes.js';
import { checkRetries } from './check/retries.js';
import { checkUpkeep } from './check/upkeep.js';
import { checkVersions } from './check/versions.js';
import type { Defect } from './defect.js';
import { defaultFaults, FAULTS, type FaultName } from './faults.js';
import { isRoundKey, type History } from './history.js';
import { createStream } from './seed.js';
import { drawShape, type Shape, type ShapeWish } from './shape.js';
import { Trace } from './trace.js';
import { WORKLOADS, type WorkloadName } from './workload.js';
import { World } from './world.js';

export interface RunWish extends ShapeWish {
  readonly faults?: readonly FaultName[];
  readonly workloads?: readonly WorkloadName[];
  readonly defect?: Defect;
  /** How many of the last steps to keep as text. Default: none. */
  readonly traceLines?: number;
  /** Reads one level as another when it judges freshness. */
  readonly countAs?: (level: Consistency) => Consistency;
  /** What else to draw differently than the seed says. */
  readonly shape?: Partial<Shape>;
}

export interface RunResult {
  readonly seed: number;
  readonly shape: Shape;
  readonly violations: readonly Violation[];
  /** Too few operations succeeded for the run to prove anything. */
  readonly isVoid: boolean;
  readonly history: History;
  readonly virtualMs: number;
  readonly events: number;
  readonly messages: number;
  /** How many operations clients began, and how many succeeded. */
  readonly operations: number;
  readonly succeeded: number;
  /** How many faults of each kind there were. */
  readonly faults: Readonly<Record<string, number>>;
  readonly traceHash: string;
  readonly trace: readonly string[];
}

/** Within this much virtual time after healing all replicas are equal. */
const CONVERGE_WITHIN_MS = 60_000;
const CONVERGE_LOOK_MS = 100;
const STOP_WITHIN_MS = 10_000;
const START_WITHIN_MS = 60_000;
/** Fewer successes before everything is healed prove nothing. */
const MIN_SUCCEEDED = 60;

/**
 * One run: start, faults under load, heal, converge, check. What comes of it depends on the wish alone.
 */
export async function run(wish: RunWish): Promise<RunResult> {
  const shape = { ...drawShape(wish), ...wish.shape };
  const trace = new Trace(wish.traceLines ?? 0);
  const names = wish.workloads ?? (Object.keys(WORKLOADS) as WorkloadName[]);
  const world = new World(shape, trace, names, wish.defect);
  const faults: Record<string, number> = {};
  const onStray = (error: unknown) => world.problem(`nobody caught: ${describe(error)}`);
  process.on('unhandledRejection', onStray);
  try {
    await world.kernel.run(() => live(world, wish.faults ?? defaultFaults(wish.seed), faults));
  } catch (error) {
    world.problem(describe(error));
  } finally {
    // Rejections that nobody caught are told of between two turns.
    await new Promise(setImmediate);
    process.off('unhandledRejection', onStray);
  }
  const history = world.recorder.history();
  const evidence = world.evidence();
  const succeeded = history.filter(({ status }) => status === 'ok');
  const underFaults = succeeded.filter(({ callMs }) => callMs < world.healedMs);
  trace.mixMs(world.kernel.nowMs);
  trace.mix(world.kernel.fired);
  return {
    seed: wish.seed,
    shape,
    violations: [
      ...world.problems.map((problem) => ({ law: 'the run', key: '', problem, entries: [] })),
      ...judge(history, evidence, wish.countAs),
    ],
    isVoid: underFaults.length < MIN_SUCCEEDED,
    history,
    virtualMs: world.kernel.nowMs,
    events: world.kernel.fired,
    messages: world.network.counts.delivered,
    operations: history.length,
    succeeded: succeeded.length,
    faults,
    traceHash: trace.hash(),
    trace: trace.lines(),
  };
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** Every law that a history has to keep. */
export function judge(
  history: History,
  evidence: Evidence,
  countAs?: (level: Consistency) => Consistency,
): Violation[] {
  const all = history;
  history = all.filter(({ key }) => !isRoundKey(key));
  evidence = { ...evidence, stored: evidence.stored.filter(({ key }) => !isRoundKey(key)) };
  return [
    ...checkAcknowledged(history, evidence),
    ...checkFreshness(history, evidence, countAs),
    ...checkGenuine(history, evidence),
    ...checkEqual(evidence),
    ...checkVersions(history, evidence),
    ...checkRetries(history, evidence),
    ...checkOutcomes(history, evidence),
    ...checkExpiry(history, evidence),
    ...checkLinearizable(all),
    ...checkUpkeep(evidence),
  ];
}

async function live(
  world: World,
  faults: readonly FaultName[],
  counts: Record<string, number>,
): Promise<void> {
  const { kernel, shape } = world;
  for (const node of world.nodes) node.start();
  await until(world, 'every node serves', START_WITHIN_MS, () =>
    world.nodes.every(({ node }) => node?.replica.standing.state === 'serving'),
  );
  const clients = Array.from({ length: shape.clients }, (_, i) => world.addClient(shape.nodes + i));
  for (const client of await Promise.all(clients)) world.employ(client);
  world.backUp();
  await bringFaults(world, faults, counts);
  world.heal(createStream(shape.seed, 'heal'));
  await kernel.sleep(1_000);
  await world.stopClients(STOP_WITHIN_MS);
  await until(world, 'every node serves again', CONVERGE_WITHIN_MS, () =>
    world.nodes.every(({ node }) => node?.replica.standing.state === 'serving'),
  );
  await converge(world);
}

/** Brings faults about, a few at once, each for a while, until their time is over. */
async function bringFaults(
  world: World,
  names: readonly FaultName[],
  counts: Record<string, number>,
): Promise<void> {
  const { kernel, shape } = world;
  const stream = createStream(shape.seed, 'faults');
  const endMs = kernel.nowMs + shape.faultsMs;
  let atOnce = 0;
  while (kernel.nowMs < endMs) {
    await kernel.sleep(Math.min(stream.exponential(shape.faultGapMs), endMs - kernel.nowMs));
    if (kernel.nowMs >= endMs || atOnce >= shape.faultsAtOnce || names.length === 0) continue;
    const name = stream.pick(names);
    const end = FAULTS[name](world, stream);
    if (end === undefined) continue;
    counts[name] = (counts[name] ?? 0) + 1;
    kernel.trace.mixText(name);
    kernel.trace.say(kernel.nowMs, '', `-- ${name}`);
    atOnce++;
    const durationMs = Math.min(stream.pick(shape.faultLastsMs), endMs - kernel.nowMs);
    kernel.schedule(stream.between(durationMs / 2, durationMs), undefined, () => {
      kernel.trace.say(kernel.nowMs, '', `-- end of ${name}`);
      atOnce--;
      end();
    });
  }
}

/** Nodes mend themselves: nothing is read before all is equal. Then every key is read at QUORUM, and all of them by a scan. */
async function converge(world: World): Promise<void> {
  const { shape } = world;
  await untilEqual(world);
  await world.askScrubs();
  const reader = await world.addClient(shape.nodes);
  for (const key of shape.keys) await reader.get(key, { level: 'QUORUM' });
  for (const key of shape.roundKeys) await reader.getValue(key, { level: 'LINEARIZABLE' });
  await reader.scan('key/', 'key0', false, 7, { level: 'QUORUM' });
  // A fence may just be reaching one node after the other: what is judged is a moment at which it has reached all.
  await untilEqual(world);
}

async function untilEqual(world: World): Promise<void> {
  const { kernel } = world;
  const healedMs = kernel.nowMs;
  for (let left = world.disagreement(); left !== ''; left = world.disagreement()) {
    if (kernel.nowMs - healedMs > CONVERGE_WITHIN_MS) {
      world.problem(`not equal ${CONVERGE_WITHIN_MS} ms after healing: ${left}`);
      return;
    }
    await kernel.sleep(CONVERGE_LOOK_MS);
  }
}

async function until(
  world: World,
  what: string,
  withinMs: number,
  holds: () => boolean,
): Promise<void> {
  const endMs = world.kernel.nowMs + withinMs;
  while (!holds()) {
    if (world.kernel.nowMs > endMs) throw new Error(`after ${withinMs} ms still not so: ${what}`);
    await world.kernel.sleep(10);
  }
}
