import { setTimeout as sleep } from 'node:timers/promises';
import { KvError } from '../src/core/errors.js';
import type { Welcome } from '../src/io/link.js';
import type { NodeStatusReport } from '../src/wire/reports.js';
import type { UnaryClient } from '../src/wire/unary-client.js';
import { usageError } from './failure.js';
import type { Settings } from './settings.js';

/** Once somebody has answered, those that may know more get so long. */
const MORE_WITHIN_MS = 300;

/** A member of the cluster with what it says of itself, or why it says nothing. */
export interface NodeReport {
  readonly id: string;
  readonly address: string;
  readonly zone: string;
  /** Where it answered, or would have to. */
  readonly endpoint: string;
  readonly report: NodeStatusReport | undefined;
  /** Of the status call. */
  readonly roundTripMs: number | undefined;
  /** Why there is no report; else empty. */
  readonly reason: string;
}

/** Runs `use` on the plain gRPC services of one node, and closes the connection. */
export async function withNode<T>(
  endpoint: string,
  settings: Pick<Settings, 'timeoutMs'>,
  use: (node: UnaryClient) => Promise<T>,
): Promise<T> {
  const { openUnaryClient } = await import('../src/wire/unary-client.js');
  const node = openUnaryClient(endpoint, { timeoutMs: settings.timeoutMs });
  try {
    return await use(node);
  } finally {
    node.close();
  }
}

/**
 * Asks all endpoints at once and takes the first answer, so that a node that hangs delays nobody. Throws when there is none,
 * naming each endpoint with its reason.
 */
async function askAnyNode<T>(
  settings: Settings,
  use: (node: UnaryClient) => Promise<T>,
): Promise<T> {
  const asked = settings.endpoints.map((endpoint) => withNode(endpoint, settings, use));
  try {
    return await Promise.any(asked);
  } catch (error) {
    const failures = (error as AggregateError).errors as unknown[];
    const refusal = failures.find((each) => !(each instanceof KvError) || !each.retryable);
    if (refusal !== undefined) throw refusal;
    const [first] = failures as KvError[];
    if (failures.length === 1) throw first;
    const reasons = (failures as KvError[]).map(
      ({ message }, at) => `${settings.endpoints[at]}: ${message}`,
    );
    throw new KvError('UNAVAILABLE', `no endpoint answered\n  ${reasons.join('\n  ')}`, {
      cause: first,
    });
  }
}

/**
 * Asks all endpoints at once and takes the first answer that misses nothing, else the one that misses least of those that come
 * soon after the first. A node that is cut off from the others answers too, but knows less than they do; and one that stands still
 * is not waited for. Throws as {@link askAnyNode} does.
 */
export function askForMost<T>(
  settings: Settings,
  use: (node: UnaryClient) => Promise<T>,
  missing: (answer: T) => number,
): Promise<T> {
  let most: T | undefined;
  return askAnyNode(settings, async (node) => {
    const answer = await use(node);
    if (most === undefined || missing(answer) < missing(most)) most = answer;
    if (missing(answer) > 0) await sleep(MORE_WITHIN_MS);
    return most;
  });
}

/** The endpoint of the node that hears most of the others: for what one node does for all, and is not to be asked of several. */
export async function bestConnected(settings: Settings): Promise<string> {
  const { endpoint } = await askForMost(
    settings,
    async (node) => ({ endpoint: node.endpoint, unheard: unheardBy(await node.status()) }),
    ({ unheard }) => unheard,
  );
  return endpoint;
}

function unheardBy({ peers, members }: NodeStatusReport): number {
  const hears = (id: string): boolean =>
    !members.some(({ nodeId, status }) => nodeId === id && status !== 'alive');
  return peers.filter(({ nodeId, state }) => state !== 'connected' || !hears(nodeId)).length;
}

export function describeCluster(settings: Settings): Promise<Welcome> {
  return askAnyNode(settings, (node) => node.describe());
}

/**
 * Every member and its status, in the order of the member list. Members are asked at their own address; where that does not
 * lead to them from here, at the endpoint that was given for them.
 */
export async function reportNodes(
  settings: Settings,
): Promise<{ readonly cluster: Welcome; readonly nodes: readonly NodeReport[] }> {
  const cluster = await describeCluster(settings);
  const addresses = new Set([...cluster.members.map((m) => m.address), ...settings.endpoints]);
  const answers = await Promise.all([...addresses].map((address) => askStatus(address, settings)));
  const nodes = cluster.members.map(({ id, address, zone }): NodeReport => {
    const found = answers.find(
      ({ report }) => report?.nodeId === id && report.clusterId === cluster.clusterId,
    );
    if (found !== undefined) return { ...found, endpoint: found.address, id, address, zone };
    const own = answers.find((answer) => answer.address === address);
    const reason =
      own?.report === undefined
        ? (own?.reason ?? '')
        : `${address} is ${own.report.nodeId} of cluster ${own.report.clusterName}`;
    return {
      id,
      address,
      zone,
      endpoint: address,
      report: undefined,
      roundTripMs: undefined,
      reason,
    };
  });
  return { cluster, nodes };
}

/** The member that `name` names by id or address; without a name, the first endpoint. */
export async function endpointOf(name: string | undefined, settings: Settings): Promise<string> {
  if (name === undefined) return settings.endpoints[0] as string;
  if (name.includes(':')) return name;
  const { members } = await describeCluster(settings);
  const member = members.find(({ id }) => id === name);
  if (member !== undefined) return member.address;
  throw usageError(
    `there is no node "${name}"`,
    `The cluster has ${members.map(({ id }) => id).join(', ')}.`,
  );
}

async function askStatus(address: string, { statusTimeoutMs }: Settings) {
  const beganMs = performance.now();
  try {
    return await withNode(address, { timeoutMs: statusTimeoutMs }, async (node) => {
      // The first call pays for the connection; the second measures the way to the node.
      await node.status();
      const askedMs = performance.now();
      const report = await node.status();
      return { address, report, roundTripMs: performance.now() - askedMs, reason: '' };
    });
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    const roundTripMs = performance.now() - beganMs;
    return { address, report: undefined, roundTripMs, reason: error.message };
  }
}
