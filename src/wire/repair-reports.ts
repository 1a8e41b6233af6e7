import type { Version } from '../core/version.js';
import { versionFromWire, versionToWire } from './codec.js';
import type { v1 } from './messages.js';
import { oneOf } from './one-of.js';
import { replicaFromWire, replicaToWire, type ExplainedReplica } from './replica-report.js';

/** What a node remembers of what others have missed. */
export interface HintsReport {
  readonly owed: readonly { readonly target: string; readonly keys: number }[];
  /** Since it started: keys that their target has by now. */
  readonly delivered: number;
  /** Since it started: beyond the bound; anti-entropy brings these. */
  readonly dropped: number;
}

/** What anti-entropy has done since the node started. */
export interface RepairStatusReport {
  /** False: the trees are being rebuilt, and nothing is compared. */
  readonly treesReady: boolean;
  /** Partitions that differed when they were last compared, with the peer of which that is the most. */
  readonly partitionsDiffering: number;
  /** Records copied, either way. */
  readonly keys: number;
  readonly bytes: number;
  /** Keys whose record failed its checksum and is not mended yet. */
  readonly corruptKeys: number;
  /** The last one with each peer. */
  readonly rounds: readonly RoundReport[];
}

export interface RoundReport {
  readonly peer: string;
  readonly result: 'never' | 'equal' | 'mended' | 'incomplete';
  /** Why, when it is incomplete; else empty. */
  readonly reason: string;
  readonly agoMs: number;
  readonly durationMs: number;
  /** Keys that differed. */
  readonly keys: number;
  readonly bytes: number;
}

/** What gossip has told a node of another. */
export interface BeliefReport {
  readonly nodeId: string;
  readonly address: string;
  readonly status: 'alive' | 'suspect' | 'dead';
  readonly generation: number;
  /** How long ago it came to believe that. */
  readonly forMs: number;
}

/** What one node knows of a key beside its record. */
export interface LocalKeyReport {
  readonly node: string;
  /** The nodes to which it owes the key. */
  readonly hintsOwed: readonly string[];
  /** Fences of the key's partition; undefined: none. */
  readonly promised?: Version;
  readonly committed?: Version;
  /** The last comparison with each other replica of the key. */
  readonly rounds: readonly RoundReport[];
}

export interface VerifyProgressReport {
  readonly partitions: number;
  readonly done: number;
  /** Keys so far. */
  readonly differing: number;
}

/** A key on which replicas differ. */
export interface DifferenceReport {
  readonly partition: number;
  readonly key: Uint8Array;
  readonly replicas: readonly ExplainedReplica[];
}

export interface VerifySummaryReport {
  readonly partitions: number;
  /** Partitions of which all replicas were compared. */
  readonly compared: number;
  readonly differingPartitions: number;
  /** Keys, listed or not. */
  readonly differing: number;
  /** Nodes that could not be compared. */
  readonly uncompared: readonly { readonly node: string; readonly reason: string }[];
  readonly durationMs: number;
}

export interface RepairProgressReport {
  readonly peer: string;
  /** Partitions that differ, and how many of them are done. */
  readonly partitions: number;
  readonly done: number;
  /** Records, either way. */
  readonly copied: number;
  readonly bytes: number;
}

/** What a comparison with one peer has mended. */
export interface PeerRepairReport {
  readonly peer: string;
  readonly complete: boolean;
  /** Why it is not complete; else empty. */
  readonly reason: string;
  /** Partitions that differed. */
  readonly partitions: number;
  /** Keys that differed. */
  readonly differing: number;
  /** Records that the node lacked. */
  readonly pulled: number;
  /** Records that the peer lacked. */
  readonly pushed: number;
  readonly bytes: number;
  readonly durationMs: number;
}

export function hintsToWire(hints: HintsReport): v1.HintsStatus.$Properties {
  return { ...hints, owed: hints.owed.map((target) => ({ ...target })) };
}

export function hintsFromWire(hints: v1.HintsStatus.$Properties | null | undefined): HintsReport {
  return {
    owed: (hints?.owed ?? []).map(({ target, keys }) => ({
      target: target ?? '',
      keys: keys ?? 0,
    })),
    delivered: hints?.delivered ?? 0,
    dropped: hints?.dropped ?? 0,
  };
}

export function repairStatusToWire(status: RepairStatusReport): v1.RepairStatus.$Properties {
  return { ...status, rounds: status.rounds.map((round) => ({ ...round })) };
}

export function repairStatusFromWire(
  status: v1.RepairStatus.$Properties | null | undefined,
): RepairStatusReport {
  return {
    treesReady: status?.treesReady ?? false,
    partitionsDiffering: status?.partitionsDiffering ?? 0,
    keys: status?.keys ?? 0,
    bytes: status?.bytes ?? 0,
    corruptKeys: status?.corruptKeys ?? 0,
    rounds: (status?.rounds ?? []).map(roundFromWire),
  };
}

const RESULTS = ['never', 'equal', 'mended', 'incomplete'] as const;

function roundFromWire(round: v1.RepairRound.$Properties): RoundReport {
  return {
    peer: round.peer ?? '',
    result: oneOf(RESULTS, round.result ?? '', 'rounds.result'),
    reason: round.reason ?? '',
    agoMs: round.agoMs ?? 0,
    durationMs: round.durationMs ?? 0,
    keys: round.keys ?? 0,
    bytes: round.bytes ?? 0,
  };
}

const BELIEFS = ['alive', 'suspect', 'dead'] as const;

export function beliefFromWire(belief: v1.MemberBelief.$Properties): BeliefReport {
  return {
    nodeId: belief.nodeId ?? '',
    address: belief.address ?? '',
    status: oneOf(BELIEFS, belief.status ?? '', 'members.status'),
    generation: belief.generation ?? 0,
    forMs: belief.forMs ?? 0,
  };
}

export function localKeyToWire(local: LocalKeyReport): v1.LocalKey.$Properties {
  const { node, hintsOwed, promised, committed, rounds } = local;
  return {
    node,
    hintsOwed: [...hintsOwed],
    ...(promised === undefined ? {} : { promised: versionToWire(promised) }),
    ...(committed === undefined ? {} : { committed: versionToWire(committed) }),
    rounds: rounds.map((round) => ({ ...round })),
  };
}

export function localKeyFromWire(
  local: v1.LocalKey.$Properties | null | undefined,
): LocalKeyReport {
  return {
    node: local?.node ?? '',
    hintsOwed: local?.hintsOwed ?? [],
    ...(local?.promised ? { promised: versionFromWire(local.promised, 'local.promised') } : {}),
    ...(local?.committed ? { committed: versionFromWire(local.committed, 'local.committed') } : {}),
    rounds: (local?.rounds ?? []).map(roundFromWire),
  };
}

export function verifyProgressFromWire(
  progress: v1.VerifyProgress.$Properties,
): VerifyProgressReport {
  return {
    partitions: progress.partitions ?? 0,
    done: progress.done ?? 0,
    differing: progress.differing ?? 0,
  };
}

export function differenceToWire(difference: DifferenceReport): v1.Difference.$Properties {
  const { partition, key, replicas } = difference;
  return { partition, key, replicas: replicas.map(replicaToWire) };
}

export function differenceFromWire(difference: v1.Difference.$Properties): DifferenceReport {
  return {
    partition: difference.partition ?? 0,
    key: difference.key ?? new Uint8Array(0),
    replicas: (difference.replicas ?? []).map(replicaFromWire),
  };
}

export function verifySummaryToWire(summary: VerifySummaryReport): v1.VerifySummary.$Properties {
  return { ...summary, uncompared: summary.uncompared.map((node) => ({ ...node })) };
}

export function verifySummaryFromWire(summary: v1.VerifySummary.$Properties): VerifySummaryReport {
  return {
    partitions: summary.partitions ?? 0,
    compared: summary.compared ?? 0,
    differingPartitions: summary.differingPartitions ?? 0,
    differing: summary.differing ?? 0,
    uncompared: (summary.uncompared ?? []).map(({ node, reason }) => ({
      node: node ?? '',
      reason: reason ?? '',
    })),
    durationMs: summary.durationMs ?? 0,
  };
}

export function repairProgressFromWire(
  progress: v1.RepairProgress.$Properties,
): RepairProgressReport {
  return {
    peer: progress.peer ?? '',
    partitions: progress.partitions ?? 0,
    done: progress.done ?? 0,
    copied: progress.copied ?? 0,
    bytes: progress.bytes ?? 0,
  };
}

export function peerRepairFromWire(repair: v1.PeerRepair.$Properties): PeerRepairReport {
  return {
    peer: repair.peer ?? '',
    complete: repair.complete ?? false,
    reason: repair.reason ?? '',
    partitions: repair.partitions ?? 0,
    differing: repair.differing ?? 0,
    pulled: repair.pulled ?? 0,
    pushed: repair.pushed ?? 0,
    bytes: repair.bytes ?? 0,
    durationMs: repair.durationMs ?? 0,
  };
}
