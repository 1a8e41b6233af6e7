import type { Version } from '../core/version.js';
import { versionFromWire, versionToWire } from './codec.js';
import type { v1 } from './messages.js';
import { oneOf } from './one-of.js';
import {
  beliefFromWire,
  hintsFromWire,
  hintsToWire,
  repairStatusFromWire,
  repairStatusToWire,
  type BeliefReport,
  type HintsReport,
  type RepairStatusReport,
} from './repair-reports.js';
import { replicaFromWire, replicaToWire, type ExplainedReplica } from './replica-report.js';

/** A node as its operators see it. */
export interface NodeStatusReport {
  readonly nodeId: string;
  readonly clusterName: string;
  readonly clusterId: string;
  readonly release: string;
  readonly state: 'serving' | 'quarantined' | 'read-only' | 'waiting' | 'refilling' | 'stopping';
  /** Why, when it is not simply serving; else empty. */
  readonly reason: string;
  readonly uptimeMs: number;
  readonly wallMs: number;
  /** The highest version the node has issued or seen. */
  readonly hlc: Version;
  /** Of its clock from the median of the nodes it hears. */
  readonly offsetMs: number;
  readonly driftRefusals: number;
  readonly commitCounter: number;
  readonly storeBytes: number;
  /** Keys looked up on disk and ranges begun, since the start: none by a node that is idle, but for its scrub. */
  readonly storeReads: number;
  /**
   * Of all that it holds, 16 hexadecimal characters: replicas of the same partitions that hold the same say the same. Empty
   * while its trees are rebuilt.
   */
  readonly digest: string;
  readonly inFlight: number;
  /** Resident and anonymous. */
  readonly memoryBytes: number;
  readonly peers: readonly PeerStatusReport[];
  /** Injected faults, in words; usually empty. */
  readonly faults: readonly string[];
  readonly writes: number;
  readonly reads: number;
  readonly repairs: number;
  /** Requests refused with OVERLOADED. */
  readonly shed: number;
  /** The writer id of this run, 16 hexadecimal characters. */
  readonly writer: string;
  /** Which life of its data folder this is, 16 hexadecimal characters. */
  readonly incarnation: string;
  readonly hints: HintsReport;
  readonly repair: RepairStatusReport;
  /** What it believes of the others. */
  readonly members: readonly BeliefReport[];
}

export interface PeerStatusReport {
  readonly nodeId: string;
  readonly address: string;
  readonly state: 'connected' | 'connecting' | 'tripped' | 'refused';
  /** Why, when it is not connected; else empty. */
  readonly reason: string;
  readonly roundTripMs: number;
  /** Its clock less the node's own. */
  readonly offsetMs: number;
  readonly quarantined: boolean;
}

/** What every replica of a key holds, and which record wins. */
export interface ExplainReport {
  readonly partition: number;
  /** In the order of the preference list. */
  readonly replicas: readonly ExplainedReplica[];
  /** The ids of the nodes that hold the winning record, separated by commas; empty when there is none. */
  readonly winner: string;
  /** Why it wins, in a sentence. */
  readonly why: string;
}

/** Faults that a node started with --unsafe-faults can be told to have. */
export interface FaultSettings {
  /** Node ids to which nothing is sent. */
  readonly dropTo: readonly string[];
  /** Node ids of which nothing is heard. */
  readonly dropFrom: readonly string[];
  /** Before every answer and every call to another node. */
  readonly delayMs: number;
  /** Added to the node's wall clock. */
  readonly skewMs: number;
}

export const NO_FAULT_SETTINGS: FaultSettings = {
  dropTo: [],
  dropFrom: [],
  delayMs: 0,
  skewMs: 0,
};

export function statusToWire(report: NodeStatusReport): v1.NodeStatus.$Properties {
  return {
    ...report,
    hlc: versionToWire(report.hlc),
    peers: report.peers.map((peer) => ({ ...peer })),
    faults: [...report.faults],
    hints: hintsToWire(report.hints),
    repair: repairStatusToWire(report.repair),
    members: report.members.map((member) => ({ ...member })),
  };
}

export function statusFromWire(status: v1.NodeStatus): NodeStatusReport {
  return {
    nodeId: status.nodeId,
    clusterName: status.clusterName,
    clusterId: status.clusterId,
    release: status.release,
    state: oneOf(NODE_STATES, status.state, 'state'),
    reason: status.reason,
    uptimeMs: status.uptimeMs,
    wallMs: status.wallMs,
    hlc: versionFromWire(status.hlc ?? {}, 'hlc'),
    offsetMs: status.offsetMs,
    driftRefusals: status.driftRefusals,
    commitCounter: status.commitCounter,
    storeBytes: status.storeBytes,
    storeReads: status.storeReads,
    digest: status.digest,
    inFlight: status.inFlight,
    memoryBytes: status.memoryBytes,
    peers: status.peers.map((peer) => ({
      nodeId: peer.nodeId ?? '',
      address: peer.address ?? '',
      state: oneOf(PEER_STATES, peer.state ?? '', 'peers.state'),
      reason: peer.reason ?? '',
      roundTripMs: peer.roundTripMs ?? 0,
      offsetMs: peer.offsetMs ?? 0,
      quarantined: peer.quarantined ?? false,
    })),
    faults: status.faults,
    writes: status.writes,
    reads: status.reads,
    repairs: status.repairs,
    shed: status.shed,
    writer: status.writer,
    incarnation: status.incarnation,
    hints: hintsFromWire(status.hints),
    repair: repairStatusFromWire(status.repair),
    members: status.members.map(beliefFromWire),
  };
}

export function explainToWire(report: ExplainReport): v1.ExplainResponse.$Properties {
  return {
    partition: report.partition,
    winner: report.winner,
    why: report.why,
    replicas: report.replicas.map(replicaToWire),
  };
}

export function explainFromWire(response: v1.ExplainResponse): ExplainReport {
  return {
    partition: response.partition,
    winner: response.winner,
    why: response.why,
    replicas: response.replicas.map(replicaFromWire),
  };
}

export function faultsToWire(faults: FaultSettings): v1.Faults.$Properties {
  return {
    dropTo: [...faults.dropTo],
    dropFrom: [...faults.dropFrom],
    delayMs: faults.delayMs,
    skewMs: faults.skewMs,
  };
}

export function faultsFromWire(faults: v1.Faults): FaultSettings {
  return {
    dropTo: faults.dropTo,
    dropFrom: faults.dropFrom,
    delayMs: faults.delayMs,
    skewMs: faults.skewMs,
  };
}

/** Every state of a node, in the order in which they are told. */
export const NODE_STATES = [
  'serving',
  'quarantined',
  'read-only',
  'waiting',
  'refilling',
  'stopping',
] as const;
const PEER_STATES = ['connected', 'connecting', 'tripped', 'refused'] as const;
