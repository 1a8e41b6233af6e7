import type { NodeStatusReport } from '../src/wire/reports.js';
import { openUnaryClient, type UnaryClient } from '../src/wire/unary-client.js';
import type { NodePlace } from './layout.js';
import { conditionOf, seeProcess } from './own-process.js';
import { recordOf, type ClusterState } from './state.js';

/** A node as it is now: what the system says of its process, and what it says of itself. */
export interface NodeView {
  readonly place: NodePlace;
  /** `died`: it ended, and not by this script. */
  readonly process: 'running' | 'paused' | 'died' | 'killed' | 'stopped' | 'never started';
  readonly pid: number | undefined;
  /** Whether the node says it is healthy; false as well when it does not answer. */
  readonly isHealthy: boolean;
  /** Undefined when it does not answer. */
  readonly report: NodeStatusReport | undefined;
}

const ANSWER_WITHIN_MS = 1_000;

/** How the process of a node is, without asking the node. */
export function processOf(state: ClusterState, nodeId: string): NodeView['process'] {
  const { process, ended } = recordOf(state, nodeId);
  if (process === null) return ended ?? 'never started';
  const condition = conditionOf(process, seeProcess(process.pid));
  return condition === 'gone' ? 'died' : condition;
}

/** Asks every place's node at once. A node that is not running is not asked: another process may have its port. */
export function viewNodes(
  state: ClusterState,
  places: readonly NodePlace[],
): Promise<readonly NodeView[]> {
  return Promise.all(
    places.map(async (place): Promise<NodeView> => {
      const process = processOf(state, place.id);
      const isThere = process === 'running' || process === 'paused';
      const pid = isThere ? recordOf(state, place.id).process?.pid : undefined;
      const view: NodeView = { place, process, pid, isHealthy: false, report: undefined };
      return process === 'running' ? { ...view, ...(await askNode(place)) } : view;
    }),
  );
}

async function askNode(place: NodePlace): Promise<Pick<NodeView, 'isHealthy' | 'report'>> {
  return withClient(place, async (client) => {
    const [health, report] = await Promise.all([
      client.health('quorate.v1.Kv').catch(() => 'UNKNOWN' as const),
      client.status().catch(() => undefined),
    ]);
    // Another cluster's node may answer at the address of one that has just ended.
    const isItself = report?.nodeId === place.id;
    return {
      isHealthy: isItself && health === 'SERVING',
      report: isItself ? report : undefined,
    };
  });
}

/** Why a running node does not serve though nothing more is waited for: it needs a node that does not run. Else undefined. */
export function notServing({ process, report }: NodeView): string | undefined {
  if (process !== 'running' || report === undefined || report.state === 'serving') return undefined;
  return report.reason === '' ? report.state : `${report.state}: ${report.reason}`;
}

/** A connection of its own, so that no earlier failure makes it wait. */
export async function withClient<T>(
  place: NodePlace,
  use: (client: UnaryClient) => Promise<T>,
): Promise<T> {
  const client = openUnaryClient(place.endpoint, { timeoutMs: ANSWER_WITHIN_MS });
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

/**
 * Why a node is not ready, in a few words; undefined when it is: healthy, refilled where it has forgotten, and connected to
 * every other node that runs. While faults are injected anywhere, connections are not waited for.
 */
export function unreadyReason(view: NodeView, all: readonly NodeView[]): string | undefined {
  if (view.process !== 'running') return view.process;
  if (view.report === undefined) return 'starting';
  if (!view.isHealthy) return view.report.reason || view.report.state;
  if (all.some(({ report }) => report !== undefined && report.faults.length > 0)) return undefined;
  const { state: own } = view.report;
  // It waits for nodes that do not run as long as it takes.
  const canRefill = all.every(({ process }) => process === 'running');
  if (canRefill && (own === 'waiting' || own === 'refilling')) return own;
  const apart = view.report.peers
    .filter((peer) => peer.state !== 'connected')
    .filter(({ nodeId }) => all.some((o) => o.place.id === nodeId && o.process === 'running'))
    .map(({ nodeId, state, reason }) => (state === 'refused' ? `${nodeId} (${reason})` : nodeId));
  return apart.length === 0 ? undefined : `waits for ${apart.join(', ')}`;
}
