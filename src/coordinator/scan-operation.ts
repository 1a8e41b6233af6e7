import { invalidArgument, KvError, type ErrorCode } from '../core/errors.js';
import { isExpired } from '../core/expiry.js';
import { hash32 } from '../core/hash.js';
import { KeyRecord } from '../core/key-record.js';
import { compareKeys, keyAfter } from '../core/key-range.js';
import { countPartitions, emptyPartitionSet } from '../core/partition-set.js';
import { PARTITIONS } from '../core/placement.js';
import {
  compareRecords,
  HEADER_BYTES,
  headOf,
  isTombstone,
  VERSION_AT,
  versionOf,
} from '../core/record.js';
import type { CoverPart, ScanCover } from '../core/scan-cover.js';
import { areDigestsOf } from '../core/scan-digest.js';
import {
  mergePages,
  type MergedKey,
  type MergedRange,
  type MergePage,
} from '../core/scan-merge.js';
import { decodeScanToken, encodeScanToken, type TokenScope } from '../core/scan-token.js';
import type { NodeAnswer, NodeFailure, NodePage, NodeScan } from '../io/link.js';
import { isReplicaFailure, type ReplicaFailure, type ReplicaPage } from '../io/peer.js';
import { nextTurn } from '../io/timers.js';
import { EARLIER_LIFE } from './answers.js';
import type { Context } from './context.js';
import { UnderWay } from './in-flight.js';
import type { PeerState } from './peer-state.js';
import type { RouteTable } from './routes.js';
import type { ScanPlans } from './scan-plan.js';

/** What a page carries at most, unless its first record alone is larger. */
const PAGE_BYTES = 1024 * 1024;
/** What a scan counts for against the bound on bytes under way: an ordinary page. */
const CHARGE_BYTES = 64 * 1024;
/** How many keys on which replicas differ are read again at a time: it bounds what they may hold in memory. */
const REREADS_AT_ONCE = 32;
/** A node that covers a share of the partitions is asked for that share of the page and a little more. */
const SHARE_MARGIN = 1.1;
const SHARE_EXTRA = 8;

type Range = Pick<NodeScan, 'gte' | 'lt'>;

/** Reads one key at the scan's level, repairing as every read does. `minVersion` is 16 bytes, or empty. */
export type ReadAgain = (
  key: Uint8Array,
  keyHash: number,
  minVersion: Uint8Array,
) => Promise<NodeAnswer>;

/**
 * One page of a scan: ask the nodes of a cover, merge what they say up to the safe horizon, read again every key on which
 * they differ (that repairs it, so successive scans never go backwards, and it brings the record where only its header
 * came), drop the dead, answer.
 */
export class ScanOperation extends UnderWay {
  readonly bytes = CHARGE_BYTES;
  readonly answer: Promise<NodePage | NodeFailure>;
  readonly #scope: TokenScope;
  #resolve: (answer: NodePage | NodeFailure) => void = () => {};

  constructor(
    private readonly context: Context,
    private readonly table: RouteTable,
    private readonly plans: ScanPlans,
    clusterId: string,
    private readonly request: NodeScan,
    readonly deadlineMs: number,
    private readonly readAgain: ReadAgain,
  ) {
    super();
    const { gte, lt, reverse } = request;
    this.#scope = { clusterId, gte, lt, reverse };
    this.answer = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  start(): void {
    this.context.inFlight.add(this);
    this.#page().then(
      // What a replica said counts until the deadline that it was told, and not after it (maintenance/mend.ts).
      (page) =>
        this.context.clock.monotonicMs() < this.deadlineMs ? this.#finish(page) : this.expire(),
      (error: unknown) => this.#finish(failureOf(error)),
    );
  }

  expire(): void {
    this.#finish(scanFailure('TIMED_OUT', LATE));
  }

  cancel(): void {
    this.#finish(scanFailure('CANCELLED', 'the caller cancelled the scan'));
  }

  serves(operation: object): boolean {
    return operation === this.request;
  }

  #finish(answer: NodePage | NodeFailure): void {
    if (!this.isUnderWay) return;
    this.context.inFlight.remove(this);
    this.#resolve(answer);
  }

  async #page(): Promise<NodePage> {
    const range = this.#remainingRange();
    if (range.lt.length > 0 && compareKeys(range.gte, range.lt) >= 0) return NOTHING_LEFT;
    const found = await this.#gather(range);
    return 'keys' in found ? this.#build(found) : this.#passOn(found);
  }

  /** What is left of the range after the pages before this one. */
  #remainingRange(): Range {
    const { gte, lt, reverse, token } = this.request;
    if (token.length === 0) return { gte, lt };
    const last = decodeScanToken(this.#scope, token);
    if (last === undefined) {
      throw invalidArgument(
        'token',
        'belongs to another cluster, another range, or no page at all',
      );
    }
    return reverse ? { gte, lt: last } : { gte: keyAfter(last), lt };
  }

  /**
   * Asks a cover; where a node of it fails, once more without the nodes that did. When nodes shed load and no cover is left
   * without them, that is the answer: asking again would add to it. Where all nodes hold the same partitions, the others are
   * asked for a digest of the page that this one gives; where all say the same, it is that page, and where one of them says
   * otherwise, they are asked for what the page has of each record.
   */
  async #gather(range: Range): Promise<MergedRange | ReplicaPage> {
    const without = new Set<PeerState>();
    const had: Had[] = [];
    const { lives } = this.context;
    const livesVersion = lives.version;
    let byDigest = true;
    for (let attempt = 1; ;) {
      const { level, zone, reverse, keysOnly } = this.request;
      const nowMs = this.context.clock.monotonicMs();
      // Whoever cancelled has been answered already, and hears nothing of this.
      if (!this.isUnderWay || nowMs >= this.deadlineMs) throw new KvError('TIMED_OUT', LATE);
      const cover = this.plans.planFor(level, zone, without, nowMs);
      const pages = await this.#askAll(cover, range, byDigest && cover.isMirrored, had);
      const failures: { readonly peer: PeerState; readonly failure: ReplicaFailure }[] = [];
      const answered: (MergePage & ReplicaPage)[] = [];
      for (const [place, page] of pages.entries()) {
        const part = cover.parts[place] as CoverPart;
        const peer = this.#peerOf(part);
        if (isReplicaFailure(page)) {
          failures.push({ peer, failure: page });
        } else if (lives.changedAt(peer.nodeId) > livesVersion) {
          failures.push({ peer, failure: EARLIER_LIFE });
        } else {
          answered.push({ ...page, checked: peer.local });
          if (page.digest === undefined) had.push({ part, page });
        }
      }
      if (failures.length === 0) {
        const [own, ...others] = answered as [MergePage & ReplicaPage];
        if (byDigest && cover.isMirrored && areDigestsOf(own, others)) return own;
        if (!byDigest || answered.every(({ digest }) => digest === undefined)) {
          return mergePages(answered, cover.assigned, reverse, !keysOnly);
        }
        byDigest = false;
        continue;
      }
      const failedAtMs = this.context.clock.monotonicMs();
      let isShed = false;
      for (const { peer, failure } of failures) {
        if (failure.code === 'OVERLOADED') {
          isShed = true;
          this.plans.shed(peer, failedAtMs);
        } else {
          without.add(peer);
        }
      }
      if (attempt++ === 2) {
        const each = failures.map(({ peer, failure }) => `${peer.nodeId} ${failure.message}`);
        const code = isShed ? 'OVERLOADED' : 'NO_QUORUM';
        throw new KvError(code, `the scan was failed by nodes twice: ${each.join(', ')}`);
      }
    }
  }

  #peerOf(part: CoverPart): PeerState {
    return this.table.members[part.member] as PeerState;
  }

  /** The first part may be the node's own: the others are asked before it, and read while it does. */
  #askAll(
    cover: ScanCover,
    range: Range,
    byDigest: boolean,
    had: readonly Had[],
  ): Promise<(ReplicaPage | ReplicaFailure)[]> {
    const pages: Promise<ReplicaPage | ReplicaFailure>[] = [];
    for (let place = cover.parts.length - 1; place >= 0; place--) {
      const known = pageFrom(had, cover.parts[place] as CoverPart);
      pages[place] =
        known === undefined ? this.#ask(cover, place, range, byDigest) : Promise.resolve(known);
    }
    return Promise.all(pages);
  }

  async #ask(
    { parts }: ScanCover,
    place: number,
    range: Range,
    byDigest: boolean,
  ): Promise<ReplicaPage | ReplicaFailure> {
    const { reverse, limit, keysOnly } = this.request;
    const part = parts[place] as CoverPart;
    const asDigest = byDigest && place > 0;
    // A digest stands for the page that the first of the nodes gives.
    const { whole } = asDigest ? (parts[0] as CoverPart) : part;
    const share = Math.min((countPartitions(part.partitions) / PARTITIONS) * SHARE_MARGIN, 1);
    const peer = this.#peerOf(part);
    // What the others are asked leaves at the end of this turn.
    if (peer.local && parts.length > 1) await nextTurn(this.context.timers);
    const sentAtMs = this.context.clock.monotonicMs();
    peer.sent(sentAtMs, 0);
    const page = await peer.peer.scan(
      {
        ...range,
        reverse,
        limit: Math.min(limit, Math.ceil(limit * share) + SHARE_EXTRA),
        maxBytes: Math.ceil(PAGE_BYTES * share),
        partitions: part.partitions,
        whole: keysOnly ? NO_PARTITIONS : whole,
        asDigest,
        placementVersion: this.table.placement.version,
      },
      this.deadlineMs,
    );
    peer.answered(page, 0, sentAtMs);
    // The next plan prefers others to a node that hangs.
    if (page.kind === 'failed') {
      peer.latency.observe(this.context.clock.monotonicMs() - sentAtMs);
    }
    return page;
  }

  /** What is alive of a page on which all agree. It keeps to the bounds of the answer, which it was asked with. */
  #passOn({ entries, scannedTo }: ReplicaPage): NodePage {
    const nowMs = this.context.clock.wallMs();
    const alive = entries.filter(({ record }) => !isDead(record, nowMs));
    return this.#pageOf(alive, scannedTo);
  }

  async #build({ keys, scannedTo }: MergedRange): Promise<NodePage> {
    const entries: KeyRecord[] = [];
    let bytes = 0;
    let last: Uint8Array | undefined;
    // One moment for the whole page: what is known to be dead by its head alone must not live again when a clock is set back.
    const nowMs = this.context.clock.wallMs();
    for (let start = 0, end: number; start < keys.length && this.isUnderWay; start = end) {
      end = this.#stretchEnd(keys, start, nowMs);
      const stretch = keys.slice(start, end);
      const records = await this.#recordsOf(stretch, nowMs);
      for (const [i, { key }] of stretch.entries()) {
        const record = records[i];
        if (record !== undefined && !isDead(record, nowMs)) {
          const answered = this.request.keysOnly ? headOf(record) : record;
          const size = key.length + answered.length;
          const isFull = entries.length === this.request.limit || bytes + size > PAGE_BYTES;
          if (isFull && entries.length > 0) return this.#pageOf(entries, last);
          entries.push(new KeyRecord(key, answered));
          bytes += size;
        }
        last = key;
      }
    }
    return this.#pageOf(entries, scannedTo);
  }

  /** A page that ends at `resumeAfter`; undefined: at the end of the range. */
  #pageOf(entries: readonly KeyRecord[], resumeAfter: Uint8Array | undefined): NodePage {
    let newest: Uint8Array | undefined;
    for (const { record } of entries) {
      if (newest === undefined || compareRecords(record, newest) > 0) newest = record;
    }
    if (newest !== undefined) this.context.observe(versionOf(newest));
    const token = resumeAfter === undefined ? NO_TOKEN : encodeScanToken(this.#scope, resumeAfter);
    return { kind: 'page', entries, token };
  }

  /** The keys from `start` on of which few enough must be read again. */
  #stretchEnd(keys: readonly MergedKey[], start: number, nowMs: number): number {
    let rereads = 0;
    for (let end = start; end < keys.length; end++) {
      if (!this.#isSettled(keys[end] as MergedKey, nowMs) && ++rereads > REREADS_AT_ONCE)
        return end;
    }
    return keys.length;
  }

  #isSettled({ agreed, whole, newest }: MergedKey, nowMs: number): boolean {
    if (!agreed || newest === undefined) return false;
    return whole || this.request.keysOnly || isDead(newest, nowMs);
  }

  /** The record that answers for each key, on as many disks as the level needs. */
  async #recordsOf(keys: readonly MergedKey[], nowMs: number): Promise<(Uint8Array | undefined)[]> {
    const records = keys.map(({ newest }) => newest);
    const rereads: Promise<void>[] = [];
    for (const [i, key] of keys.entries()) {
      if (!this.#isSettled(key, nowMs)) rereads.push(this.#reread(key, records, i));
    }
    if (rereads.length > 0) await Promise.all(rereads);
    return records;
  }

  async #reread(
    { key, newest, corrupt }: MergedKey,
    records: (Uint8Array | undefined)[],
    place: number,
  ): Promise<void> {
    // The read may ask other replicas than the scan did; it goes on until it finds what the scan saw, and repairs that.
    const keyHash = hash32(key);
    let answer = await this.readAgain(key, keyHash, versionBytesOf(newest));
    if (answer.code === 'STALE') answer = await this.readAgain(key, keyHash, NO_VERSION);
    const { code, message, record } = answer;
    if (code === undefined) {
      records[place] = record;
      return;
    }
    const name = JSON.stringify(Buffer.from(key).toString('utf8'));
    const why = corrupt && code === 'NO_QUORUM' ? 'RECORD_CORRUPT' : code;
    throw new KvError(why, `key ${name}: ${message}`);
  }
}

/** Whether a record, or its head, says that there is no value. */
function isDead(record: Uint8Array, nowMs: number): boolean {
  return isTombstone(record) || isExpired(record, nowMs);
}

/** A page that a node gave for its part of a cover that another node failed. */
interface Had {
  readonly part: CoverPart;
  readonly page: ReplicaPage;
}

/** The page that the node of `part` gave for the same part before: what has been done is not done again. */
function pageFrom(had: readonly Had[], { member, partitions, whole }: CoverPart) {
  return had.find(
    ({ part }) =>
      part.member === member &&
      compareKeys(part.partitions, partitions) === 0 &&
      compareKeys(part.whole, whole) === 0,
  )?.page;
}

/** The 16 bytes of the version, for a `minVersion`. */
function versionBytesOf(header: Uint8Array | undefined): Uint8Array {
  return header === undefined ? NO_VERSION : header.subarray(VERSION_AT, HEADER_BYTES);
}

const LATE = 'the scan did not come to the end of its page in time';
const NO_VERSION = new Uint8Array(0);
const NO_TOKEN = new Uint8Array(0);
const NOTHING_LEFT: NodePage = { kind: 'page', entries: [], token: NO_TOKEN };
const NO_PARTITIONS = emptyPartitionSet();

function scanFailure(code: ErrorCode, message: string): NodeFailure {
  return { kind: 'failure', code, outcome: 'none', message };
}

export function failureOf(error: unknown): NodeFailure {
  return error instanceof KvError
    ? scanFailure(error.code, error.message)
    : scanFailure('INTERNAL', String(error));
}
