import { isHidden } from '../core/fence.js';
import { partitionOf } from '../core/placement.js';
import { headerOf, isIntact } from '../core/record.js';
import type { Clock } from '../io/clock.js';
import type { ReadAnswer, ReadCall, ReplicaFailure } from '../io/peer.js';
import { StoreError, type Store } from '../io/store.js';
import type { Timers } from '../io/timers.js';
import { CORRUPT, describeStoreError, LATE, refused, STOPPING } from './failure.js';
import type { FenceTable } from './fence-table.js';
import { recordKey } from './layout.js';
import { lookUp, type Lookup } from './lookup.js';

/** Keys read from the store together. */
const GROUP_READS = 1_024;
/** Groups under way at once. LevelDB works on four threads, and syncs and scans need some of them. */
const GROUPS_AT_ONCE = 2;
const MAX_WAITING = 16_384;

const OVERLOADED = refused('OVERLOADED', 'too many reads wait for the disk of this replica');
const ABSENT: ReadAnswer = { kind: 'absent' };

type Part = 'record' | 'header';

interface ReadGroup {
  readonly calls: ReadCall[];
  readonly slots: number[];
  readonly parts: Part[];
}

/**
 * Reads that come in one turn share one read of the store. They see what is synced and nothing else, because the store shows
 * a batch when it is, and one record of a key or another, never parts of two.
 */
export class ReadGather {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #fences: FenceTable;
  #gathering: ReadGroup = newGroup();
  #turnAsked = false;
  #underWay = 0;
  #stopping = false;
  #onIdle: (() => void) | undefined;
  readonly #onCorrupt: (key: Uint8Array, keyHash: number) => void;
  #corrupt = 0;

  /** `onCorrupt` hears of every key whose stored record fails its checksum. */
  constructor(
    store: Store,
    clock: Clock,
    timers: Timers,
    fences: FenceTable,
    onCorrupt: (key: Uint8Array, keyHash: number) => void,
  ) {
    this.#store = store;
    this.#clock = clock;
    this.#timers = timers;
    this.#fences = fences;
    this.#onCorrupt = onCorrupt;
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

  async #readGroup(gathered: ReadGroup): Promise<void> {
    this.#underWay += 1;
    if (this.#gathering.calls.length > 0) this.#askTurn();
    const group = this.#dropLate(gathered);
    const found = await this.#lookUp(group);
    this.#underWay -= 1;
    for (let i = 0; i < group.calls.length; i++) {
      const call = group.calls[i] as ReadCall;
      call.onRead(group.slots[i] as number, this.#answer(call, found[i], group.parts[i] as Part));
    }
    if (this.#gathering.calls.length > 0) this.#askTurn();
    else if (this.#idle) this.#onIdle?.();
  }

  /** What is found is told along with the committed fence, so none may be committed in between: then it is read again. */
  async #lookUp(group: ReadGroup): Promise<Lookup[]> {
    const storeKeys = group.calls.map((call) => recordKey(call.key));
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

  #dropLate(group: ReadGroup): ReadGroup {
    const nowMs = this.#clock.monotonicMs();
    if (group.calls.every((call) => call.deadlineMs > nowMs)) return group;
    const inTime = newGroup();
    for (let i = 0; i < group.calls.length; i++) {
      const call = group.calls[i] as ReadCall;
      const slot = group.slots[i] as number;
      if (call.deadlineMs > nowMs) {
        inTime.calls.push(call);
        inTime.slots.push(slot);
        inTime.parts.push(group.parts[i] as Part);
      } else {
        call.onRead(slot, LATE);
      }
    }
    return inTime;
  }

  #answer(call: ReadCall, record: Lookup, part: Part): ReadAnswer {
    if (record instanceof StoreError) return refused('STORE_FAILED', describeStoreError(record));
    if (record !== undefined && !isIntact(call.keyHash, record)) {
      this.#corrupt += 1;
      this.#onCorrupt(call.key, call.keyHash);
      return CORRUPT;
    }
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
