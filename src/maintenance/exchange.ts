import { isAtOrBelow, NO_FENCE } from '../core/fence.js';
import type { PartitionSet } from '../core/partition-set.js';
import type { Clock } from '../io/clock.js';
import type { Peer } from '../io/peer.js';
import type { Timers } from '../io/timers.js';
import { compareReplicas } from './comparison.js';
import { CopyWindow, type CopyCounts, type Traffic } from './copy-window.js';
import { Dialogue, type DialogueEnd } from './dialogue.js';
import type { KeyDifference } from './key-difference.js';
import { Pace } from './pace.js';

/** Beside requests it rests three times as long as it works: nobody waits for it, and requests wait behind each slice of its work. */
const REST_SHARE = 3;
/** A write is on all its replicas after much less, when all is well. */
const SETTLE_MS = 50;

const NOTHING_COPIED: CopyCounts = { pulled: 0, pushed: 0, fenced: 0, corrupt: 0 };

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
  /** Counts the differing keys with a version at or below this fence, 16 bytes. */
  readonly fenceOf?: (partition: number) => Uint8Array | undefined;
  /**
   * Compares nothing but whole digests. Else halves of them are compared where one may be enough: what they hide is found the
   * next time. Default: where a fence is asked about.
   */
  readonly exact?: boolean;
  /** Whether the node has work in the foreground: then the exchange rests now and then (pace.ts). Default: never. */
  readonly busy?: () => boolean;
  readonly signal?: AbortSignal;
  /** Called for each key on which the two differ, before anything of it is copied. */
  readonly onDifference?: (partition: number, difference: KeyDifference) => void;
  /** Called for each partition that has been looked through. */
  readonly onProgress?: (progress: ExchangeProgress) => void;
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
  /** Not copied because that was not asked for. */
  readonly left: number;
}

export interface ExchangeResult extends Readonly<Traffic> {
  readonly end: DialogueEnd;
  /** For people; empty when complete, unless a disk could not be read where something differs. */
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
  const pace = new Pace(clock, timers, options.busy ?? (() => false), REST_SHARE);
  const { deadlineMs, signal } = options;
  const from = self.nodeId;
  const dialogue = new Dialogue({
    from,
    takes: options.copies === 'pull',
    self,
    peer,
    clock,
    timers,
    pace,
    deadlineMs,
    signal,
  });
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
  const findings = new Findings(dialogue.traffic, options);
  await compareReplicas(dialogue, partitions, {
    exact: options.exact ?? options.fenceOf !== undefined,
    settleMs: options.settleMs ?? SETTLE_MS,
    onPartitions: (count) => findings.expect(count),
    onDifferences(partition, { keys, corrupt }) {
      const found = findings.of(partition);
      found.corrupt += corrupt.length;
      return copies.copy(findings.toCopy(found, keys), found);
    },
    onUnreadable: (partition, _, reason) => findings.unreadable(partition, reason),
    onDone: (partition) => findings.done(partition),
  });
  dialogue.finish('complete', '');
  const { end, reason } = dialogue.end;
  return {
    end,
    reason: reason || findings.obstacle,
    ...dialogue.traffic,
    partitionsLeft: findings.partitionsLeft,
    differences: findings.all,
    durationMs: clock.monotonicMs() - startedMs,
  };
}

type Found = { -readonly [K in keyof PartitionDifference]: PartitionDifference[K] };

/** What has been found so far, and what is to become of it. */
class Findings {
  readonly #traffic: Traffic;
  readonly #options: ExchangeOptions;
  readonly #found = new Map<number, Found>();
  /** Why some of a partition could not be read; empty: all could. */
  obstacle = '';
  #partitions = 0;
  #done = 0;
  #equal = 0;

  constructor(traffic: Traffic, options: ExchangeOptions) {
    this.#traffic = traffic;
    this.#options = options;
  }

  get all(): PartitionDifference[] {
    return [...this.#found.values()].filter(({ differing, corrupt }) => differing + corrupt > 0);
  }

  get partitionsLeft(): number {
    return this.#partitions - this.#equal;
  }

  expect(partitions: number): void {
    this.#partitions = partitions;
  }

  of(partition: number): Found {
    let found = this.#found.get(partition);
    if (found === undefined) {
      found = { partition, differing: 0, belowFence: 0, left: 0, ...NOTHING_COPIED };
      this.#found.set(partition, found);
    }
    return found;
  }

  /** Counts the differences, and picks those that are to be copied. */
  toCopy(found: Found, keys: readonly KeyDifference[]): KeyDifference[] {
    const { copies = 'both', onDifference } = this.#options;
    const fence = this.#options.fenceOf?.(found.partition) ?? NO_FENCE;
    return keys.filter((difference) => {
      const { winner, header, losing, fenced } = difference;
      found.differing += 1;
      onDifference?.(found.partition, difference);
      if (isAtOrBelow(losing ?? header, fence)) found.belowFence += 1;
      if (copies === 'look' || (copies === 'pull' && winner === 'own')) {
        found.left += 1;
        return false;
      }
      if (fenced) found.fenced += 1;
      return !fenced;
    });
  }

  unreadable(partition: number, reason: string): void {
    this.of(partition).corrupt += 1;
    this.obstacle ||= reason;
  }

  done(partition: number): void {
    const { left, fenced, corrupt } = this.of(partition);
    this.#done += 1;
    if (left + fenced + corrupt === 0) this.#equal += 1;
    const { onProgress } = this.#options;
    if (onProgress === undefined) return;
    let differing = 0;
    let copied = 0;
    for (const found of this.#found.values()) {
      differing += found.differing;
      copied += found.pulled + found.pushed;
    }
    const bytes = this.#traffic.bytesSent + this.#traffic.bytesReceived;
    onProgress({ partitions: this.#partitions, done: this.#done, differing, copied, bytes });
  }
}
