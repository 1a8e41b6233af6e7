import { hash32 } from '../core/hash.js';
import { addPartition, emptyPartitionSet, type PartitionSet } from '../core/partition-set.js';
import { PARTITIONS, partitionOf, type Placement } from '../core/placement.js';
import type { Clock } from '../io/clock.js';
import { isReplicaFailure, type Peer } from '../io/peer.js';
import { sleep, type Timers } from '../io/timers.js';
import { compareReplicas } from './comparison.js';
import { differ, readCopies, type KeyCopies } from './key-copies.js';
import { Dialogue } from './dialogue.js';
import type { ExchangeTurns } from './exchange-turns.js';
import { Pace } from './pace.js';

/** What differs is read again after this long, and counts only where it differs still: a write under way is no difference. */
const SETTLE_MS = 1_000;
const BUSY_PAUSE_MS = 250;
const TIMEOUT_MS = 5_000;
/** What reading again takes at the most, kept of the time for it. */
const READ_AGAIN_MS = 5_000;

/** Keys remembered to be read again; those beyond count as they were found. */
const MAX_SUSPECTS = 100_000;

export interface VerifyPorts {
  /** The node that verifies. It may be a replica, or not. */
  readonly nodeId: string;
  readonly turns: ExchangeTurns;
  readonly placement: () => Placement;
  /** The way to a member; for the node itself, its own replica. */
  readonly peerOf: (nodeId: string) => Peer | undefined;
  readonly clock: Clock;
  readonly timers: Timers;
}

export interface VerifyOptions {
  readonly deadlineMs: number;
  /** The most keys told one by one; all are counted. Default: 1,000. */
  readonly maxKeys?: number;
  /** Default: 1,000. */
  readonly settleMs?: number;
  /** A replica that leaves a question unanswered for so long is asked nothing more, and counts as not compared. Default: 5 s. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: VerifyProgress) => void;
}

export interface VerifyProgress {
  /** Comparisons of two replicas. */
  readonly comparisons: number;
  readonly done: number;
  /** Keys that seemed to differ so far. */
  readonly suspects: number;
}

export interface VerifyReport {
  /** Partitions of which all replicas were compared with each other, of 256. */
  readonly partitionsCompared: number;
  /** Replicas that could not be compared, or not to the end. */
  readonly uncompared: readonly UncomparedReplica[];
  /** Keys on which replicas differ, and how many partitions they are of. */
  readonly differing: number;
  readonly partitionsDiffering: number;
  /** Some of those, in no order. */
  readonly keys: readonly KeyCopies[];
}

export interface UncomparedReplica {
  readonly nodeId: string;
  readonly partitions: number;
  /** For people. */
  readonly reason: string;
}

/**
 * Compares all replicas of every partition with each other, and changes nothing. Two replicas are compared by their trees, so
 * this costs what differs, and not what there is. Never rejects but with what `turns` rejects with.
 */
export function verify(ports: VerifyPorts, options: VerifyOptions): Promise<VerifyReport> {
  return ports.turns.take(
    (_, signal) => new Verification(ports, options, signal).run(),
    options.signal,
  );
}

/** Two replicas to be compared over the partitions that they share. */
interface Pair {
  readonly base: Peer;
  readonly other: Peer;
  readonly partitions: PartitionSet;
  readonly numbers: number[];
}

class Verification {
  readonly #ports: VerifyPorts;
  readonly #options: VerifyOptions;
  readonly #signal: AbortSignal;
  readonly #placement: Placement;
  /** Keys that seem to differ, one character a byte. */
  readonly #suspects = new Set<string>();
  /** Partitions in which some replica could not be compared. */
  readonly #incomplete = new Set<number>();
  /** By node: of which partitions it could not be compared, and the first reason. */
  readonly #uncompared = new Map<
    string,
    { readonly partitions: Set<number>; readonly reason: string }
  >();
  /** By node: why it is asked nothing more. */
  readonly #silent = new Map<string, string>();
  /** When comparing ends, so that there is time to read again what it has found. */
  readonly #compareUntilMs: number;
  readonly #timeoutMs: number;
  #differing = 0;
  readonly #partitionsDiffering = new Set<number>();

  constructor(ports: VerifyPorts, options: VerifyOptions, signal: AbortSignal) {
    this.#ports = ports;
    this.#options = options;
    this.#signal = signal;
    this.#placement = ports.placement();
    const { deadlineMs, settleMs = SETTLE_MS, timeoutMs = TIMEOUT_MS } = options;
    this.#timeoutMs = timeoutMs;
    const halfMs = (deadlineMs - ports.clock.monotonicMs()) / 2;
    this.#compareUntilMs = deadlineMs - Math.min(settleMs + READ_AGAIN_MS, halfMs);
  }

  async run(): Promise<VerifyReport> {
    let partitions = Array.from({ length: PARTITIONS }, (_, partition) => partition);
    while (partitions.length > 0) partitions = await this.#compareAll(this.#pairs(partitions));
    const keys = await this.#readAgain();
    return {
      partitionsCompared: PARTITIONS - this.#incomplete.size,
      uncompared: [...this.#uncompared]
        .map(([nodeId, found]) => ({
          nodeId,
          partitions: found.partitions.size,
          reason: found.reason,
        }))
        .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1)),
      differing: this.#differing,
      partitionsDiffering: this.#partitionsDiffering.size,
      keys,
    };
  }

  /** Gives the partitions whose replicas are to be compared with another one, because theirs fell silent. */
  async #compareAll(pairs: readonly Pair[]): Promise<number[]> {
    const again = new Set<number>();
    for (const [done, pair] of pairs.entries()) {
      this.#tell(pairs.length, done);
      const { base, other, numbers } = pair;
      const reason = this.#isSilent(base, other) ? '' : await this.#compare(pair);
      if (reason === undefined) continue;
      const silent = [base, other].filter((peer) => this.#isSilent(peer));
      for (const { nodeId } of silent) {
        this.#giveUp(nodeId, numbers, this.#silent.get(nodeId) as string);
      }
      if (silent.length === 0) this.#giveUp(other.nodeId, numbers, reason);
      if (silent.includes(base)) for (const partition of numbers) again.add(partition);
    }
    this.#tell(pairs.length, pairs.length);
    return [...again];
  }

  #isSilent(...peers: readonly Peer[]): boolean {
    return peers.some(({ nodeId }) => this.#silent.has(nodeId));
  }

  /** In each partition every replica with the first that can be asked, which is this node where it is one. */
  #pairs(partitions: readonly number[]): readonly Pair[] {
    const pairs = new Map<string, Pair>();
    const absent = new Map<string, number[]>();
    for (const partition of partitions) {
      const peers = this.#replicasOf(partition).filter(({ nodeId }) => !this.#silent.has(nodeId));
      const connected = peers.filter(({ peer }) => peer?.connected === true);
      const [first] = connected;
      const base = connected.find(({ nodeId }) => nodeId === this.#ports.nodeId) ?? first;
      for (const { nodeId, peer } of peers) {
        if (peer?.connected !== true) {
          absent.set(nodeId, [...(absent.get(nodeId) ?? []), partition]);
        } else if (base?.peer !== undefined && peer !== base.peer) {
          const name = `${base.nodeId} ${nodeId}`;
          const pair = pairs.get(name) ?? newPair(base.peer, peer);
          pairs.set(name, pair);
          addPartition(pair.partitions, partition);
          pair.numbers.push(partition);
        }
      }
    }
    for (const [nodeId, numbers] of absent) this.#giveUp(nodeId, numbers, 'not connected');
    return [...pairs.values()];
  }

  #replicasOf(partition: number): { readonly nodeId: string; readonly peer: Peer | undefined }[] {
    const { members, preference } = this.#placement;
    return (preference[partition] as readonly number[]).map((index) => {
      const { id } = members[index] as { readonly id: string };
      return { nodeId: id, peer: this.#ports.peerOf(id) };
    });
  }

  /** Why they could not be compared; undefined: they were. One that is busy is asked again until the deadline. */
  async #compare({ base, other, partitions }: Pair): Promise<string | undefined> {
    const { clock, timers, nodeId } = this.#ports;
    const deadlineMs = this.#compareUntilMs;
    const pace = new Pace(clock, timers, () => false, 0);
    for (;;) {
      const dialogue = new Dialogue({
        from: nodeId,
        self: base,
        peer: other,
        clock,
        timers,
        pace,
        deadlineMs,
        signal: this.#signal,
        timeoutMs: this.#timeoutMs,
      });
      await compareReplicas(dialogue, partitions, {
        exact: true,
        settleMs: 0,
        onPartitions: () => {},
        onDifferences: async (_, { keys, corrupt }) => {
          for (const { key } of keys) this.#suspect(key);
          for (const key of corrupt) this.#suspect(key);
        },
        onUnreadable: (partition, unreadable, reason) =>
          this.#giveUp(unreadable, [partition], reason),
        onDone: () => {},
      });
      dialogue.finish('complete', '');
      const { end, reason } = dialogue.end;
      if (dialogue.failed !== undefined) this.#silent.set(dialogue.failed, reason);
      if (end === 'complete') return undefined;
      if (end !== 'busy') return reason;
      if (clock.monotonicMs() + BUSY_PAUSE_MS >= deadlineMs) return reason;
      await sleep(timers, BUSY_PAUSE_MS);
    }
  }

  #suspect(key: Uint8Array): void {
    if (this.#suspects.size < MAX_SUSPECTS) this.#suspects.add(nameOf(key));
    else this.#count(partitionOf(hash32(key)));
  }

  #count(partition: number): void {
    this.#differing += 1;
    this.#partitionsDiffering.add(partition);
  }

  /** Counts the suspects on which replicas differ after a moment still, and gives some of them. */
  async #readAgain(): Promise<readonly KeyCopies[]> {
    const { maxKeys = 1_000 } = this.#options;
    const told: KeyCopies[] = [];
    if (this.#suspects.size === 0) return told;
    await sleep(this.#ports.timers, this.#options.settleMs ?? SETTLE_MS);
    const keys = [...this.#suspects].map((name) => Buffer.from(name, 'latin1'));
    const { deadlineMs } = this.#options;
    const ports: VerifyPorts = {
      ...this.#ports,
      peerOf: (id) => (this.#silent.has(id) ? undefined : this.#ports.peerOf(id)),
    };
    const until = { deadlineMs, timeoutMs: this.#timeoutMs, signal: this.#signal };
    for await (const copies of readCopies(ports, keys, until)) {
      this.#noteSilent(copies);
      if (!differ(copies)) continue;
      this.#count(copies.partition);
      if (told.length < maxKeys) told.push(copies);
    }
    return told;
  }

  /** A replica that could not be read again may differ still: it has not been compared to the end. */
  #noteSilent({ partition, copies }: KeyCopies): void {
    for (const { node, answer } of copies) {
      if (!isReplicaFailure(answer) || answer.code === 'RECORD_CORRUPT') continue;
      const reason = this.#silent.get(node) ?? `${node}: ${answer.message}`;
      if (answer.kind !== 'refused') this.#silent.set(node, reason);
      this.#giveUp(node, [partition], reason);
    }
  }

  #giveUp(nodeId: string, partitions: readonly number[], reason: string): void {
    const uncompared = this.#uncompared.get(nodeId) ?? { partitions: new Set(), reason };
    this.#uncompared.set(nodeId, uncompared);
    for (const partition of partitions) {
      this.#incomplete.add(partition);
      uncompared.partitions.add(partition);
    }
  }

  #tell(comparisons: number, done: number): void {
    this.#options.onProgress?.({ comparisons, done, suspects: this.#suspects.size });
  }
}

function newPair(base: Peer, other: Peer): Pair {
  return { base, other, partitions: emptyPartitionSet(), numbers: [] };
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}
