import { hash32 } from '../../src/core/hash.js';
import { compareKeys } from '../../src/core/key-range.js';
import { hasPartition } from '../../src/core/partition-set.js';
import { partitionOf } from '../../src/core/placement.js';
import { compareRecords, headerOf, headOf } from '../../src/core/record.js';
import { digestOfRecords } from '../../src/core/scan-digest.js';
import type {
  ApplyAnswer,
  ApplyCall,
  Peer,
  PingAnswer,
  ReadAnswer,
  ReadCall,
  ReplicaFailure,
  ReplicaPage,
  ReplicaScan,
} from '../../src/io/peer.js';
import { bytes } from './fixture.js';
import type { VirtualTime } from '../virtual-time.js';

/** What becomes of a call: it is carried out and answered, or something goes wrong on the way. */
export type Fate = 'works' | 'refuses' | 'is lost before' | 'is lost after';

const REFUSED: ReplicaFailure = { kind: 'refused', code: 'OVERLOADED', message: 'busy' };
const LATE: ReplicaFailure = { kind: 'failed', code: 'TIMED_OUT', message: 'no answer in time' };
const LOST: ReplicaFailure = { kind: 'failed', code: 'UNAVAILABLE', message: 'channel broken' };

/** A replica that keeps records in memory by the rule of `apply`, answers after a delay, and fails as it is told. */
export class MemoryPeer implements Peer {
  connected = true;
  readonly records = new Map<string, Uint8Array>();
  readonly corrupt = new Set<string>();
  /** Scans asked of it. */
  scans: ReplicaScan[] = [];
  fate: () => Fate = () => 'works';
  delayMs: () => number = () => 0;
  /** How many entries a scan looks at. */
  scanWork = Infinity;

  constructor(
    readonly nodeId: string,
    private readonly time: VirtualTime,
  ) {}

  hold(record: Uint8Array, key: string): void {
    this.records.set(key, record);
  }

  apply(call: ApplyCall, slot: number): void {
    this.#after((fate) => {
      call.onApplied(slot, this.#apply(call, fate));
    });
  }

  read(call: ReadCall, slot: number, part: 'record' | 'header'): void {
    this.#after((fate) => {
      call.onRead(slot, this.#read(call, fate, part));
    });
  }

  prepare(): void {
    throw new Error('rounds are tested on real replicas');
  }

  scan(request: ReplicaScan, deadlineMs: number): Promise<ReplicaPage | ReplicaFailure> {
    this.scans.push(request);
    return new Promise((resolve) => {
      const leftMs = deadlineMs - this.time.clock.monotonicMs();
      if (this.delayMs() > leftMs) {
        this.time.timers.after(leftMs, () => resolve(LATE));
        return;
      }
      this.#after((fate) => {
        resolve(fate === 'works' ? this.#scan(request) : fate === 'refuses' ? REFUSED : LOST);
      });
    });
  }

  ping(): Promise<PingAnswer | ReplicaFailure> {
    throw new Error('pings are of the clock watch');
  }

  ask(): Promise<ReplicaFailure> {
    throw new Error('nothing is asked here');
  }

  #after(act: (fate: Fate) => void): void {
    const fate = this.fate();
    this.time.timers.after(this.delayMs(), () => act(fate));
  }

  #apply(call: ApplyCall, fate: Fate): ApplyAnswer {
    const key = Buffer.from(call.key).toString('utf8');
    if (fate === 'refuses') return REFUSED;
    if (fate === 'is lost before') return LOST;
    if (this.corrupt.has(key)) {
      return { kind: 'refused', code: 'RECORD_CORRUPT', message: 'fails its checksum' };
    }
    const held = this.records.get(key);
    const keeps = held !== undefined && compareRecords(call.record, held) <= 0;
    if (!keeps) this.records.set(key, call.record);
    if (fate === 'is lost after') return LOST;
    return keeps ? { kind: 'kept', header: headerOf(held) } : { kind: 'applied' };
  }

  #read(call: ReadCall, fate: Fate, part: 'record' | 'header'): ReadAnswer {
    const key = Buffer.from(call.key).toString('utf8');
    if (fate === 'refuses') return REFUSED;
    if (fate !== 'works') return LOST;
    if (this.corrupt.has(key)) {
      return { kind: 'refused', code: 'RECORD_CORRUPT', message: 'fails its checksum' };
    }
    const record = this.records.get(key);
    if (record === undefined) return { kind: 'absent' };
    const header = headerOf(record);
    return part === 'record' ? { kind: 'found', header, record } : { kind: 'found', header };
  }

  #scan(request: ReplicaScan): ReplicaPage {
    const { entries, ...page } = this.#page(request);
    if (!request.asDigest) return { entries, ...page };
    return { ...page, entries: [], digest: digestOfRecords(entries) };
  }

  #page(request: ReplicaScan): ReplicaPage {
    const { gte, lt, reverse, limit, maxBytes, partitions, whole } = request;
    const entries: { key: Uint8Array; record: Uint8Array }[] = [];
    const corrupt: Uint8Array[] = [];
    let size = 0;
    let scannedTo: Uint8Array | undefined;
    const keys = [...this.records.keys()]
      .map(bytes)
      .filter((key) => compareKeys(key, gte) >= 0 && (lt.length === 0 || compareKeys(key, lt) < 0))
      .sort((a, b) => (reverse ? compareKeys(b, a) : compareKeys(a, b)));
    for (const [looked, key] of keys.entries()) {
      const name = Buffer.from(key).toString('utf8');
      const partition = partitionOf(hash32(key));
      if (hasPartition(partitions, partition)) {
        const stored = this.records.get(name) as Uint8Array;
        const record = hasPartition(whole, partition) ? stored : headOf(stored);
        if (this.corrupt.has(name)) corrupt.push(key);
        else {
          size += key.length + record.length;
          if (size > maxBytes && scannedTo !== undefined) {
            return { kind: 'page', entries, corrupt, scannedTo };
          }
          entries.push({ key, record });
        }
      }
      scannedTo = key;
      if (entries.length === limit || looked + 1 === this.scanWork) {
        return { kind: 'page', entries, corrupt, scannedTo };
      }
    }
    return { kind: 'page', entries, corrupt };
  }
}
