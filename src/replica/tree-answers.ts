import { GROUPS, SEGMENTS } from '../core/hash-tree.js';
import { isHidden } from '../core/fence.js';
import { PARTITION_SET_BYTES } from '../core/partition-set.js';
import { PARTITIONS } from '../core/placement.js';
import { headerOf, isIntact } from '../core/record.js';
import type { Clock } from '../io/clock.js';
import type { AskReply, AskRequest, KeysReply } from '../io/peer-asks.js';
import type { ReplicaFailure } from '../io/peer.js';
import { StoreError, type Store } from '../io/store.js';
import type { AnsweringReplica } from './ask-handlers.js';
import { describeStoreError, refused } from './failure.js';
import type { FenceTable } from './fence-table.js';
import type { KnownRecords } from './known-records.js';
import { segmentOfEntry } from './layout.js';
import { indexedRecords, readScattered } from './segment-index.js';

/** A node that is being compared with keeps the others waiting for so long after each step. */
const LEASE_MS = 1_000;
/** A reply lists no more keys, and no more bytes of them, than these unless its first segment alone has more. */
const MAX_KEYS = 4_096;
const MAX_KEY_BYTES = 192 * 1024;
/** Nor reads for it more than so many bytes of records: whoever asks does not wait for long. */
const MAX_READ_BYTES = 16 * 1024 * 1024;

const REBUILDING = refused('UNAVAILABLE', 'the hash trees of this replica are being rebuilt');

export interface TreeAnswersOptions {
  readonly nodeId: string;
  readonly store: Store;
  readonly known: KnownRecords;
  readonly fences: FenceTable;
  readonly clock: Clock;
}

/**
 * Answers the steps of a comparison: which partitions differ, which groups and segments of them, which keys. One node compares
 * with this one at a time, because two that exchange with a third at once would both bring it the same records.
 */
export class TreeAnswers {
  readonly #nodeId: string;
  readonly #store: Store;
  readonly #known: KnownRecords;
  readonly #clock: Clock;
  #leasedTo = '';
  #leaseEndsMs = 0;
  #exchanges = 0;
  #isCatchingUp: (nodeId: string) => boolean = () => false;
  readonly #fences: FenceTable;

  constructor(options: TreeAnswersOptions) {
    this.#nodeId = options.nodeId;
    this.#store = options.store;
    this.#known = options.known;
    this.#fences = options.fences;
    this.#clock = options.clock;
  }

  /** This node compares itself with another until what is given is called: whoever wants to compare meanwhile hears `busy`. */
  beginExchange(): () => void {
    this.#exchanges += 1;
    let ended = false;
    return () => {
      if (!ended) this.#exchanges -= 1;
      ended = true;
    };
  }

  /** Nodes for which this is true hear that this one is busy: what they differ in is on its way to them already. */
  waitsFor(isCatchingUp: (nodeId: string) => boolean): void {
    this.#isCatchingUp = isCatchingUp;
  }

  /** Has the replica answer with this what is asked of trees. */
  answerOn(replica: AnsweringReplica): void {
    replica.answer('digests', (request) => this.digests(request));
    replica.answer('segments', (request) => this.segments(request));
    replica.answer('keys', (request) => this.keys(request));
  }

  /**
   * An equal state is always said to be equal; one that differs is busy while another node compares. This node may ask its own
   * replica as it asks others.
   */
  async digests(request: AskRequest<'digests'>): Promise<AskReply<'digests'> | ReplicaFailure> {
    const { from, partitions, combined, takes = false } = request;
    if (partitions.length !== PARTITION_SET_BYTES) return outOfBounds('partitions');
    const { trees } = this.#known;
    const said = { kind: 'reply', ready: trees.ready, equal: false, busy: false } as const;
    const none = new Uint8Array(0);
    if (!trees.ready) return { ...said, digests: none };
    if (Buffer.compare(trees.combined(partitions), combined) === 0) {
      return { ...said, equal: true, digests: none };
    }
    if (!takes && this.#isBusyFor(from)) return { ...said, busy: true, digests: none };
    return { ...said, digests: trees.digests(partitions) };
  }

  async segments(request: AskRequest<'segments'>): Promise<AskReply<'segments'> | ReplicaFailure> {
    const { from, partition, groups, wide } = request;
    if (!isBelow(partition, PARTITIONS)) return outOfBounds('partition');
    if (groups.length > GROUPS || groups.some((group) => group >= GROUPS)) {
      return outOfBounds('groups');
    }
    const { trees } = this.#known;
    if (!trees.ready) return REBUILDING;
    this.#lease(from);
    const digests =
      groups.length === 0
        ? trees.groupDigests(partition, wide)
        : trees.segmentDigests(partition, groups, wide);
    const { promised, committed } = this.#fences.of(partition);
    return { kind: 'reply', digests, promised, committed };
  }

  async keys(request: AskRequest<'keys'>): Promise<KeysReply | ReplicaFailure> {
    const { from, partition, segments } = request;
    if (!isBelow(partition, PARTITIONS)) return outOfBounds('partition');
    if (
      segments.length === 0 ||
      segments.length > SEGMENTS ||
      !segments.every(
        (segment, i) => isBelow(segment, SEGMENTS) && segment > (segments[i - 1] ?? -1),
      )
    ) {
      return outOfBounds('segments');
    }
    if (!this.#known.trees.ready) return REBUILDING;
    this.#lease(from);
    try {
      return await this.#listKeys(partition, segments);
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      return refused('STORE_FAILED', describeStoreError(error));
    }
  }

  async #listKeys(partition: number, segments: readonly number[]): Promise<KeysReply> {
    const { committed } = this.#fences.of(partition);
    const density = this.#known.trees.counts(partition).records / SEGMENTS;
    const listed: Uint8Array[] = [];
    let bytes = 0;
    let segmentsListed = 0;
    for await (const entries of readScattered(this.#store, partition, segments, density)) {
      bytes = entries.reduce((sum, entryKey) => sum + entryKey.length, bytes);
      const isFull = listed.length + entries.length > MAX_KEYS || bytes > MAX_KEY_BYTES;
      if (segmentsListed > 0 && isFull) break;
      for (const entryKey of entries) listed.push(entryKey);
      segmentsListed += 1;
    }
    const { unread, ...found } = await this.#headersOf(listed, committed);
    if (unread !== undefined) segmentsListed = segments.indexOf(unread);
    return { kind: 'reply', ...found, listed: segmentsListed, committed };
  }

  /** `unread`: the segment from which on nothing was read any more. */
  async #headersOf(
    entries: readonly Uint8Array[],
    committed: Uint8Array,
  ): Promise<Pick<KeysReply, 'keys' | 'headers' | 'corrupt'> & { readonly unread?: number }> {
    const keys: Uint8Array[] = [];
    const headers: Uint8Array[] = [];
    const corrupt: Uint8Array[] = [];
    let bytes = 0;
    let segment: number | undefined;
    for await (const { entryKey, key, keyHash, record } of indexedRecords(this.#store, entries)) {
      if (segmentOfEntry(entryKey) !== segment && bytes > MAX_READ_BYTES) {
        return { keys, headers, corrupt, unread: segmentOfEntry(entryKey) };
      }
      segment = segmentOfEntry(entryKey);
      if (record instanceof Uint8Array) bytes += record.length;
      // Removed since the index was read.
      if (record === undefined) continue;
      if (record instanceof StoreError) {
        corrupt.push(key);
      } else if (!isIntact(keyHash, record)) {
        this.#known.foundCorrupt(key, keyHash);
        corrupt.push(key);
      } else if (!isHidden(record, committed)) {
        keys.push(key);
        // A copy: a view would keep the whole record.
        headers.push(Uint8Array.prototype.slice.call(headerOf(record)));
      }
    }
    return { keys, headers, corrupt };
  }

  #isBusyFor(from: string): boolean {
    // Whoever compares with it already goes on; so this node's own comparison, too, waits for that one.
    if (this.#clock.monotonicMs() < this.#leaseEndsMs) return from !== this.#leasedTo;
    if (from === this.#nodeId) return false;
    return this.#exchanges > 0 || this.#isCatchingUp(from);
  }

  #lease(from: string): void {
    // Its own comparison ends when it says so.
    if (from === this.#nodeId) return;
    this.#leasedTo = from;
    this.#leaseEndsMs = this.#clock.monotonicMs() + LEASE_MS;
  }
}

function isBelow(value: number, bound: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < bound;
}

function outOfBounds(field: string): ReplicaFailure {
  return refused('INVALID_ARGUMENT', `${field}: out of bounds`);
}
