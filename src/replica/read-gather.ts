import { isHidden } from '../core/fence.js';
import { partitionOf } from '../core/placement.js';
import { headerOf, isIntact } from '../core/record.js';
import type { Clock } from '../io/clock.js';
import type { ReadAnswer, ReadCall, ReplicaFailure } from '../io/peer.js';
import { StoreError, type Store } from '../io/store.js';
import type { Timers } from '../io/timers.js';
import { CORRUPT, describeStoreError, LATE, refused, STOPPING } from './failure.js';
import type { FenceTable } from './fence-table.js';
import type { KnownRecords } from './known-records.js';
import { recordKey } from './layout.js';
import { lookUp, type Lookup } from './lookup.js';

/** Keys read from the store together. */
const GROUP_READS = 1_024;
/** Groups under way at once. LevelDB works on four threads, and syncs and scans need some of them. */
const GROUPS_AT_ONCE = 2;
const MAX_WAITING = 16_384;

const OVERLOADED = refused('OVERLOADED', 'too many reads wait for the disk of this replica');
const ABSENT: ReadAnswer = { kind: 'absent' };
const NOTHING: readonly Lookup[] = [];

type Part = 'record' | 'header';

interface ReadGroup {
  readonly calls: ReadCall[];
  readonly slots: number[];
  readonly parts: Part[];
}

/**
 * Reads that come in one turn share one read of the store, and a header that memory knows needs none. They see what is synced and
 * nothing else, because the store shows a batch when it is, and one record of a key or another, never parts of two.
 */
export class ReadGather {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #fences: FenceTable;
  readonly #known: KnownRecords;
  #gathering: ReadGroup = newGroup();
  #turnAsked = false;
  #underWay = 0;
  #stopping = false;
  #onIdle: (() => void) | undefined;
  #corrupt = 0;

  constructor(store: Store, clock: Clock, timers: Timers, fences: FenceTable, known: KnownRecords) {
    this.#store = store;
    this.#clock = clock;
    this.#timers = timers;
    this.#fences = fences;
    this.#known = known;
  }

  /** How often a stored record failed its checksum when it was read. */
  get corrupt(): number {
    return this.#corrupt;
  }

  /**
   * Its answer follows exactly once, never within this call. A failure that is returned means that the call was not taken,
   * and is the caller's to answer.
   */
  read(call: ReadCall, slot: number, part: Part): ReplicaFailure | undefined {
    if (this.#stopping) return STOPPING;
    const group = this.#gathering;
    if (group.calls.length >= MAX_WAITING) return OVERLOADED;
    group.calls.push(call);
    group.slots.push(slot);
    group.parts.push(part);
    this.#askTurn();
    return undefined;
  }

  /** Takes nothing more, and resolves when all that was taken is answered. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#idle) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  get #idle(): boolean {
    return this.#underWay === 0 && this.#gathering.calls.length === 0;
  }

  /** Where all groups are under way, the first of them to end asks. */
  #askTurn(): void {
    if (this.#turnAsked || this.#underWay >= GROUPS_AT_ONCE) return;
    this.#turnAsked = true;
    this.#timers.turn(() => {
      this.#turnAsked = false;
      void this.#readGroup(this.#take());
    });
  }

  #take(): ReadGroup {
    const gathered = this.#gathering;
    this.#gathering = {
      calls: gathered.calls.splice(GROUP_READS),
      slots: gathered.slots.splice(GROUP_READS),
      parts: gathered.parts.splice(GROUP_READS),
    };
    return gathered;
  }

  async #readGroup(group: ReadGroup): Promise<void> {
    const storeKeys = this.#sift(group);
    this.#underWay += 1;
    if (this.#gathering.calls.length > 0) this.#askTurn();
    const found = storeKeys.length > 0 ? await this.#lookUp(group, storeKeys) : NOTHING;
    this.#underWay -= 1;
    for (let i = 0; i < group.calls.length; i++) {
      const call = group.calls[i] as ReadCall;
      call.onRead(group.slots[i] as number, this.#checked(call, found[i], group.parts[i] as Part));
    }
    if (this.#gathering.calls.length > 0) this.#askTurn();
    else if (this.#idle) this.#onIdle?.();
  }

  /** What is found is told along with the committed fence, so none may be committed in between: then it is read again. */
  async #lookUp(group: ReadGroup, storeKeys: readonly Buffer[]): Promise<Lookup[]> {
    let { commits } = this.#fences;
    const found = await lookUp(this.#store, storeKeys);
    while (this.#fences.commits !== commits) {
      const since = commits;
      ({ commits } = this.#fences);
      for (const [i, call] of group.calls.entries()) {
        if (!this.#fences.isCommittedSince(partitionOf(call.keyHash), since)) continue;
        [found[i]] = await lookUp(this.#store, [storeKeys[i] as Buffer]);
      }
    }
    return found;
  }

  /** Answers what is late, and what is known without a read. What is left in the group is to be looked up, under the given keys. */
  #sift({ calls, slots, parts }: ReadGroup): Buffer[] {
    const nowMs = this.#clock.monotonicMs();
    const storeKeys: Buffer[] = [];
    for (let i = 0; i < calls.length; i++) {
      const call = calls[i] as ReadCall;
      const slot = slots[i] as number;
      const part = parts[i] as Part;
      if (call.deadlineMs <= nowMs) {
        call.onRead(slot, LATE);
        continue;
      }
      const storeKey = recordKey(call.key);
      const header = part === 'header' ? this.#known.header(storeKey, call.keyHash) : undefined;
      if (header !== undefined) {
        call.onRead(slot, this.#answer(call, header, part));
        continue;
      }
      const place = storeKeys.push(storeKey) - 1;
      calls[place] = call;
      slots[place] = slot;
      parts[place] = part;
    }
    calls.length = storeKeys.length;
    slots.length = storeKeys.length;
    parts.length = storeKeys.length;
    return storeKeys;
  }

  #checked(call: ReadCall, record: Lookup, part: Part): ReadAnswer {
    if (record instanceof StoreError) return refused('STORE_FAILED', describeStoreError(record));
    if (record !== undefined && !isIntact(call.keyHash, record)) {
      this.#corrupt += 1;
      this.#known.foundCorrupt(call.key, call.keyHash);
      return CORRUPT;
    }
    return this.#answer(call, record, part);
  }

  /** `record`: in an answer of the header, the header is enough. */
  #answer(call: ReadCall, record: Uint8Array | undefined, part: Part): ReadAnswer {
    const fence = this.#fences.of(partitionOf(call.keyHash)).committed;
    if (record === undefined || isHidden(record, fence)) {
      return fence.length === 0 ? ABSENT : { kind: 'absent', fence };
    }
    return foundAnswer(record, part, fence);
  }
}

/** Most partitions have no fence, and their answers no field for it. */
function foundAnswer(record: Uint8Array, part: Part, fence: Uint8Array): ReadAnswer {
  const header = headerOf(record);
  if (fence.length === 0) {
    return part === 'record' ? { kind: 'found', header, record } : { kind: 'found', header };
  }
  return part === 'record'
    ? { kind: 'found', header, record, fence }
    : { kind: 'found', header, fence };
}

function newGroup(): ReadGroup {
  return { calls: [], slots: [], parts: [] };
}
