import { KvError } from '../core/errors.js';
import {
  FENCE_STATE_BYTES,
  joinFences,
  NO_FENCE,
  NO_FENCES,
  readFences,
  type FenceState,
} from '../core/fence.js';
import { compareKeys, keyAfter } from '../core/key-range.js';
import { lastOfLease, leaseRefuses } from '../core/lease.js';
import {
  addPartition,
  allPartitions,
  countPartitions,
  emptyPartitionSet,
  hasPartition,
  type PartitionSet,
} from '../core/partition-set.js';
import { PARTITIONS } from '../core/placement.js';
import { encodeRecord, versionOf } from '../core/record.js';
import type { Clock } from '../io/clock.js';
import { isReplicaFailure, type Peer, type ReplicaFailure, type ReplicaPage } from '../io/peer.js';
import type { AskReply } from '../io/peer-asks.js';
import { StoreError } from '../io/store.js';
import { sleep, type Timers } from '../io/timers.js';
import { applyAll } from './apply-all.js';
import { exchange, type PartitionDifference } from './exchange.js';
import { HeldAlone } from './held-alone.js';
import type { KeyDifference } from './key-difference.js';

/** Enough that a page costs its records and little more; a source serves others between two of them. */
const PAGE_ENTRIES = 4_096;
const PAGE_BYTES = 1024 * 1024;
/** Applied at the same time: their records fill the group commits, and wait within the bounds of the queue. */
const PAGES_AT_ONCE = 3;
const CALL_TIMEOUT_MS = 10_000;
/** For the comparison with one source, which copies what differs. */
const COMPARE_TIMEOUT_MS = 10 * 60_000;
/** Before a source that compares with somebody else, or builds its trees, is asked again. */
const BUSY_PAUSE_MS = 50;

const NO_BYTES = new Uint8Array(0);
const MALFORMED: ReplicaFailure = {
  kind: 'failed',
  code: 'INTERNAL',
  message: 'it answered fences that cannot be read',
};

/** The fences of the own replica, as far as a refill needs them (replica/fences.ts). */
export interface RefilledFences {
  setAside(): void;
  adopt(partition: number, state: FenceState): Promise<void>;
}

/** The promises of the own replica (replica/promise-answers.ts). */
export interface RefilledPromises {
  setAside(): void;
  adopt(
    promises: readonly { readonly key: Uint8Array; readonly ballot: Uint8Array }[],
    mayDoubt: (partition: number) => boolean,
  ): Promise<void>;
}

/** The index and the trees of the own replica (replica/sweep.ts). */
export interface RefilledIndex {
  rebuild(): Promise<void>;
}

export interface RefillPorts {
  /** The own replica, which serves nobody meanwhile. */
  readonly self: Peer;
  readonly fences: RefilledFences;
  readonly promises: RefilledPromises;
  readonly sweeper: RefilledIndex;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly placementVersion: () => number;
}

/**
 * Brings a replica that has forgotten what others hold, one source after another. Where its folder is empty, partitions are
 * first copied in whole pages; then, and otherwise, hash trees find what differs.
 */
export class Refill {
  readonly #ports: RefillPorts;
  readonly #signal: AbortSignal;
  /** Partitions of which pages have been copied, or that were not empty to begin with. */
  #begun: PartitionSet | undefined;
  /** How far the pages of which partitions have come: a source that fails is gone on from. */
  #copying: { readonly partitions: PartitionSet; next: Uint8Array } | undefined;

  /** By partition the greatest fences of its sources. */
  readonly #fences: (FenceState | undefined)[] = [];
  /** What the sources have promised, and what their records promise beside themselves. */
  readonly #promises: { readonly key: Uint8Array; readonly ballot: Uint8Array }[] = [];
  /** How many sources each partition has had, to the end. */
  readonly #sources = new Uint8Array(PARTITIONS);
  readonly #alone = new HeldAlone();

  constructor(ports: RefillPorts, signal: AbortSignal) {
    this.#ports = ports;
    this.#signal = signal;
    ports.fences.setAside();
    ports.promises.setAside();
  }

  /**
   * Gives what went wrong, in words. Undefined: nothing did, and whatever `source` held of these partitions before this began
   * is here and synced, or something newer is. It can be tried again.
   */
  async from(source: Peer, partitions: PartitionSet): Promise<string | undefined> {
    const begun = (this.#begun ??= await this.#survey());
    if (begun === undefined) return 'the own folder cannot be read';
    // Before anything is read there: what was promised is told, or is followed by a record that is read.
    const untold = await this.#hearPromises(source, partitions);
    if (untold !== undefined) return `${source.nodeId}: ${untold.message}`;
    const untouched = difference(partitions, begun);
    if (countPartitions(untouched) > 0) {
      const failure = await this.#copyPages(source, untouched);
      if (failure !== undefined) return `${source.nodeId}: ${failure.message}`;
      for (const partition of listed(untouched)) addPartition(begun, partition);
    }
    const problem = await this.#compare(source, partitions);
    if (problem !== undefined) return problem;
    // After everything was read there: what was missing had been passed by these fences by then, or never was.
    const unheard = await this.#hearFences(source, partitions);
    if (unheard !== undefined) return `${source.nodeId}: ${unheard.message}`;
    for (const partition of listed(partitions)) {
      this.#sources[partition] = (this.#sources[partition] ?? 0) + 1;
    }
    return undefined;
  }

  /**
   * After the last source: gives up what a fence has passed and none of them holds, for that is what was deleted and comes back,
   * and takes over their fences. Gives what went wrong, in words.
   */
  async finish(): Promise<string | undefined> {
    const gone = this.#fences.flatMap((fences, partition) =>
      fences === undefined
        ? []
        : this.#alone.below(partition, fences.committed, this.#sources[partition] ?? 0),
    );
    // A tombstone in the place of each: of equal versions it wins, and the fence takes it off the disk.
    const tombstones = gone.map(({ key, header }) => ({
      key,
      record: encodeRecord(key, { version: versionOf(header), tombstone: true, value: NO_BYTES }),
    }));
    const failure = await this.#applyAll(tombstones);
    if (failure !== undefined) return failure.message;
    try {
      await Promise.all(
        this.#fences.flatMap((fences, partition) =>
          fences === undefined ? [] : [this.#ports.fences.adopt(partition, fences)],
        ),
      );
      // Who has one other replica refills from it alone: no round goes on without that one, so each has seen what is copied from it.
      const mayDoubt = (partition: number): boolean => this.#sources[partition] !== 1;
      await this.#ports.promises.adopt(this.#promises, mayDoubt);
      return undefined;
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      return error.message;
    }
  }

  async #hearFences(source: Peer, partitions: PartitionSet): Promise<ReplicaFailure | undefined> {
    const deadlineMs = this.#ports.clock.monotonicMs() + CALL_TIMEOUT_MS;
    const reply = await source.ask('fences', { partitions }, deadlineMs);
    if (isReplicaFailure(reply)) return reply;
    const heard = listed(partitions);
    if (reply.fences.length !== heard.length * FENCE_STATE_BYTES) return MALFORMED;
    for (const [at, partition] of heard.entries()) {
      const fences = readFences(reply.fences, at * FENCE_STATE_BYTES);
      this.#fences[partition] = joinFences(this.#fences[partition] ?? NO_FENCES, fences);
    }
    return undefined;
  }

  async #hearPromises(source: Peer, partitions: PartitionSet): Promise<ReplicaFailure | undefined> {
    let after: Uint8Array | undefined = NO_BYTES;
    while (after !== undefined) {
      const deadlineMs = this.#ports.clock.monotonicMs() + CALL_TIMEOUT_MS;
      const reply: AskReply<'promises'> | ReplicaFailure = await source.ask(
        'promises',
        { partitions, after },
        deadlineMs,
      );
      if (isReplicaFailure(reply)) return reply;
      for (const [i, ballot] of reply.ballots.entries()) {
        const key = Uint8Array.from(reply.keys[i] as Uint8Array);
        this.#promises.push({ key, ballot: Uint8Array.from(ballot) });
      }
      after = reply.more ? reply.keys.at(-1) : undefined;
    }
    return undefined;
  }

  /**
   * Which partitions hold something: all or none, for a folder that holds anything holds a little of everything. What it holds is
   * found out from the records themselves: a damaged log may have lost the entry of the index and not the record, and what is
   * not compared would be kept whatever fences have passed it.
   */
  async #survey(): Promise<PartitionSet | undefined> {
    const all = allPartitions();
    const page = await this.#page(this.#ports.self, NO_BYTES, all, 1);
    if (isReplicaFailure(page)) return undefined;
    const isEmpty =
      page.entries.length === 0 && page.corrupt.length === 0 && page.scannedTo === undefined;
    if (isEmpty) return emptyPartitionSet();
    try {
      await this.#ports.sweeper.rebuild();
      return all;
    } catch (error) {
      if (error instanceof KvError || error instanceof StoreError) return undefined;
      throw error;
    }
  }

  async #compare(source: Peer, partitions: PartitionSet): Promise<string | undefined> {
    const { clock, timers } = this.#ports;
    for (;;) {
      const result = await exchange(this.#ports, source, partitions, {
        deadlineMs: clock.monotonicMs() + COMPARE_TIMEOUT_MS,
        copies: 'pull',
        settleMs: 0,
        // Halves of digests may be equal by chance, and here nothing may be missed.
        exact: true,
        onDifference: (partition, differing) => this.#note(source, partition, differing),
        signal: this.#signal,
      });
      if (result.end === 'complete') {
        if (result.reason !== '') return result.reason;
        const unread = result.differences.reduce((sum, { corrupt }) => sum + corrupt, 0);
        if (unread > 0) return `${unread} records there or here cannot be read`;
        return this.#copyDoubted(source, result.differences);
      }
      if (result.end !== 'busy' && result.end !== 'not-ready') {
        return `${source.nodeId}: ${result.reason}`;
      }
      await sleep(timers, BUSY_PAUSE_MS);
    }
  }

  /**
   * The own fences are set aside, so what was not copied for one is what the source abstains on (replica/promises.ts). Its pages tell
   * it, and its promises make it as doubtful here. To wait until a round has settled it will not do: of two replicas it needs this one.
   */
  async #copyDoubted(
    source: Peer,
    differences: readonly PartitionDifference[],
  ): Promise<string | undefined> {
    const doubted = emptyPartitionSet();
    for (const { partition, fenced } of differences) {
      if (fenced > 0) addPartition(doubted, partition);
    }
    if (countPartitions(doubted) === 0) return undefined;
    const failure = await this.#copyPages(source, doubted);
    return failure === undefined ? undefined : `${source.nodeId}: ${failure.message}`;
  }

  /**
   * A record that is leased promises ballots to its writer (core/lease.ts), and this replica may have held it before it forgot. What
   * wins over it here and was kept out by the lease there is a copy from below a promise.
   */
  #note(source: Peer, partition: number, differing: KeyDifference): void {
    const { key, winner, header, losing } = differing;
    if (losing === undefined) {
      if (winner === 'own') this.#alone.add(source.nodeId, partition, key, header);
    } else if (leaseRefuses(losing, header)) {
      this.#promises.push({ key: Uint8Array.from(key), ballot: lastOfLease(losing) });
    }
  }

  /** From the first key to the last. Pages come one after another, and are applied while the next ones come. */
  async #copyPages(source: Peer, partitions: PartitionSet): Promise<ReplicaFailure | undefined> {
    if (this.#copying === undefined || compareKeys(this.#copying.partitions, partitions) !== 0) {
      this.#copying = { partitions, next: NO_BYTES };
    }
    const copying = this.#copying;
    const ask = (gte: Uint8Array) => this.#page(source, gte, partitions, PAGE_ENTRIES);
    const underWay: {
      readonly applied: Promise<ReplicaFailure | undefined>;
      readonly next: Uint8Array;
    }[] = [];
    const settleFirst = async (): Promise<ReplicaFailure | undefined> => {
      const first = underWay.shift();
      const failure = await first?.applied;
      if (failure === undefined && first !== undefined) copying.next = first.next;
      return failure;
    };
    let coming: ReturnType<typeof ask> | undefined = ask(copying.next);
    while (coming !== undefined) {
      const page: ReplicaPage | ReplicaFailure = await coming;
      if (isReplicaFailure(page)) return page;
      // What the source cannot read is left to the comparison, which says so.
      const scannedTo: Uint8Array | undefined = page.scannedTo;
      const next: Uint8Array = scannedTo === undefined ? copying.next : keyAfter(scannedTo);
      coming = scannedTo === undefined || this.#signal.aborted ? undefined : ask(next);
      underWay.push({ applied: this.#applyAll(page.entries), next });
      const failure = underWay.length < PAGES_AT_ONCE ? undefined : await settleFirst();
      if (failure !== undefined) return failure;
    }
    while (underWay.length > 0) {
      const failure = await settleFirst();
      if (failure !== undefined) return failure;
    }
    this.#copying = undefined;
    return undefined;
  }

  async #page(
    from: Peer,
    gte: Uint8Array,
    partitions: PartitionSet,
    limit: number,
  ): Promise<ReplicaPage | ReplicaFailure> {
    const { clock, placementVersion } = this.#ports;
    return from.scan(
      {
        gte,
        lt: NO_BYTES,
        reverse: false,
        limit,
        maxBytes: PAGE_BYTES,
        partitions,
        whole: partitions,
        asDigest: false,
        placementVersion: placementVersion(),
      },
      clock.monotonicMs() + CALL_TIMEOUT_MS,
    );
  }

  /** Resolves when all of them are on disk; gives a failure, if there was one. */
  #applyAll(entries: ReplicaPage['entries']): Promise<ReplicaFailure | undefined> {
    const { self, clock, placementVersion } = this.#ports;
    const deadlineMs = clock.monotonicMs() + CALL_TIMEOUT_MS;
    // The own fences are set aside, so no copy needs one.
    const shared = { fence: NO_FENCE, deadlineMs, placementVersion: placementVersion() };
    return applyAll(self, entries, shared);
  }
}

function listed(partitions: PartitionSet): number[] {
  return Array.from({ length: PARTITIONS }, (_, partition) => partition).filter((partition) =>
    hasPartition(partitions, partition),
  );
}

function difference(a: PartitionSet, b: PartitionSet): PartitionSet {
  return a.map((byte, i) => byte & ~(b[i] as number));
}
