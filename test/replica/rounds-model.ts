import { ANSWERED } from '../../src/core/ledger.js';
import { fenceVersion, NO_FENCE } from '../../src/core/fence.js';
import { hash32 } from '../../src/core/hash.js';
import { leasedUntilMs } from '../../src/core/lease.js';
import { decide } from '../../src/core/linear-decision.js';
import { compareRecords, decodeRecord, isLeased } from '../../src/core/record.js';
import { AcceptTally, PrepareTally } from '../../src/core/round-tally.js';
import { encodeVersion, readVersion, type Version } from '../../src/core/version.js';
import type { ApplyAnswer, PrepareAnswer } from '../../src/io/peer.js';
import { applyRecord, answerTo, type HeldKey } from '../../src/replica/apply.js';
import { FenceTable } from '../../src/replica/fence-table.js';
import { recordKey } from '../../src/replica/layout.js';
import { Promises } from '../../src/replica/promises.js';
import { applyCall, bytes } from './fixtures.js';

const KEY = bytes('k');
const KEY_HASH = hash32(KEY);

/** What a defect of the model leaves out. */
export type Lapse = 'none' | 'forgets promises' | 'takes what is below a promise' | 'counts twice';

/** A replica of one key: the rules of src/replica on what is on its disk. */
class Acceptor {
  record: Uint8Array | undefined;
  promises = new Promises();

  constructor(readonly lapse: Lapse) {}

  prepare(ballot: Uint8Array): PrepareAnswer {
    const call = {
      key: KEY,
      keyHash: KEY_HASH,
      ballot,
      above: NO_FENCE,
      known: NO_FENCE,
      deadlineMs: 0,
      placementVersion: 1,
      traceparent: NO_FENCE,
      onPrepared: () => {},
    };
    const refusal = this.promises.prepare(call, this.record, NO_FENCE);
    if (refusal !== undefined) return refusal;
    return this.record === undefined
      ? { kind: 'promised' }
      : { kind: 'promised', record: this.record };
  }

  apply(record: Uint8Array): ApplyAnswer {
    const held: HeldKey = {
      key: KEY,
      storeKey: recordKey(KEY),
      keyHash: KEY_HASH,
      next: undefined,
      stored: this.record,
      failure: undefined,
      winner: undefined,
    };
    const promises =
      this.lapse === 'takes what is below a promise' ? new Promises() : this.promises;
    const decided = applyRecord(
      held,
      applyCall(KEY, record, { source: 'accept' }),
      new FenceTable(),
      promises,
    );
    if (decided !== 'taken' && decided !== 'kept') return decided;
    const answer = answerTo(held, record);
    if (held.winner !== undefined) {
      this.record = held.winner;
      this.promises.fulfilled(held, held.winner);
    }
    return answer;
  }

  /** What was promised is on disk, and comes back. */
  crash(): void {
    const ballot = this.promises.of(KEY, KEY_HASH);
    this.promises = new Promises();
    if (ballot === undefined || this.lapse === 'forgets promises') return;
    this.promises.raise(KEY, KEY_HASH, ballot);
  }
}

/** One appended item, as its proposer knows of it. */
export interface Append {
  readonly item: string;
  readonly begunAt: number;
  endedAt: number | undefined;
  /** The list that it made, with itself at the end. */
  list: string | undefined;
}

interface Message {
  readonly to: number;
  readonly kind: 'prepare' | 'accept';
  readonly body: Uint8Array;
  readonly answer: (answer: PrepareAnswer | ApplyAnswer) => void;
}

interface Attempt {
  readonly append: Append;
  readonly id: Version;
  readonly ballot: Version;
  readonly prepared: PrepareTally;
  readonly accepted: AcceptTally;
  record: Uint8Array | undefined;
}

/** Coordinators that append to the list under one key, over a network that loses, delays, doubles and reorders. */
export class RoundsModel {
  readonly appends: Append[] = [];
  readonly #acceptors: Acceptor[];
  readonly #needed: number;
  #messages: Message[] = [];
  #step = 0;
  #wallMs = 1_000;
  readonly #attempts = new Map<number, Attempt>();
  readonly #leases = new Map<number, Uint8Array>();
  #lastMs = 1_000;

  constructor(
    acceptors: number,
    readonly lapse: Lapse = 'none',
  ) {
    this.#acceptors = Array.from({ length: acceptors }, () => new Acceptor(lapse));
    this.#needed = Math.floor(acceptors / 2) + 1;
  }

  get messages(): number {
    return this.#messages.length;
  }

  /** The coordinator leaves what it was at, and begins another append, from the list as it finds it. */
  begin(coordinator: number, aheadMs: number): void {
    this.#step += 1;
    this.#wallMs += aheadMs;
    const wasUnderWay = this.#attempts.has(coordinator);
    // Clocks differ: what matters is that no coordinator uses a ballot twice.
    this.#lastMs = Math.max(this.#lastMs + 1, this.#wallMs);
    const append: Append = {
      item: `${this.appends.length}`,
      begunAt: this.#step,
      endedAt: undefined,
      list: undefined,
    };
    this.appends.push(append);
    const ballot = { wallMs: this.#lastMs, logical: 1, writerHi: 0, writerLo: coordinator };
    const attempt: Attempt = {
      append,
      id: { ...ballot, logical: 0 },
      ballot,
      prepared: new PrepareTally(this.#needed),
      accepted: new AcceptTally(this.#needed),
      record: undefined,
    };
    this.#attempts.set(coordinator, attempt);
    const leased = this.#leases.get(coordinator);
    this.#leases.delete(coordinator);
    if (leased !== undefined && !wasUnderWay && ballot.wallMs < leasedUntilMs(leased)) {
      this.#propose(coordinator, attempt, leased);
      return;
    }
    for (const to of this.#acceptors.keys()) {
      attempt.prepared.asked(to);
      const body = encodeVersion(ballot);
      this.#messages.push({
        to,
        kind: 'prepare',
        body,
        answer: (answer) => this.#onPrepared(coordinator, attempt, to, answer as PrepareAnswer),
      });
    }
  }

  /** Delivers a message that is on its way, and its answer unless that is lost; twice, if it is doubled. */
  deliver(which: number, times: number, isAnswerLost: boolean): void {
    if (this.#messages.length === 0) return;
    this.#step += 1;
    const [message] = this.#messages.splice(which % this.#messages.length, 1) as [Message];
    const acceptor = this.#acceptors[message.to] as Acceptor;
    for (let i = 0; i < times; i++) {
      const answer =
        message.kind === 'prepare' ? acceptor.prepare(message.body) : acceptor.apply(message.body);
      if (!isAnswerLost && i === 0) message.answer(answer);
    }
  }

  lose(which: number): void {
    if (this.#messages.length > 0) this.#messages.splice(which % this.#messages.length, 1);
  }

  /** One replica gives another what it holds. */
  copy(from: number, to: number): void {
    const record = this.#acceptors[from % this.#acceptors.length]?.record;
    if (record !== undefined) this.#acceptors[to % this.#acceptors.length]?.apply(record);
  }

  crash(which: number): void {
    this.#acceptors[which % this.#acceptors.length]?.crash();
  }

  /** Everything that is still on its way arrives, and then one append more sees all that was ever chosen. */
  finish(): void {
    while (this.#messages.length > 0) this.deliver(0, 1, false);
    for (let tries = 0; tries < 50; tries++) {
      this.begin(9, 1_000);
      while (this.#messages.length > 0) this.deliver(0, 1, false);
      if (this.appends.at(-1)?.endedAt !== undefined) return;
    }
    throw new Error('nothing is chosen though nothing fails');
  }

  /** What people could tell is wrong: of two lists one must begin the other, and in the order in which they were made. */
  complaint(): string | undefined {
    const known = this.appends.filter(({ endedAt }) => endedAt !== undefined);
    for (const a of known) {
      for (const b of known) {
        if (a === b) continue;
        const [listA, listB] = [a.list as string, b.list as string];
        if (!listA.startsWith(listB) && !listB.startsWith(listA)) {
          return `two lists were chosen, [${listA}] and [${listB}]`;
        }
        if ((a.endedAt as number) < b.begunAt && !listB.startsWith(listA)) {
          return `[${listA}] was answered before [${listB}] was begun, and is not in it`;
        }
      }
    }
    return undefined;
  }

  #onPrepared(coordinator: number, attempt: Attempt, slot: number, answer: PrepareAnswer): void {
    if (this.#attempts.get(coordinator) !== attempt || attempt.record !== undefined) return;
    const { prepared } = attempt;
    if (answer.kind === 'promised') {
      prepared.promised(slot, answer.record);
      if (this.lapse === 'counts twice') prepared.promised(slot + 10, answer.record);
    } else if (answer.promised === undefined) prepared.lost(slot);
    else prepared.beaten(slot, answer.promised);
    if (prepared.verdict === 'promised') this.#propose(coordinator, attempt, prepared.record);
    if (prepared.beatenBy !== undefined) {
      // The next of its ballots is above it.
      this.#lastMs = Math.max(this.#lastMs, readVersion(prepared.beatenBy, 0).wallMs);
    }
  }

  #propose(coordinator: number, attempt: Attempt, found: Uint8Array | undefined): void {
    const held = found === undefined ? undefined : decodeRecord(found);
    const before = held === undefined ? '' : `${Buffer.from(held.value).toString()} `;
    const list = before + attempt.append.item;
    const decision = decide(
      { key: KEY, id: attempt.id, change: { kind: 'write', next: { value: bytes(list) } } },
      {
        record: found,
        fence: fenceVersion(NO_FENCE),
        ballot: attempt.ballot,
        nowMs: attempt.ballot.wallMs,
      },
    );
    if (decision.kind !== 'propose' || decision.result.code !== ANSWERED.applied) return;
    attempt.append.list = list;
    const { record } = decision;
    attempt.record = record;
    for (const to of this.#acceptors.keys()) {
      attempt.accepted.sent(to);
      this.#messages.push({
        to,
        kind: 'accept',
        body: record,
        answer: (answer) => this.#onAccepted(coordinator, attempt, to, answer as ApplyAnswer),
      });
    }
  }

  #onAccepted(coordinator: number, attempt: Attempt, slot: number, answer: ApplyAnswer): void {
    const { accepted, append, record } = attempt;
    const isTaken =
      answer.kind === 'applied' ||
      (answer.kind === 'kept' && compareRecords(answer.header, record as Uint8Array) === 0);
    if (isTaken) accepted.accepted(slot);
    else accepted.refused(slot);
    if (accepted.verdict !== 'chosen' || append.endedAt !== undefined) return;
    // Whether its coordinator still waits or not: from now on it may be told.
    append.endedAt = this.#step;
    if (this.#attempts.get(coordinator) !== attempt) return;
    this.#attempts.delete(coordinator);
    if (isLeased(record as Uint8Array)) this.#leases.set(coordinator, record as Uint8Array);
  }
}
