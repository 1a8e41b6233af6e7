import { rmSync } from 'node:fs';
import {
  dataFolder,
  DEFAULT_LAYOUT,
  logFile,
  placesOf,
  selectPlaces,
  type Layout,
  type NodePlace,
} from './layout.js';
import {
  findTakenPort,
  killProcess,
  startNodeProcess,
  stopProcess,
  type StartedNode,
} from './node-process.js';
import { notServing, processOf } from './node-view.js';
import { signalOwn, type ProcessIdentity } from './own-process.js';
import { Problem } from './problem.js';
import { waitUntilReady } from './readiness.js';
import {
  newState,
  readState,
  recordOf,
  STATE_FILE,
  withRecord,
  writeState,
  type ClusterState,
  type NodeRecord,
} from './state.js';
import { existingState, type Workplace } from './workplace.js';

/**
 * Starts the nodes that do not run, and waits until the cluster is ready. `wanted` may leave the layout open: that of the
 * cluster that is there, else three nodes.
 */
export async function up(at: Workplace, wanted: Partial<Layout>): Promise<ClusterState> {
  const state = readState(at.stateFolder) ?? newState({ ...DEFAULT_LAYOUT, ...wanted });
  refuseOtherLayout(at, state, wanted);
  for (const { id } of placesOf(state)) {
    if (processOf(state, id) === 'paused') {
      at.say(`${id} is paused and stays so. To go on: \`${at.script} resume ${id}\`.`);
    }
  }
  if (placesOf(state).every(({ id }) => isThere(state, id))) at.say('Already running.');
  return startMissing(at, state, placesOf(state));
}

/** Starts some nodes again; those that run are left alone. Waits until all are ready, unless told not to `wait`. */
export async function start(
  at: Workplace,
  ids: readonly string[],
  { wait = true }: { readonly wait?: boolean } = {},
): Promise<void> {
  const state = existingState(at);
  const places = selectPlaces(state, ids);
  for (const { id } of places) {
    const process = processOf(state, id);
    if (process === 'running') at.say(`${id} is already running.`);
    if (process === 'paused') {
      throw new Problem(`${id} is paused: \`${at.script} resume ${id}\`.`);
    }
  }
  await startMissing(at, state, places, wait);
}

/** Ends nodes at once, as a crash does: SIGKILL. */
export async function kill(at: Workplace, ids: readonly string[]): Promise<void> {
  await endEach(at, existingState(at), ids, async (identity) => ({
    how: await killProcess(identity),
    ended: 'killed',
  }));
}

/** Lets nodes finish what is under way and ends them: SIGTERM, then SIGKILL after a grace. All at once. */
export async function down(at: Workplace, ids: readonly string[] = []): Promise<void> {
  await endEach(at, existingState(at), ids, async (identity) => ({
    how: await stopProcess(identity),
    ended: 'stopped',
  }));
}

/** Rolling: each node is ready again before the next one stops, so that a majority serves all the time. */
export async function restart(
  at: Workplace,
  ids: readonly string[],
  rolling: boolean,
): Promise<void> {
  const places = selectPlaces(existingState(at), ids);
  const groups = rolling ? places.map((place) => [place]) : [places];
  for (const group of groups) {
    const names = group.map(({ id }) => id);
    await down(at, names);
    await startMissing(at, existingState(at), group);
  }
}

/** SIGSTOP: the node keeps its connections and answers nothing, as under a long pause of its machine. */
export function pause(at: Workplace, ids: readonly string[]): void {
  signalEach(at, ids, 'SIGSTOP', 'paused');
}

export function resume(at: Workplace, ids: readonly string[]): void {
  signalEach(at, ids, 'SIGCONT', 'resumed');
}

/** Stops the nodes and deletes what this script and its nodes keep, and nothing else. */
export async function wipe(at: Workplace): Promise<void> {
  const state = existingState(at);
  await down(at);
  for (const { id } of placesOf(state)) {
    const log = logFile(at.stateFolder, id);
    for (const path of [dataFolder(at.stateFolder, id), log, `${log}.1`]) {
      rmSync(path, { recursive: true, force: true });
    }
  }
  // Last: until then a wipe that was interrupted can be run again.
  rmSync(`${at.stateFolder}/${STATE_FILE}`, { force: true });
  at.say(`Deleted all data of the cluster in ${at.shownFolder}.`);
}

function refuseOtherLayout(at: Workplace, state: ClusterState, wanted: Partial<Layout>): void {
  const { nodeCount = state.nodeCount, basePort = state.basePort } = wanted;
  if (nodeCount === state.nodeCount && basePort === state.basePort) return;
  throw new Problem(
    `The cluster in ${at.shownFolder} has ${state.nodeCount} node(s) from port ${state.basePort}, and its data is placed for them. ` +
      `For another one, delete it first (\`${at.script} wipe\`), or use another folder (\`--state-dir\`).`,
  );
}

async function startMissing(
  at: Workplace,
  before: ClusterState,
  places: readonly NodePlace[],
  wait = true,
): Promise<ClusterState> {
  let state = before;
  const missing = places.filter(({ id }) => !isThere(state, id));
  const taken = await findTakenPort(missing);
  if (taken !== undefined) {
    throw new Problem(
      `Port ${taken.port} of ${taken.host}, which ${taken.id} needs, is in use by another process. ` +
        `See which (\`ss -ltnp\` or \`lsof -i :${taken.port}\`) and end it, or start a cluster elsewhere: ` +
        '`npm run cluster -- up --base-port 7201 --state-dir .quorate/other`.',
    );
  }
  const started: StartedNode[] = [];
  for (const place of missing) {
    const node = startNodeProcess(state, place, at.stateFolder);
    state = withRecord(state, place.id, { process: node.identity, ended: null });
    // After each: what has been started is known even if this run is ended here.
    writeState(at.stateFolder, state);
    started.push(node);
  }
  const views = wait ? await waitUntilReady(state, at, started) : [];
  for (const { place, identity } of started) {
    at.say(`${place.id} runs at ${place.endpoint} (process ${identity.pid}).`);
  }
  for (const view of views) {
    const reason = notServing(view);
    if (reason !== undefined) at.say(`${view.place.id} does not serve yet; it is ${reason}.`);
  }
  return state;
}

interface Ending {
  readonly how: 'stopped' | 'killed' | 'was gone';
  readonly ended: NonNullable<NodeRecord['ended']>;
}

async function endEach(
  at: Workplace,
  before: ClusterState,
  ids: readonly string[],
  end: (identity: ProcessIdentity) => Promise<Ending>,
): Promise<void> {
  let state = before;
  const endings = selectPlaces(state, ids).map(async ({ id }) => {
    const { process } = recordOf(state, id);
    if (process === null || !isThere(state, id)) {
      at.say(`${id} is not running.`);
      return;
    }
    const { how, ended } = await end(process);
    state = withRecord(state, id, { process: null, ended });
    writeState(at.stateFolder, state);
    const late = how === 'killed' && ended === 'stopped' ? ': it did not stop by itself' : '';
    at.say(how === 'was gone' ? `${id} had ended.` : `${id} ${how}${late}.`);
  });
  // Every node gets its chance before a failure of one is told.
  const failed = (await Promise.allSettled(endings)).find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
}

function signalEach(
  at: Workplace,
  ids: readonly string[],
  signal: 'SIGSTOP' | 'SIGCONT',
  done: string,
): void {
  const state = existingState(at);
  for (const { id } of selectPlaces(state, ids)) {
    const { process } = recordOf(state, id);
    if (process === null || signalOwn(process, signal) === 'gone') {
      throw new Problem(`${id} is not running. Start it: \`${at.script} start ${id}\`.`, 5);
    }
    at.say(`${id} ${done}.`);
  }
}

function isThere(state: ClusterState, id: string): boolean {
  const process = processOf(state, id);
  return process === 'running' || process === 'paused';
}
