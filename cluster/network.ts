import type { FaultSettings } from '../src/wire/reports.js';
import { formatSkew, healed, partitionCuts, withCut } from './faults.js';
import { placesOf, selectPlaces } from './layout.js';
import { processOf, withClient } from './node-view.js';
import { Problem } from './problem.js';
import type { ClusterState } from './state.js';
import { existingState, type Workplace } from './workplace.js';

type Change = (faults: FaultSettings) => FaultSettings;

export interface PartitionOptions {
  /** From these nodes; none: from all others. */
  readonly from: readonly string[];
  readonly oneWay: boolean;
}

/** Cuts nodes off. Clients still reach all of them: what they are answered is what there is to see. */
export async function partition(
  at: Workplace,
  ids: readonly string[],
  { from, oneWay }: PartitionOptions,
): Promise<void> {
  const state = existingState(at);
  const isolated = selectPlaces(state, ids).map(({ id }) => id);
  const others = selectPlaces(state, from)
    .map(({ id }) => id)
    .filter((id) => from.length > 0 || !isolated.includes(id));
  const both = isolated.find((id) => others.includes(id));
  if (both !== undefined) throw new Problem(`${both} cannot be cut off from itself.`, 2);
  if (others.length === 0) throw new Problem('There is no other node to be cut off from.', 2);
  const changes = new Map<string, Change>();
  for (const [id, cut] of partitionCuts(isolated, others, oneWay)) {
    changes.set(id, (faults) => withCut(faults, cut));
  }
  await changeFaults(at, state, changes, isolated);
  const names = isolated.join(', ');
  const rest = others.join(', ');
  at.say(
    oneWay
      ? `${names} hears nothing of ${rest}, which still hears ${names}.`
      : `${names} and ${rest} neither reach nor hear each other.`,
  );
  at.say(
    `To mend it: \`${at.script} heal\`. A node that starts again forgets its faults; the other end of a cut keeps it.`,
  );
}

/** Ends every network partition and delay. Clocks stay as they are. */
export async function heal(at: Workplace): Promise<void> {
  const state = existingState(at);
  const changes = new Map(placesOf(state).map(({ id }) => [id, healed]));
  const now = await changeFaults(at, state, changes, []);
  at.say('The network is whole.');
  for (const [id, { skewMs }] of now) {
    if (skewMs === 0) continue;
    at.say(
      `The clock of ${id} is still ${formatSkew(skewMs)} off: \`${at.script} skew ${id} 0ms\`.`,
    );
  }
}

/** Sets the clock of a node off by so much from the machine's; 0 sets it right. */
export async function skew(at: Workplace, nodeId: string, skewMs: number): Promise<void> {
  await changeOne(at, nodeId, (faults) => ({ ...faults, skewMs }));
  at.say(
    skewMs === 0
      ? `The clock of ${nodeId} is right again.`
      : `The clock of ${nodeId} is ${formatSkew(skewMs)} off, until it starts again. See \`npx kvctl clock\`.`,
  );
}

/** Makes a node wait before every answer and every call to another node; 0 ends it. */
export async function delay(at: Workplace, nodeId: string, delayMs: number): Promise<void> {
  await changeOne(at, nodeId, (faults) => ({ ...faults, delayMs }));
  at.say(
    delayMs === 0
      ? `${nodeId} is as quick as it can be again.`
      : `${nodeId} takes ${delayMs} ms longer over everything, until \`${at.script} heal\` or its next start.`,
  );
}

async function changeOne(at: Workplace, nodeId: string, change: Change): Promise<void> {
  const state = existingState(at);
  selectPlaces(state, [nodeId]);
  await changeFaults(at, state, new Map([[nodeId, change]]), [nodeId]);
}

/** Answers the faults now in force. A node of `required` that does not run is a problem; of others it is told. */
async function changeFaults(
  at: Workplace,
  state: ClusterState,
  changes: ReadonlyMap<string, Change>,
  required: readonly string[],
): Promise<ReadonlyMap<string, FaultSettings>> {
  const reachable = selectPlaces(state, [...changes.keys()]).filter(({ id }) => {
    const process = processOf(state, id);
    if (process === 'running') return true;
    const cannot =
      process === 'paused'
        ? `${id} is paused, so it cannot be told. Let it go on first: \`${at.script} resume ${id}\`.`
        : `${id} is not running. Start it first: \`${at.script} start ${id}\`.`;
    if (required.includes(id)) throw new Problem(cannot, 5);
    // Its faults ended with its process; a paused one still has them.
    if (process === 'paused') at.say(cannot);
    return false;
  });
  const now = reachable.map((place) =>
    withClient(place, async (client) => {
      const faults = await client.getFaults();
      const change = changes.get(place.id);
      return [
        place.id,
        change === undefined ? faults : await client.setFaults(change(faults)),
      ] as const;
    }),
  );
  return new Map(await Promise.all(now));
}
