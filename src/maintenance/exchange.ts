import { NO_FENCE } from '../core/fence.js';
import { compareKeys } from '../core/key-range.js';
import { addPartition, emptyPartitionSet, type PartitionSet } from '../core/partition-set.js';
import type { Clock } from '../io/clock.js';
import type { Peer } from '../io/peer.js';
import type { KeysReply } from '../io/peer-asks.js';
import type { Timers } from '../io/timers.js';
import { HEADER_BYTES } from '../core/record.js';
import { CopyWindow, type CopyCounts, type Traffic } from './copy-window.js';
import { Dialogue, type DialogueEnd } from './dialogue.js';
import {
  isAtOrBelow,
  keyDifferences,
  type KeyDifference,
  type ListedKeys,
} from './key-difference.js';
import { Pace } from './pace.js';
import { differingPartitions, differingSegments, type DifferingPartitions } from './tree-walk.js';

/** Partitions whose trees are compared at once: a few round trips each, and next to no work. */
const LOOKS_AT_ONCE = 32;
/** Partitions whose keys are compared and copied at once. Of each, two lists of keys are in memory, of 256 KiB at most. */
const PARTITIONS_AT_ONCE = 4;
/** Segments listed in one ask at most, so that nobody waits long behind it. */
const SEGMENTS_AT_ONCE = 128;
/** A write is on all its replicas after much less, when all is well. */
const SETTLE_MS = 50;

export interface ExchangePorts {
  /** The own replica: its trees answer `ask`, its store `read` and `apply`. */
  readonly self: Peer;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly placementVersion: () => number;
}

export interface ExchangeOptions {
  /** On the monotonic clock. Wherever it is, it ends then. */
  readonly deadlineMs: number;
  /** `both`: each gets what is newer on the other. `pull`: only the own replica does. `look`: neither. Default: `both`. */
  readonly copies?: 'both' | 'pull' | 'look';
  /** What differs is looked at again after this long, so that writes under way cost little. Default: 50; 0: not again. */
  readonly settleMs?: number;
  /** Counts the differing keys with a version at or below this fence (16 bytes). With it, only whole digests are compared. */
  readonly fenceOf?: (partition: number) => Uint8Array | undefined;
  /** Whether the node has work in the foreground: then the exchange rests for as long as it works. Default: never. */
  readonly busy?: () => boolean;
  readonly signal?: AbortSignal;
  /** Called for each partition that has been looked through. */
  readonly onProgress?: (progress: ExchangeProgress) => void;
  /** What the peer has promised and committed of a partition that differs; empty: nothing. */
  readonly onFences?: (partition: number, promised: Uint8Array, committed: Uint8Array) => void;
  /** The own replica holds this key, with this header, and the peer has nothing. */
  readonly onHeldAlone?: (partition: number, key: Uint8Array, header: Uint8Array) => void;
}

export interface ExchangeProgress {
  /** Partitions that differ, and how many of them are done. */
  readonly partitions: number;
  readonly done: number;
  readonly differing: number;
  readonly copied: number;
  readonly bytes: number;
}

/** What one partition differed in, and what became of it. */
export interface PartitionDifference extends Readonly<CopyCounts> {
  readonly partition: number;
  /** Keys on which the two differed. Not those that one of them cannot read. */
  readonly differing: number;
  /** Of those, keys with a version, on either side, at or below the fence that was asked about. */
  readonly belowFence: number;
}

export interface ExchangeResult extends Readonly<Traffic> {
  readonly end: DialogueEnd;
  /** For people; empty when complete. */
  readonly reason: string;
  /** Partitions that differ still, as far as it came: something was not copied. */
  readonly partitionsLeft: number;
  /** Only partitions in which something differed. */
  readonly differences: readonly PartitionDifference[];
  readonly durationMs: number;
}

/**
 * Compares what two replicas hold of some partitions, and brings to each what is newer on the other. Cost follows the
 * difference: one digest of everything, then those of partitions, groups and segments, then the keys of segments that differ,
 * then records (Demers et al. 1987, over hash trees as Merkle's). Never rejects, and ends by itself.
 */
export async function exchange(
  ports: ExchangePorts,
  peer: Peer,
  partitions: PartitionSet,
  options: ExchangeOptions,
): Promise<ExchangeResult> {
  const { self, clock, timers } = ports;
  const startedMs = clock.monotonicMs();
  const pace = new Pace(clock, timers, options.busy ?? (() => false));
  const { deadlineMs, signal } = options;
  const from = self.nodeId;
  const dialogue = new Dialogue({ from, self, peer, clock, timers, pace, deadlineMs, signal });
  const copies = new CopyWindow({
    self,
    peer,
    clock,
    timers,
    placementVersion: ports.placementVersion(),
    pace,
    traffic: dialogue.traffic,
    onFailure: (nodeId, failure) => dialogue.fail(nodeId, failure),
  });
  void dialogue.whenOver().then(() => copies.stop());
  const comparison = new Comparison(dialogue, copies, options);
  await comparison.run(partitions);
  dialogue.finish('complete', '');
  return {
    ...dialogue.end,
    ...dialogue.traffic,
    partitionsLeft: comparison.partitionsLeft,
    differences: comparison.differences,
    durationMs: clock.monotonicMs() - startedMs,
  };
}

type Found = { -readonly [K in keyof PartitionDifference]: PartitionDifference[K] };

/** The walk from the digest of everything down to records. */
class Comparison {
  readonly differences: Found[] = [];
  readonly #dialogue: Dialogue;
  readonly #copies: CopyWindow;
  readonly #options: ExchangeOptions;
  #partitions = 0;
  #done = 0;
  #settled = 0;

  constructor(dialogue: Dialogue, copies: CopyWindow, options: ExchangeOptions) {
    this.#dialogue = dialogue;
    this.#copies = copies;
    this.#options = options;
  }

  get partitionsLeft(): number {
    return this.#partitions - this.#settled;
  }

  async run(partitions: PartitionSet): Promise<void> {
    const first = await differingPartitions(this.#dialogue, partitions);
    if (first === undefined || first.size === 0) return;
    this.#partitions = first.size;
    const segments = await this.#segmentsOf([...first.keys()]);
    if (segments.size > 0) await this.#settle(first, segments);
    this.#partitions = segments.size;
    await forEach([...segments], PARTITIONS_AT_ONCE, async ([partition, differing]) => {
      await this.#mend(partition, differing);
      this.#done += 1;
      this.#tellProgress();
    });
  }

  /** The segments in which these partitions differ; without partitions that do not any more. */
  async #segmentsOf(partitions: readonly number[]): Promise<Map<number, readonly number[]>> {
    const { fenceOf, onFences } = this.#options;
    const found = new Map<number, readonly number[]>();
    await forEach(partitions, LOOKS_AT_ONCE, async (partition) => {
      const look = await differingSegments(this.#dialogue, partition, fenceOf !== undefined);
      if (look === undefined) return;
      onFences?.(partition, look.promised, look.committed);
      if (look.segments.length > 0) found.set(partition, look.segments);
    });
    return found;
  }

  /**
   * After a moment, leaves in `segments` only what differs still. A partition that differs in just the same way as before is
   * not walked again: what differs there lies still.
   */
  async #settle(
    first: DifferingPartitions,
    segments: Map<number, readonly number[]>,
  ): Promise<void> {
    const settleMs = this.#options.settleMs ?? SETTLE_MS;
    if (settleMs === 0) return;
    await this.#dialogue.wait(settleMs);
    const looked = emptyPartitionSet();
    for (const partition of segments.keys()) addPartition(looked, partition);
    const second = await differingPartitions(this.#dialogue, looked);
    if (second === undefined) return;
    const moving: number[] = [];
    for (const partition of segments.keys()) {
      const now = second.get(partition);
      if (now === undefined) segments.delete(partition);
      else if (compareKeys(now, first.get(partition) as Uint8Array) !== 0) moving.push(partition);
    }
    const again = await this.#segmentsOf(moving);
    for (const partition of moving) {
      const now = new Set(again.get(partition));
      const still = (segments.get(partition) ?? []).filter((segment) => now.has(segment));
      if (still.length > 0) segments.set(partition, still);
      else segments.delete(partition);
    }
  }

  async #mend(partition: number, segments: readonly number[]): Promise<void> {
    const found: Found = {
      partition,
      differing: 0,
      belowFence: 0,
      pulled: 0,
      pushed: 0,
      fenced: 0,
      corrupt: 0,
    };
    let uncopied = 0;
    for (let at = 0; at < segments.length;) {
      const asked = segments.slice(at, at + SEGMENTS_AT_ONCE);
      const theirs = await this.#list(partition, asked);
      if (theirs === undefined) break;
      const own = await this.#listOwn(partition, asked.slice(0, theirs.listed));
      if (own === undefined) break;
      at += theirs.listed;
      const { keys, corrupt } = keyDifferences(own, theirs);
      found.corrupt += corrupt;
      const toCopy = this.#toCopy(keys, found);
      uncopied += keys.length - toCopy.length;
      await this.#copies.copy(toCopy, found);
    }
    if (found.differing > 0 || found.corrupt > 0) this.differences.push(found);
    if (!this.#dialogue.over && uncopied + found.fenced + found.corrupt === 0) this.#settled += 1;
  }

  /** Counts the differences, and picks those that are to be copied. */
  #toCopy(keys: readonly KeyDifference[], found: Found): KeyDifference[] {
    const { copies = 'both', onHeldAlone } = this.#options;
    const fence = this.#options.fenceOf?.(found.partition) ?? NO_FENCE;
    return keys.filter(({ key, winner, header, losing, fenced }) => {
      found.differing += 1;
      if (isAtOrBelow(losing ?? header, fence)) found.belowFence += 1;
      if (winner === 'own' && losing === undefined) onHeldAlone?.(found.partition, key, header);
      if (copies === 'look' || (copies === 'pull' && winner === 'own')) return false;
      if (fenced) found.fenced += 1;
      return !fenced;
    });
  }

  /** What the peer has of these segments, or of the first `listed` of them. Undefined: it has come to an end. */
  async #list(partition: number, segments: readonly number[]): Promise<KeysReply | undefined> {
    const { from } = this.#dialogue;
    const reply = await this.#dialogue.askPeer('keys', { from, partition, segments });
    if (reply === undefined || isSound(reply, segments.length)) return reply;
    this.#dialogue.finish(
      'failed',
      `${this.#dialogue.peer.nodeId}: answered keys that make no sense`,
    );
    return undefined;
  }

  /** What the own replica has of all these segments. */
  async #listOwn(partition: number, segments: readonly number[]): Promise<ListedKeys | undefined> {
    const { from } = this.#dialogue;
    const keys: Uint8Array[] = [];
    const headers: Uint8Array[] = [];
    const corrupt: Uint8Array[] = [];
    let committed: Uint8Array = NO_FENCE;
    for (let at = 0; at < segments.length;) {
      const rest = segments.slice(at);
      const reply = await this.#dialogue.askSelf('keys', { from, partition, segments: rest });
      if (reply === undefined) return undefined;
      keys.push(...reply.keys);
      headers.push(...reply.headers);
      corrupt.push(...reply.corrupt);
      ({ committed } = reply);
      at += Math.max(1, reply.listed);
    }
    return { keys, headers, corrupt, committed };
  }

  #tellProgress(): void {
    const { onProgress } = this.#options;
    if (onProgress === undefined) return;
    const { bytesSent, bytesReceived } = this.#dialogue.traffic;
    let differing = 0;
    let copied = 0;
    for (const found of this.differences) {
      differing += found.differing;
      copied += found.pulled + found.pushed;
    }
    const bytes = bytesSent + bytesReceived;
    onProgress({ partitions: this.#partitions, done: this.#done, differing, copied, bytes });
  }
}

function isSound(reply: KeysReply, asked: number): boolean {
  return (
    reply.listed >= 1 &&
    reply.listed <= asked &&
    reply.keys.length === reply.headers.length &&
    reply.headers.every((header) => header.length === HEADER_BYTES)
  );
}

/** Calls `act` with each item, several at once, and resolves when all are through. */
async function forEach<T>(
  items: readonly T[],
  atOnce: number,
  act: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < items.length) await act(items[next++] as T);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, work));
}
