import { hash32 } from './core/hash.js';
import { partitionOf, PARTITIONS } from './core/placement.js';
import { readVersion } from './core/version.js';
import type { Clock } from './io/clock.js';
import type { PeerComparison } from './maintenance/anti-entropy.js';
import type { ExchangeResult } from './maintenance/exchange.js';
import type { Node } from './node.js';
import type { NodeRepairs } from './wire/cluster-service.js';
import { explain } from './wire/explanation.js';
import type {
  BeliefReport,
  HintsReport,
  PeerRepairReport,
  RepairStatusReport,
  RoundReport,
} from './wire/repair-reports.js';

/** A round that somebody asked for: whoever is busy is asked again for that long. */
const REPAIR_WITHIN_MS = 10 * 60_000;

/** What operators may ask of a node beside looking: comparing replicas, and mending what differs. */
export function repairsOf(node: Node, clock: Clock): NodeRepairs {
  const { nodeId } = node.welcome();
  return {
    async verify({ limit, timeoutMs, signal, onProgress, onDifference }) {
      const startedMs = clock.monotonicMs();
      const report = await node.verify({
        deadlineMs: startedMs + REPAIR_WITHIN_MS,
        maxKeys: limit,
        timeoutMs,
        signal,
        onProgress: ({ comparisons, done, suspects }) =>
          onProgress({
            partitions: PARTITIONS,
            // A cluster of one has nothing to compare.
            done: Math.floor((PARTITIONS * done) / Math.max(comparisons, 1)),
            differing: suspects,
          }),
      });
      for (const { key, partition, copies } of report.keys) {
        const { replicas } = explain(hash32(key), copies, clock.wallMs());
        onDifference({ partition, key, replicas });
      }
      return {
        partitions: PARTITIONS,
        compared: report.partitionsCompared,
        differingPartitions: report.partitionsDiffering,
        differing: report.differing,
        uncompared: report.uncompared.map(({ nodeId: replica, reason }) => ({
          node: replica,
          reason,
        })),
        durationMs: tenths(clock.monotonicMs() - startedMs),
      };
    },

    async repair({ signal, onProgress, onPeer }) {
      const results = await node.antiEntropy.repair(
        clock.monotonicMs() + REPAIR_WITHIN_MS,
        (peer, { partitions, done, copied, bytes }) =>
          onProgress({ peer, partitions, done, copied, bytes }),
        signal,
      );
      for (const { nodeId: peer, result } of results) onPeer(peerRepair(peer, result));
    },

    local(key) {
      const partition = partitionOf(hash32(key));
      const replicas = node.replicasOf(partition).filter((id) => id !== nodeId);
      const { promised, committed } = node.replica.fences.of(partition);
      return {
        node: nodeId,
        hintsOwed: replicas.filter((id) => node.replica.hints.isOwed(id, key)),
        ...(promised.length === 0 ? {} : { promised: readVersion(promised, 0) }),
        ...(committed.length === 0 ? {} : { committed: readVersion(committed, 0) }),
        rounds: roundsOf(node, clock).filter(({ peer }) => replicas.includes(peer)),
      };
    },
  };
}

export function beliefReports(node: Node): BeliefReport[] {
  const { nodeId: own } = node.welcome();
  return node
    .beliefs()
    .filter(({ nodeId }) => nodeId !== own)
    .map(({ nodeId, address, status, generation, forMs }) => ({
      nodeId,
      address,
      status,
      generation,
      forMs: Math.round(forMs),
    }));
}

export function hintsReport(node: Node): HintsReport {
  const { owed, delivered, dropped } = node.hints();
  return {
    owed: owed.map(({ nodeId, keys }) => ({ target: nodeId, keys })),
    delivered,
    dropped,
  };
}

export function repairStatus(node: Node, clock: Clock): RepairStatusReport {
  const { peers, totals } = node.antiEntropy;
  return {
    treesReady: node.replica.trees.ready,
    // The same partition may differ from several peers; it is the greatest number that says how far it is from being mended.
    partitionsDiffering: Math.max(
      0,
      ...peers.map(({ partitionsDiffering }) => partitionsDiffering),
    ),
    keys: totals.pulled + totals.pushed,
    bytes: totals.bytesRepaired,
    corruptKeys: node.replica.corruptKeys.length,
    rounds: roundsOf(node, clock),
  };
}

function roundsOf(node: Node, clock: Clock): RoundReport[] {
  return node.antiEntropy.peers.map((comparison) => roundReport(comparison, clock.wallMs()));
}

function roundReport(comparison: PeerComparison, nowMs: number): RoundReport {
  const { nodeId: peer, endedWallMs, durationMs, reason, differing, bytes } = comparison;
  if (endedWallMs === undefined) {
    return { peer, result: 'never', reason: '', agoMs: 0, durationMs: 0, keys: 0, bytes: 0 };
  }
  return {
    peer,
    result: reason !== '' ? 'incomplete' : differing === 0 ? 'equal' : 'mended',
    reason,
    // The clock may have been set back meanwhile.
    agoMs: Math.max(0, Math.round(nowMs - endedWallMs)),
    durationMs: tenths(durationMs),
    keys: differing,
    bytes,
  };
}

function peerRepair(peer: string, result: ExchangeResult | undefined): PeerRepairReport {
  const nothing = { partitions: 0, differing: 0, pulled: 0, pushed: 0, bytes: 0, durationMs: 0 };
  if (result === undefined) {
    return { peer, complete: false, reason: 'it is not connected', ...nothing };
  }
  const { reason, differences, bytesSent, bytesReceived, durationMs } = result;
  const sum = (pick: (of: (typeof differences)[number]) => number): number =>
    differences.reduce((total, difference) => total + pick(difference), 0);
  return {
    peer,
    complete: reason === '',
    reason,
    partitions: differences.length,
    differing: sum(({ differing }) => differing),
    pulled: sum(({ pulled }) => pulled),
    pushed: sum(({ pushed }) => pushed),
    bytes: bytesSent + bytesReceived,
    durationMs: tenths(durationMs),
  };
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}
