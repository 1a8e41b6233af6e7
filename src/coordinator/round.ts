import { NO_FENCE } from '../core/fence.js';
import { AcceptTally, PrepareTally } from '../core/round-tally.js';
import { compareRecords, haveSameHeader, headerOf, isIntact, VERSION_AT } from '../core/record.js';
import { hasSlot, NO_SLOTS, slotBit, type Slots } from '../core/slots.js';
import { encodeVersion, VERSION_BYTES, type Version } from '../core/version.js';
import {
  isReplicaFailure,
  type ApplyAnswer,
  type ApplyCall,
  type PrepareAnswer,
  type PrepareCall,
  type ReplicaFailure,
} from '../io/peer.js';
import { EARLIER_LIFE, type SlotAnswer } from './answers.js';
import type { Context } from './context.js';
import type { PeerState } from './peer-state.js';
import type { Route } from './routes.js';

/** What an operation hears of its round; not more than one end of each half. */
export interface RoundEvents {
  /** A majority has promised. */
  onPromised(): void;
  /** A majority has the record on disk; told again with each replica more. */
  onChosen(): void;
  /** No majority will: `by` is the highest version that was in the way, if any was. */
  onShort(by: Uint8Array | undefined): void;
}

export interface RoundTerms {
  readonly key: Uint8Array;
  readonly keyHash: number;
  /** The highest that a replica has answered the earlier ballots of the operation with; empty: none has. */
  readonly above: Uint8Array;
  readonly deadlineMs: number;
  readonly traceparent: Uint8Array;
}

const CORRUPT: ReplicaFailure = {
  kind: 'refused',
  code: 'RECORD_CORRUPT',
  message: 'sent a record that fails its checksum',
};

/**
 * One ballot on the replicas of one key: it is the call that all of them are given, and core/round-tally.ts counts. A round that its
 * operation has left still hears what comes, so that peers are judged by it and replicas that missed its record are owed it.
 */
export class Round implements PrepareCall, ApplyCall {
  readonly source = 'accept';
  readonly fence = NO_FENCE;
  readonly key: Uint8Array;
  readonly keyHash: number;
  readonly deadlineMs: number;
  readonly traceparent: Uint8Array;
  readonly placementVersion: number;
  readonly ballot: Uint8Array;
  readonly above: Uint8Array;
  readonly known: Uint8Array;
  readonly prepared: PrepareTally;
  readonly accepted: AcceptTally;
  /** What is to be accepted. */
  record: Uint8Array = NO_FENCE;
  /** By slot, of the half that is under way. */
  readonly answers: SlotAnswer[];
  #half: 'prepare' | 'accept' | 'left' = 'prepare';
  #asked: Slots = NO_SLOTS;
  #wasChosen = false;
  #preparedMs = 0;
  #proposedMs = 0;
  readonly #livesVersion: number;

  constructor(
    private readonly context: Context,
    private readonly events: RoundEvents,
    private readonly route: Route,
    terms: RoundTerms,
    /** What the key may well hold: replicas that hold it do not send it. */
    private readonly last: Uint8Array | undefined,
    ballot: Version,
    needed: number,
  ) {
    this.key = terms.key;
    this.keyHash = terms.keyHash;
    this.deadlineMs = terms.deadlineMs;
    this.traceparent = terms.traceparent;
    this.placementVersion = route.placementVersion;
    this.ballot = encodeVersion(ballot);
    this.above = terms.above;
    this.known = last === undefined ? NO_FENCE : headerOf(last);
    this.prepared = new PrepareTally(needed);
    this.accepted = new AcceptTally(needed);
    this.answers = route.peers.map(() => 'not-asked');
    this.#livesVersion = context.lives.version;
  }

  /** Asks as many as are needed, the nearest first, and others in the place of those that do not promise. */
  prepare(): void {
    this.#preparedMs = this.context.clock.monotonicMs();
    for (let i = 0; i < this.prepared.needed; i++) this.#askAnother();
    // Where too few can be asked, nothing will answer.
    this.#judgePrepared();
  }

  /** One replica more is asked, because those asked are late. */
  hurry(): void {
    if (this.#half === 'prepare') this.#askAnother();
  }

  /** Gives the record to all replicas. */
  propose(record: Uint8Array): void {
    this.#half = 'accept';
    this.record = record;
    const nowMs = this.context.clock.monotonicMs();
    this.#proposedMs = nowMs;
    const { peers } = this.route;
    for (let slot = 0; slot < peers.length; slot++) {
      const obstacle = peers[slot]?.obstacle(nowMs);
      this.answers[slot] = obstacle ?? 'pending';
      if (obstacle === undefined) this.accepted.sent(slot);
    }
    const isHopeless = this.accepted.verdict === 'short';
    for (let slot = 0; slot < peers.length; slot++) {
      if (this.answers[slot] !== 'pending') continue;
      if (isHopeless) {
        this.answers[slot] = 'not-asked';
        this.accepted.refused(slot);
        continue;
      }
      peers[slot]?.sent(nowMs, this.#recordBytes);
      peers[slot]?.peer.apply(this, slot);
    }
    if (isHopeless) this.#judgeAccepted();
  }

  /** Nothing more is told of it. */
  leave(): void {
    this.#half = 'left';
  }

  onPrepared(slot: number, received: PrepareAnswer): void {
    const peer = this.route.peers[slot] as PeerState;
    peer.answered(received, this.key.length, this.#preparedMs);
    if (this.#half !== 'prepare') return;
    const answer = peer.local || this.#isUndamaged(received) ? received : CORRUPT;
    if (answer.kind === 'promised') {
      const record = answer.header === undefined ? answer.record : this.last;
      this.prepared.promised(slot, record, answer.fence);
      this.answers[slot] =
        record === undefined ? { kind: 'absent' } : { kind: 'found', header: record };
    } else {
      this.answers[slot] = answer;
      const { promised } = answer;
      if (isVersion(promised)) this.prepared.beaten(slot, promised);
      else this.prepared.lost(slot);
    }
    if (this.context.lives.version !== this.#livesVersion) this.#discardEarlierLives();
    this.#judgePrepared();
  }

  onApplied(slot: number, answer: ApplyAnswer): void {
    const peer = this.route.peers[slot] as PeerState;
    peer.answered(answer, this.#recordBytes, this.#proposedMs);
    this.answers[slot] = answer;
    const tally = this.accepted;
    switch (answer.kind) {
      case 'applied':
        tally.accepted(slot);
        break;
      case 'kept':
        if (compareRecords(answer.header, this.record) === 0) tally.accepted(slot);
        else tally.beaten(slot, answer.header.subarray(VERSION_AT, VERSION_AT + VERSION_BYTES));
        break;
      case 'failed':
        tally.failed(slot);
        break;
      case 'refused':
        if (isVersion(answer.promised)) tally.beaten(slot, answer.promised);
        else tally.refused(slot);
        break;
      case 'unreachable':
        tally.refused(slot);
        break;
    }
    if (this.context.lives.version !== this.#livesVersion) this.#discardEarlierLives();
    this.#judgeAccepted();
    if (tally.complete) this.#settleDebts();
  }

  get #recordBytes(): number {
    return this.key.length + this.record.length;
  }

  #judgePrepared(): void {
    if (this.#half !== 'prepare') return;
    while (this.prepared.verdict === 'short' && this.#askAnother());
    if (this.prepared.verdict === 'pending') return;
    const isPromised = this.prepared.verdict === 'promised';
    this.#half = 'left';
    if (isPromised) this.events.onPromised();
    else this.events.onShort(this.prepared.beatenBy);
  }

  #judgeAccepted(): void {
    const { verdict, beatenBy } = this.accepted;
    if (verdict === 'chosen') this.#wasChosen = true;
    if (this.#half !== 'accept' || verdict === 'pending') return;
    if (verdict === 'chosen') this.events.onChosen();
    else {
      this.#half = 'left';
      this.events.onShort(beatenBy);
    }
  }

  /** False: there is none left that can be asked. */
  #askAnother(): boolean {
    const nowMs = this.context.clock.monotonicMs();
    for (const slot of this.route.readOrder(nowMs)) {
      if (hasSlot(this.#asked, slot)) continue;
      this.#asked |= slotBit(slot);
      const peer = this.route.peers[slot] as PeerState;
      const obstacle = peer.obstacle(nowMs);
      this.answers[slot] = obstacle ?? 'pending';
      if (obstacle !== undefined) continue;
      this.prepared.asked(slot);
      peer.sent(nowMs, this.key.length);
      peer.peer.prepare(this, slot);
      return true;
    }
    return false;
  }

  /** A replica that forgot since this began may have answered before it did. */
  #discardEarlierLives(): void {
    for (const [slot, { nodeId }] of this.route.peers.entries()) {
      if (this.context.lives.changedAt(nodeId) <= this.#livesVersion) continue;
      const answer = this.answers[slot] as SlotAnswer;
      if (answer === 'pending' || answer === 'not-asked' || isReplicaFailure(answer)) continue;
      if (this.#half === 'prepare') this.prepared.lost(slot);
      this.accepted.discard(slot);
      this.answers[slot] = EARLIER_LIFE;
    }
  }

  /** A replica checks what its disk gives; what a wire gives is checked here, before anything builds on it. */
  #isUndamaged(answer: PrepareAnswer): boolean {
    if (answer.kind !== 'promised') return true;
    const { record, header } = answer;
    if (header !== undefined) return haveSameHeader(header, this.known);
    return record === undefined || isIntact(this.keyHash, record);
  }

  /**
   * As of a write (coordinator/write-operation.ts); one that has promised more hears of the key from the round that beats this, or
   * from the comparison that comes before the seal of the fence that it has promised.
   */
  #settleDebts(): void {
    if (!this.#wasChosen) return;
    const keeper = this.#keeper();
    if (keeper === undefined) return;
    for (const [slot, { nodeId }] of this.route.peers.entries()) {
      const answer = this.answers[slot] as SlotAnswer;
      if (typeof answer === 'string' || !isReplicaFailure(answer)) continue;
      if (answer.promised === undefined) this.context.owed(nodeId, this.key, keeper);
    }
  }

  #keeper(): string | undefined {
    let keeper: string | undefined;
    for (const [slot, { nodeId, local }] of this.route.peers.entries()) {
      const answer = this.answers[slot] as SlotAnswer;
      if (typeof answer === 'string' || isReplicaFailure(answer)) continue;
      if (local) return nodeId;
      keeper ??= nodeId;
    }
    return keeper;
  }
}

function isVersion(bytes: Uint8Array | undefined): bytes is Uint8Array {
  return bytes?.length === VERSION_BYTES;
}
