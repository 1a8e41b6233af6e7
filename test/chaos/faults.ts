import { kill, pause, resume, start } from '../../cluster/lifecycle.js';
import { delay, heal, partition, skew } from '../../cluster/network.js';
import { processOf, type NodeView } from '../../cluster/node-view.js';
import { existingState, type Workplace } from '../../cluster/workplace.js';
import type { Stream } from '../sim/seed.js';

/** The nodes that faults befall, through the modules of the cluster script. */
export interface Victims {
  readonly at: Workplace;
  readonly ids: readonly string[];
  /** How far clocks are set off at the most, either way. */
  readonly maxSkewMs: number;
}

/** A fault that lasts until `end`, with a few words on it. */
export interface Fault {
  readonly what: string;
  end(): Promise<void>;
}

/** Undefined: there is no node that it could befall now. Rejects with KvError or Problem where a node cannot be told. */
type Begin = (victims: Victims, stream: Stream) => Promise<Fault | undefined>;

/** From what a coordinator lets pass to far beyond what a healthy node may have. */
const SKEWS_MS = [100, 300, 450, 800, 2_000, 15_000, 60_000, 300_000];
const DELAYS_MS = [5, 20, 80, 250];

function conditionOf({ at }: Victims, id: string): NodeView['process'] {
  return processOf(existingState(at), id);
}

function pickRunning(victims: Victims, stream: Stream): string | undefined {
  const running = victims.ids.filter((id) => conditionOf(victims, id) === 'running');
  return running.length === 0 ? undefined : stream.pick(running);
}

async function killSome(victims: Victims, ids: readonly string[]): Promise<Fault> {
  await kill(victims.at, ids);
  return { what: `${ids.join(', ')} killed`, end: () => startAgain(victims, ids) };
}

/** Waits for nobody: others may be down or cut off. */
async function startAgain(victims: Victims, ids: readonly string[]): Promise<void> {
  const gone = ids.filter((id) => conditionOf(victims, id) === 'killed');
  if (gone.length > 0) await start(victims.at, gone, { wait: false });
}

async function cutOff(victims: Victims, stream: Stream, oneWay: boolean): Promise<Fault> {
  const [id = '', other = ''] = stream.shuffled(victims.ids);
  const from = stream.chance(0.3) ? [other] : [];
  await partition(victims.at, [id], { from, oneWay });
  const how = oneWay ? 'hears nothing of' : 'cut off from';
  return { what: `${id} ${how} ${from[0] ?? 'the others'}`, end: () => heal(victims.at) };
}

export const FAULTS = {
  kill: async (victims, stream) => {
    const id = pickRunning(victims, stream);
    return id === undefined ? undefined : killSome(victims, [id]);
  },

  /** All at once, as when the power of a rack goes; what they had handed to the system is there. */
  'kill all': async (victims) => {
    const there = victims.ids.filter((id) =>
      ['running', 'paused'].includes(conditionOf(victims, id)),
    );
    return killSome(victims, there);
  },

  pause: async (victims, stream) => {
    const id = pickRunning(victims, stream);
    if (id === undefined) return undefined;
    pause(victims.at, [id]);
    return { what: `${id} paused`, end: async () => resumeIfPaused(victims, id) };
  },

  partition: (victims, stream) => cutOff(victims, stream, false),

  'one-way partition': (victims, stream) => cutOff(victims, stream, true),

  skew: async (victims, stream) => {
    const id = pickRunning(victims, stream);
    if (id === undefined) return undefined;
    const skewMs =
      stream.pick(SKEWS_MS.filter((ms) => ms <= victims.maxSkewMs)) * (stream.chance(0.5) ? 1 : -1);
    await skew(victims.at, id, skewMs);
    return { what: `${id} off by ${skewMs} ms`, end: () => setRight(victims, id) };
  },

  delay: async (victims, stream) => {
    const id = pickRunning(victims, stream);
    if (id === undefined) return undefined;
    const delayMs = stream.pick(DELAYS_MS);
    await delay(victims.at, id, delayMs);
    return { what: `${id} slower by ${delayMs} ms`, end: () => heal(victims.at) };
  },
} as const satisfies Record<string, Begin>;

export type FaultName = keyof typeof FAULTS;
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

/** Ends whatever is left of all faults. To be tried again when a node cannot be told yet. */
export async function endAll(victims: Victims): Promise<void> {
  for (const id of victims.ids) resumeIfPaused(victims, id);
  await startAgain(victims, victims.ids);
  await heal(victims.at);
  for (const id of victims.ids) await skew(victims.at, id, 0);
}

function resumeIfPaused(victims: Victims, id: string): void {
  if (conditionOf(victims, id) === 'paused') resume(victims.at, [id]);
}

/** What a node was told ends with its process. */
async function setRight(victims: Victims, id: string): Promise<void> {
  if (conditionOf(victims, id) === 'running') await skew(victims.at, id, 0);
}
