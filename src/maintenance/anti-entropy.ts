import { countPartitions, type PartitionSet } from '../core/partition-set.js';
import type { Tempo } from '../core/tempo.js';
import type { Clock } from '../io/clock.js';
import type { Log } from '../io/log.js';
import type { Peer } from '../io/peer.js';
import type { Random } from '../io/random.js';
import { sleep, type CancelTimer, type Timers } from '../io/timers.js';
import type { DialogueEnd } from './dialogue.js';
import type { ExchangeProgress, ExchangeResult } from './exchange.js';
import type { ExchangeTurns } from './exchange-turns.js';

/** One comparison at most; what is left then is for the next one with that peer, which follows soon. */
const ROUND_MS = 30_000;
/** Nodes that start together, or find each other busy, part by a chance delay: from this part of the interval to that. */
const SOONEST = 0.05;
const SOON = 0.3;
/** However rarely nodes compare by themselves, a repair asks one who was busy again after this long at most. */
const BUSY_PAUSE_MS = 500;
/** An interval is longer or shorter by up to this part of it, so that nodes do not keep step. */
const JITTER = 0.1;

export interface AntiEntropyOptions {
  readonly turns: ExchangeTurns;
  /** The other members. A new array when the member list changes. */
  readonly peers: () => readonly Peer[];
  /** The partitions of which both this node and that member are replicas. */
  readonly sharedWith: (nodeId: string) => PartitionSet;
  readonly tempo: Tempo;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly log: Log;
  /** False while this node neither asks nor answers. Default: always true. */
  readonly serving?: () => boolean;
  /** Whether the node has work in the foreground. */
  readonly busy: () => boolean;
  /** Whether what that member has missed is on its way to it already: comparing waits until it is there. */
  readonly isCatchingUp?: (nodeId: string) => boolean;
}

/** How the last comparison with a peer went, for status and metrics. */
export interface PeerComparison {
  readonly nodeId: string;
  /** Undefined: none has ended yet, and the rest is of no meaning. */
  readonly endedWallMs: number | undefined;
  readonly durationMs: number;
  readonly end: DialogueEnd;
  readonly reason: string;
  /** Keys that differed. */
  readonly differing: number;
  /** Bytes sent and received for it. */
  readonly bytes: number;
  /** Partitions that differ from that peer as far as is known: those that are not done yet, or were not mended. */
  readonly partitionsDiffering: number;
}

/** Sums since the start. */
export interface AntiEntropyTotals {
  /** Comparisons that were completed. */
  readonly rounds: number;
  readonly pulled: number;
  readonly pushed: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Bytes of the records that were copied, either way. */
  readonly bytesRepaired: number;
}

/** What a repair found with one peer. */
export interface RepairReport {
  readonly nodeId: string;
  /** Undefined: it was not connected. */
  readonly result: ExchangeResult | undefined;
}

export interface AntiEntropy {
  /** A connection has come up: what it missed is to be found soon. */
  connected(nodeId: string): void;
  /** Compares with every member now, one after the other; a busy one is asked again until the deadline. */
  repair(
    deadlineMs: number,
    onProgress?: (nodeId: string, progress: ExchangeProgress) => void,
    signal?: AbortSignal,
  ): Promise<readonly RepairReport[]>;
  readonly peers: readonly PeerComparison[];
  readonly totals: AntiEntropyTotals;
  stop(): void;
}

const NEVER: Omit<PeerComparison, 'nodeId'> = {
  endedWallMs: undefined,
  durationMs: 0,
  end: 'complete',
  reason: '',
  differing: 0,
  bytes: 0,
  partitionsDiffering: 0,
};

/**
 * Compares this node with one peer after another, for ever, and mends what differs (Demers et al. 1987, push and pull): each
 * interval with the next that is connected, and soon with one that has just connected or was busy.
 */
export function startAntiEntropy(options: AntiEntropyOptions): AntiEntropy {
  const { turns, clock, timers, random, tempo, log } = options;
  const serving = options.serving ?? (() => true);
  const isCatchingUp = options.isCatchingUp ?? (() => false);
  const comparisons = new Map<string, PeerComparison>();
  const totals = {
    rounds: 0,
    pulled: 0,
    pushed: 0,
    bytesSent: 0,
    bytesReceived: 0,
    bytesRepaired: 0,
  };
  /** Peers to be compared with before the others, in order. */
  const urgent = new Set<string>();
  let wasUrgent = false;
  let after = '';
  let comparing = false;
  let stopped = false;
  let cancel: CancelTimer | undefined;

  const soonMs = (): number =>
    tempo.antiEntropyMs * (SOONEST + (SOON - SOONEST) * random.fraction());
  const intervalMs = (): number => tempo.antiEntropyMs * (1 + JITTER * (2 * random.fraction() - 1));

  /**
   * The next that can be asked: an urgent one, else the one that follows the last by id. The two take turns, so that one who is
   * busy, or behind by more than a round can mend, does not keep this node from the others.
   */
  const next = (): Peer | undefined => {
    const connected = options
      .peers()
      .filter((peer) => peer.connected && countPartitions(options.sharedWith(peer.nodeId)) > 0);
    for (const nodeId of urgent) {
      // When it is back, it is urgent again.
      if (connected.every((peer) => peer.nodeId !== nodeId)) urgent.delete(nodeId);
    }
    const able = connected
      .filter(({ nodeId }) => !isCatchingUp(nodeId))
      .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
    if (!wasUrgent) {
      for (const nodeId of urgent) {
        const peer = able.find((one) => one.nodeId === nodeId);
        if (peer === undefined) continue;
        wasUrgent = true;
        return peer;
      }
    }
    wasUrgent = false;
    const inTurn = able.find(({ nodeId }) => nodeId > after) ?? able[0];
    after = inTurn?.nodeId ?? after;
    return inTurn;
  };

  const compare = async (
    peer: Peer,
    deadlineMs: number,
    onProgress?: (progress: ExchangeProgress) => void,
    signal?: AbortSignal,
  ): Promise<ExchangeResult> => {
    const { nodeId } = peer;
    urgent.delete(nodeId);
    const before = comparisons.get(nodeId) ?? { nodeId, ...NEVER };
    const result = await turns.exchange(peer, options.sharedWith(nodeId), {
      deadlineMs,
      busy: options.busy,
      ...(signal === undefined ? {} : { signal }),
      onProgress(progress) {
        const partitionsDiffering = progress.partitions - progress.done;
        comparisons.set(nodeId, { ...before, partitionsDiffering });
        onProgress?.(progress);
      },
    });
    note(nodeId, before, result);
    return result;
  };

  const note = (nodeId: string, before: PeerComparison, result: ExchangeResult): void => {
    const { end, reason, durationMs, bytesSent, bytesReceived, partitionsLeft } = result;
    let differing = 0;
    for (const found of result.differences) {
      differing += found.differing;
      totals.pulled += found.pulled;
      totals.pushed += found.pushed;
    }
    totals.bytesSent += bytesSent;
    totals.bytesReceived += bytesReceived;
    totals.bytesRepaired += result.recordBytes;
    if (end === 'complete') totals.rounds += 1;
    // One who was busy has said nothing about what differs.
    if (end === 'busy' || end === 'stopped') {
      comparisons.set(nodeId, before);
      return;
    }
    comparisons.set(nodeId, {
      nodeId,
      endedWallMs: clock.wallMs(),
      durationMs,
      end,
      reason,
      differing,
      bytes: bytesSent + bytesReceived,
      partitionsDiffering:
        end === 'complete' ? partitionsLeft : Math.max(partitionsLeft, before.partitionsDiffering),
    });
    if (reason !== before.reason && (end === 'failed' || end === 'complete') && reason !== '') {
      const what = end === 'failed' ? 'failed' : 'goes on but for one part';
      log.warn({ peer: nodeId, reason }, `comparing with ${nodeId} ${what}: ${reason}`);
    }
    // What fences or damage keep apart differs every time, and is told elsewhere.
    if (result.recordBytes > 0) {
      const fields = { peer: nodeId, differing, recordBytes: result.recordBytes, durationMs, end };
      log.info(fields, `mended: ${differing} keys differed from ${nodeId}`);
    }
  };

  const round = async (): Promise<void> => {
    const peer = serving() ? next() : undefined;
    if (peer === undefined) return;
    const { end } = await compare(peer, clock.monotonicMs() + ROUND_MS);
    if (end === 'busy' || end === 'late') urgent.add(peer.nodeId);
  };

  const tick = async (): Promise<void> => {
    if (comparing) return;
    comparing = true;
    try {
      await round();
    } catch (error) {
      log.error({ err: error }, 'a comparison with a peer failed');
    }
    comparing = false;
    arm();
  };

  const arm = (): void => {
    cancel?.();
    if (stopped) return;
    cancel = timers.after(urgent.size > 0 ? soonMs() : intervalMs(), () => void tick());
  };

  arm();

  return {
    connected(nodeId) {
      urgent.add(nodeId);
      if (!comparing) arm();
    },

    async repair(deadlineMs, onProgress, signal) {
      const reports: RepairReport[] = [];
      for (const peer of options.peers()) {
        const { nodeId } = peer;
        if (countPartitions(options.sharedWith(nodeId)) === 0) continue;
        let result: ExchangeResult | undefined;
        while (peer.connected && (result === undefined || result.end === 'busy')) {
          if (result !== undefined) await sleep(timers, Math.min(soonMs(), BUSY_PAUSE_MS));
          const tell = (progress: ExchangeProgress): void => onProgress?.(nodeId, progress);
          result = await compare(peer, deadlineMs, tell, signal);
        }
        reports.push({ nodeId, result });
      }
      return reports;
    },

    get peers() {
      return options.peers().map(({ nodeId }) => comparisons.get(nodeId) ?? { nodeId, ...NEVER });
    },
    totals,

    stop() {
      stopped = true;
      cancel?.();
    },
  };
}
