import type { Clock } from './io/clock.js';
import { anonymousMemoryBytes } from './io/memory-use.js';
import type { Node } from './node.js';
import { RELEASE } from './release.js';
import { beliefReports, hintsReport, repairStatus } from './repairs.js';
import type { InjectedFaults } from './wire/link-faults.js';
import type { PeerLink } from './wire/peer-link.js';
import type { NodeStatusReport, PeerStatusReport } from './wire/reports.js';

export interface StatusSources {
  readonly node: Node;
  readonly links: readonly PeerLink[];
  readonly faults: InjectedFaults;
  readonly clock: Clock;
  /** On the monotonic clock. */
  readonly startedAtMs: number;
  readonly isStopping: boolean;
}

/** What a node says of itself to its operators: gathered when asked, and nothing is measured for it. */
export async function reportStatus(sources: StatusSources): Promise<NodeStatusReport> {
  const { node, links, faults, clock } = sources;
  const { nodeId, clusterName, clusterId } = node.welcome();
  const { counters } = node.coordinator;
  const replica = await node.replica.status();
  return {
    nodeId,
    clusterName,
    clusterId,
    release: RELEASE,
    ...stateOf(sources),
    uptimeMs: Math.round(clock.monotonicMs() - sources.startedAtMs),
    wallMs: clock.wallMs(),
    hlc: node.replica.hlc.latest,
    // The watch says how far away the median is; people read the other way how far off the node is. 0 - x has no -0.
    offsetMs: 0 - node.watch.offsetMs(),
    driftRefusals: counters.driftRefusals + replica.driftRefusals,
    commitCounter: replica.commitCounter,
    storeBytes: replica.storeBytes ?? 0,
    storeReads: replica.storeReads,
    digest: Buffer.from(replica.digest).toString('hex'),
    inFlight: counters.inFlight,
    memoryBytes: await anonymousMemoryBytes(),
    peers: links.map((link) => peerReport(link, node)),
    faults: faults.describe(),
    writes: counters.writes,
    reads: counters.reads,
    repairs: counters.repairs,
    shed: counters.shed,
    writer: node.replica.writer,
    incarnation: Buffer.from(node.replica.incarnation).toString('hex'),
    hints: hintsReport(node),
    repair: repairStatus(node, clock),
    members: beliefReports(node),
  };
}

function stateOf({ node, isStopping }: StatusSources): Pick<NodeStatusReport, 'state' | 'reason'> {
  if (isStopping) return { state: 'stopping', reason: 'it was told to stop' };
  const { problem } = node.replica;
  if (problem !== undefined) return { state: 'read-only', reason: problem };
  const { state, reason } = node.replica.standing;
  if (state !== 'serving') return { state, reason };
  if (node.watch.quarantined()) {
    const offsetMs = Math.round(node.watch.offsetMs());
    return {
      state: 'quarantined',
      reason: `its clock is ${Math.abs(offsetMs)} ms ${offsetMs > 0 ? 'behind' : 'ahead of'} the median; it coordinates no writes`,
    };
  }
  return { state: 'serving', reason: '' };
}

function peerReport(link: PeerLink, node: Node): PeerStatusReport {
  const watched = node.watch.peers().find(({ nodeId }) => nodeId === link.nodeId);
  return {
    nodeId: link.nodeId,
    address: link.address,
    ...peerState(link, node),
    roundTripMs: watched?.roundTripMs ?? link.roundTripMs ?? 0,
    offsetMs: watched?.offsetMs ?? 0,
    quarantined: watched?.quarantined ?? false,
  };
}

/** `connected` is one that requests are sent to. */
function peerState(
  { nodeId, state }: PeerLink,
  { coordinator }: Node,
): Pick<PeerStatusReport, 'state' | 'reason'> {
  if (state.kind !== 'connected') return { state: state.kind, reason: state.reason };
  if (coordinator.tripped(nodeId)) {
    return { state: 'tripped', reason: 'it has failed too often lately and is tried again soon' };
  }
  if (!coordinator.reaches(nodeId)) {
    return {
      state: 'connecting',
      reason: 'it has not been introduced yet; where that lasts, its own status says why',
    };
  }
  return { state: 'connected', reason: '' };
}
