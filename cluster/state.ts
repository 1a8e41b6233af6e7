import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import { MAX_NODES, type Layout } from './layout.js';
import { Problem } from './problem.js';

const schema = v.object({
  format: v.literal(1),
  nodeCount: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_NODES)),
  basePort: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)),
  nodes: v.record(
    v.string(),
    v.object({
      /** The process that was started for the node and has not been seen to end. */
      process: v.nullable(
        v.object({
          pid: v.pipe(v.number(), v.integer(), v.minValue(1)),
          startTime: v.string(),
          token: v.string(),
        }),
      ),
      /** How the last process ended, where this script ended it. */
      ended: v.nullable(v.picklist(['stopped', 'killed'])),
    }),
  ),
});

/** What the script remembers between two runs: the layout, and for each node the process that it started. */
export type ClusterState = v.InferOutput<typeof schema>;

export type NodeRecord = ClusterState['nodes'][string];

export const STATE_FILE = 'cluster.json';

export function newState(layout: Layout): ClusterState {
  return { format: 1, ...layout, nodes: {} };
}

/** Undefined when no cluster has been started in the folder, or when it has been wiped. */
export function readState(stateFolder: string): ClusterState | undefined {
  const file = join(stateFolder, STATE_FILE);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const state = v.safeParse(v.pipe(v.string(), v.parseJson(), schema), text);
  if (state.success) return state.output;
  throw new Problem(
    `${file} is not a state that this script wrote (${state.issues[0].message}). ` +
      'Nothing was changed. End the nodes that still run (`ps ax | grep "kvctl.js serve"`), then delete the folder.',
  );
}

/** The file is the old state or the new one, never a part, whenever this process or the machine stops. */
export function writeState(stateFolder: string, state: ClusterState): void {
  mkdirSync(stateFolder, { recursive: true });
  const file = join(stateFolder, STATE_FILE);
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, `${JSON.stringify(state, undefined, 2)}\n`, { flush: true });
  renameSync(draft, file);
}

export function recordOf(state: ClusterState, nodeId: string): NodeRecord {
  return state.nodes[nodeId] ?? { process: null, ended: null };
}

export function withRecord(state: ClusterState, nodeId: string, record: NodeRecord): ClusterState {
  return { ...state, nodes: { ...state.nodes, [nodeId]: record } };
}
