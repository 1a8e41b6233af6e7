import { clusterIdOf } from './core/cluster-id.js';
import { DEFAULT_LIMITS, type Limits } from './core/limits.js';
import type { Member } from './core/placement.js';
import { systemClock, type Clock } from './io/clock.js';
import { levelStoreOpener } from './io/level-store.js';
import { silentLog, type Log } from './io/log.js';
import type { PeerEvents } from './io/peer.js';
import { systemRandom } from './io/random.js';
import { systemTimers } from './io/timers.js';
import { createNode, type NodeIdentity } from './node.js';
import { RELEASE } from './release.js';
import { repairsOf } from './repairs.js';
import { startServer } from './server.js';
import { reportStatus } from './status.js';
import type { ClusterFacts } from './wire/greeting.js';
import type { GrpcServer } from './wire/grpc-server.js';
import { InjectedFaults } from './wire/link-faults.js';
import { createPeerLink, type PeerLink, type PeerLinkState } from './wire/peer-link.js';
import type { NodeStatusReport } from './wire/reports.js';
import { askSeed } from './wire/seed.js';
import { HEALTH_SERVICES, WRITES_HEALTH } from './wire/services.js';

export interface NodeOptions extends NodeIdentity {
  readonly listen: { readonly host: string; readonly port: number };
  /** The data folder, made when it is missing. */
  readonly data: string;
  /** How long a stop waits for requests under way. */
  readonly graceMs: number;
  /** Lets the admin service cut this node off and skew its clock. For tests and demonstrations. */
  readonly unsafeFaults: boolean;
}

export interface RunningNode {
  readonly clusterId: string;
  /** `host:port` that it listens on. */
  readonly endpoint: string;
  status(): Promise<NodeStatusReport>;
  /** Finishes what is under way, for up to `graceMs`, and closes everything. Twice is harmless. */
  stop(): Promise<void>;
}

/** How soon health says that the node coordinates no writes any more, or does again. */
const LOOK_MS = 500;

/** After the last answer: time for it to reach the other side before connections are cut. */
const FLUSH_MS = 1_000;

/**
 * Runs a node in this process: LevelDB below, gRPC above, real time. Resolves when it serves. Rejects with a KvError, and
 * leaves nothing behind, when the folder or the port is not to be had.
 */
export async function startNode(options: NodeOptions, log: Log = silentLog): Promise<RunningNode> {
  const faults = new InjectedFaults();
  const clock: Clock = {
    wallMs: () => systemClock.wallMs() + faults.skewMs,
    monotonicMs: () => systemClock.monotonicMs(),
  };
  const { cluster, members, replication } = options;
  const limits: Limits = { ...DEFAULT_LIMITS, maxValueBytes: options.maxValueBytes };
  const facts: ClusterFacts = {
    clusterName: cluster,
    clusterId: clusterIdOf(cluster, members, replication),
    members,
    replicationFactor: replication,
  };
  const own = {
    selfId: options.node,
    facts,
    limits,
    faults,
    clock,
    timers: systemTimers,
    random: systemRandom,
  };
  const links: PeerLink[] = [];
  const peerTo = (member: Member, events: PeerEvents): PeerLink => {
    const link: PeerLink = createPeerLink({
      ...own,
      nodeId: member.id,
      address: member.address,
      onState: onChange(
        log,
        member.id,
        () => link.address,
        () => events.onConnected(),
      ),
      onLives: (lives) => events.onLives(lives),
      onCommitCounter: (commitCounter) => events.onCommitCounter(commitCounter),
    });
    links.push(link);
    return link;
  };
  const seeding = new AbortController();
  const node = await createNode(options, {
    clock,
    timers: systemTimers,
    random: systemRandom,
    log,
    opener: levelStoreOpener(options.data),
    peerTo,
    onMoved: (nodeId, address) => links.find((link) => link.nodeId === nodeId)?.moveTo(address),
    askSeed: (address, deadlineMs) => askSeed({ ...own, address }, deadlineMs, seeding.signal),
  });
  const closeLinks = () => {
    seeding.abort();
    return Promise.all(links.map((link) => link.close(0)));
  };

  const startedAtMs = clock.monotonicMs();
  let stopping: Promise<void> | undefined;
  const status = () =>
    reportStatus({ node, links, faults, clock, startedAtMs, isStopping: stopping !== undefined });
  let server: GrpcServer;
  try {
    server = await startServer({
      listen: `${options.listen.host}:${options.listen.port}`,
      coordinator: node.coordinator,
      replica: node.replica,
      welcome: () => node.welcome(),
      release: RELEASE,
      status,
      repairs: repairsOf(node, clock),
      ...(options.unsafeFaults ? { faults } : {}),
      limits,
      clock,
      timers: systemTimers,
      log,
    });
  } catch (error) {
    await closeLinks();
    await node.stop(0);
    throw error;
  }
  for (const service of HEALTH_SERVICES) server.setServing(service, true);
  const stopLooking = systemTimers.every(LOOK_MS, () => {
    const takesWrites = !node.watch.quarantined() && node.replica.problem === undefined;
    server.setServing(WRITES_HEALTH, takesWrites);
  });

  const stop = async (): Promise<void> => {
    stopLooking();
    for (const service of HEALTH_SERVICES) server.setServing(service, false);
    // Clients are answered first; the replica serves its peers until the server has closed.
    await node.coordinator.drain(options.graceMs);
    // All is answered or given up by now; whoever merely watches health must not hold the stop up.
    await server.close(Math.min(options.graceMs, FLUSH_MS));
    await closeLinks();
    await node.stop(0);
  };
  return {
    clusterId: node.clusterId,
    endpoint: server.address,
    status,
    stop: () => (stopping ??= stop()),
  };
}

/** Says once that a peer is lost, and once that it is back; not every attempt in between. */
function onChange(
  log: Log,
  nodeId: string,
  address: () => string,
  onConnected: () => void,
): (state: PeerLinkState) => void {
  let last: PeerLinkState['kind'] | undefined;
  return ({ kind, reason }) => {
    if (kind === last) return;
    last = kind;
    const fields = { peer: nodeId, address: address() };
    if (kind === 'connected') {
      log.info(fields, `connected to ${nodeId}`);
      onConnected();
    } else {
      log.warn({ ...fields, reason }, `no connection to ${nodeId}, trying on`);
    }
  };
}
