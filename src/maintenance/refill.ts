import { NO_FENCE } from '../core/fence.js';
import { hash32 } from '../core/hash.js';
import { compareKeys, keyAfter } from '../core/key-range.js';
import {
  addPartition,
  countPartitions,
  emptyPartitionSet,
  hasPartition,
  type PartitionSet,
} from '../core/partition-set.js';
import { PARTITIONS } from '../core/placement.js';
import type { Clock } from '../io/clock.js';
import {
  isReplicaFailure,
  type ApplyAnswer,
  type ApplyCall,
  type Peer,
  type ReplicaFailure,
  type ReplicaPage,
} from '../io/peer.js';
import { sleep, type Timers } from '../io/timers.js';
import { exchange } from './exchange.js';

/** Enough that a page costs its records and little more; a source serves others between two of them. */
const PAGE_ENTRIES = 4_096;
const PAGE_BYTES = 1024 * 1024;
const CALL_TIMEOUT_MS = 10_000;
/** For the comparison with one source, which copies what differs. */
const COMPARE_TIMEOUT_MS = 10 * 60_000;
/** Before a source that compares with somebody else, or builds its trees, is asked again. */
const BUSY_PAUSE_MS = 50;

const NO_BYTES = new Uint8Array(0);

export interface RefillPorts {
  /** The own replica, which serves nobody meanwhile. */
  readonly self: Peer;
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

  constructor(ports: RefillPorts, signal: AbortSignal) {
    this.#ports = ports;
    this.#signal = signal;
  }

  /**
   * Gives what went wrong, in words. Undefined: nothing did, and whatever `source` held of these partitions before this began
   * is here and synced, or something newer is. It can be tried again.
   */
  async from(source: Peer, partitions: PartitionSet): Promise<string | undefined> {
    const begun = (this.#begun ??= await this.#nonEmpty());
    if (begun === undefined) return 'the own folder cannot be read';
    const untouched = difference(partitions, begun);
    if (countPartitions(untouched) > 0) {
      const failure = await this.#copyPages(source, untouched);
      if (failure !== undefined) return `${source.nodeId}: ${failure.message}`;
      for (let partition = 0; partition < PARTITIONS; partition++) {
        if (hasPartition(untouched, partition)) addPartition(begun, partition);
      }
    }
    return this.#compare(source, partitions);
  }

  /** All partitions or none: a folder that holds anything holds a little of everything. */
  async #nonEmpty(): Promise<PartitionSet | undefined> {
    const all = new Uint8Array(emptyPartitionSet().length).fill(0xff);
    const page = await this.#page(this.#ports.self, NO_BYTES, all, 1);
    if (isReplicaFailure(page)) return undefined;
    const isEmpty =
      page.entries.length === 0 && page.corrupt.length === 0 && page.scannedTo === undefined;
    return isEmpty ? emptyPartitionSet() : all;
  }

  async #compare(source: Peer, partitions: PartitionSet): Promise<string | undefined> {
    const { clock, timers } = this.#ports;
    for (;;) {
      const result = await exchange(this.#ports, source, partitions, {
        deadlineMs: clock.monotonicMs() + COMPARE_TIMEOUT_MS,
        copies: 'pull',
        settleMs: 0,
        // So that whole digests are compared: halves may be equal by chance, and here nothing may be missed.
        fenceOf: () => undefined,
        signal: this.#signal,
      });
      if (result.end === 'complete') {
        const unread = result.differences.reduce((sum, { corrupt }) => sum + corrupt, 0);
        return unread === 0 ? undefined : `${unread} records there or here cannot be read`;
      }
      if (result.end !== 'busy' && result.end !== 'not-ready') {
        return `${source.nodeId}: ${result.reason}`;
      }
      await sleep(timers, BUSY_PAUSE_MS);
    }
  }

  /** From the first key to the last: one page is asked for while the one before it is applied. */
  async #copyPages(source: Peer, partitions: PartitionSet): Promise<ReplicaFailure | undefined> {
    if (this.#copying === undefined || compareKeys(this.#copying.partitions, partitions) !== 0) {
      this.#copying = { partitions, next: NO_BYTES };
    }
    const copying = this.#copying;
    const ask = (gte: Uint8Array) => this.#page(source, gte, partitions, PAGE_ENTRIES);
    let coming: ReturnType<typeof ask> | undefined = ask(copying.next);
    while (coming !== undefined) {
      const page: ReplicaPage | ReplicaFailure = await coming;
      if (isReplicaFailure(page)) return page;
      // What the source cannot read is left to the comparison, which says so.
      const next: Uint8Array | undefined =
        page.scannedTo === undefined ? undefined : keyAfter(page.scannedTo);
      coming = next === undefined || this.#signal.aborted ? undefined : ask(next);
      const failure = await this.#applyAll(page);
      if (failure !== undefined) return failure;
      if (next !== undefined) copying.next = next;
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
        placementVersion: placementVersion(),
      },
      clock.monotonicMs() + CALL_TIMEOUT_MS,
    );
  }

  /** Resolves when all of the page is on disk; gives a failure, if there was one. */
  async #applyAll({ entries }: ReplicaPage): Promise<ReplicaFailure | undefined> {
    if (entries.length === 0) return undefined;
    const { self, clock, placementVersion } = this.#ports;
    return new Promise((resolve) => {
      let left = entries.length;
      let failure: ReplicaFailure | undefined;
      const shared = {
        source: 'copy',
        // An empty folder has committed none, so it takes whatever comes.
        fence: NO_FENCE,
        deadlineMs: clock.monotonicMs() + CALL_TIMEOUT_MS,
        placementVersion: placementVersion(),
        traceparent: NO_BYTES,
        onApplied(_slot: number, answer: ApplyAnswer): void {
          if (isReplicaFailure(answer)) failure = answer;
          left -= 1;
          if (left === 0) resolve(failure);
        },
      } as const;
      for (const { key, record } of entries) {
        const copy: ApplyCall = { ...shared, key, keyHash: hash32(key), record };
        self.apply(copy, 0);
      }
    });
  }
}

function difference(a: PartitionSet, b: PartitionSet): PartitionSet {
  return a.map((byte, i) => byte & ~(b[i] as number));
}
