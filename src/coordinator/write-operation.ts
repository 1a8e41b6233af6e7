import type { ErrorCode } from '../core/errors.js';
import { NO_FENCE } from '../core/fence.js';
import type { Receipt } from '../core/receipt.js';
import { compareRecords, versionOf } from '../core/record.js';
import { countSlots, hasSlot } from '../core/slots.js';
import { WriteTally } from '../core/write-tally.js';
import { isReplicaFailure, type ApplyAnswer, type ApplyCall } from '../io/peer.js';
import {
  describeMiss,
  EARLIER_LIFE,
  failure,
  missCode,
  replicaOutcome,
  STORED,
  type SlotAnswer,
} from './answers.js';
import type { Context } from './context.js';
import type { Level } from './door.js';
import { UnderWay } from './in-flight.js';
import type { Operation } from './operation.js';
import type { PeerState } from './peer-state.js';
import type { Route } from './routes.js';

/**
 * One write: the record goes to every replica of the key at once, and the caller is answered when the level is met or can
 * no longer be met. It is the call that all replicas are given, and each reports to its slot. It lives on after the answer
 * until the last of them has reported, so that those which failed are owed the key.
 */
export class WriteOperation extends UnderWay implements ApplyCall {
  readonly source = 'write';
  readonly fence = NO_FENCE;
  readonly key: Uint8Array;
  readonly record: Uint8Array;
  readonly deadlineMs: number;
  readonly traceparent: Uint8Array;
  readonly placementVersion: number;
  readonly #tally: WriteTally;
  /** By slot. */
  readonly #answers: SlotAnswer[] = [];
  #shadow: Uint8Array | undefined;
  readonly #livesVersion: number;

  constructor(
    private readonly context: Context,
    private readonly operation: Operation,
    readonly keyHash: number,
    private readonly route: Route,
    private readonly level: Level,
    private readonly startedMs: number,
  ) {
    super();
    this.key = operation.key;
    this.record = operation.record;
    this.deadlineMs = operation.deadlineMs;
    this.traceparent = operation.traceparent;
    this.placementVersion = route.placementVersion;
    this.#tally = new WriteTally(level.needed, level.counted);
    this.#livesVersion = context.lives.version;
  }

  get bytes(): number {
    return this.key.length + this.record.length;
  }

  /** It goes to all replicas at once, so there is nothing to do for it but to wait. */
  override get isLookedAt(): boolean {
    return false;
  }

  /** Sends it, or refuses it with nothing sent when the replicas that can be reached are too few for the level. */
  start(): void {
    const { peers } = this.route;
    for (let slot = 0; slot < peers.length; slot++) {
      const obstacle = peers[slot]?.obstacle(this.startedMs);
      this.#answers.push(obstacle ?? 'pending');
      if (obstacle === undefined) this.#tally.sent(slot);
    }
    if (this.#tally.verdict === 'missed') {
      this.#answers.forEach((answer, slot) => {
        if (answer === 'pending') this.#answers[slot] = 'not-asked';
      });
      const receipt = this.#receipt();
      this.operation.onAnswer(failure('NO_QUORUM', 'none', this.#miss(receipt), receipt));
      return;
    }
    this.context.inFlight.add(this);
    for (let slot = 0; slot < peers.length; slot++) {
      if (this.#answers[slot] !== 'pending') continue;
      const peer = peers[slot];
      peer?.sent(this.startedMs, this.bytes);
      peer?.peer.apply(this, slot);
    }
  }

  onApplied(slot: number, answer: ApplyAnswer): void {
    const tally = this.#tally;
    this.#answers[slot] = answer;
    this.route.peers[slot]?.answered(answer, this.bytes, this.startedMs);
    switch (answer.kind) {
      case 'applied':
        tally.took(slot);
        break;
      case 'kept':
        tally.took(slot);
        if (compareRecords(answer.header, this.#shadow ?? this.record) > 0) {
          this.#shadow = answer.header;
        }
        break;
      case 'failed':
        tally.failed(slot);
        break;
      case 'refused':
      case 'unreachable':
        tally.refused(slot);
        break;
    }
    if (this.isUnderWay) this.#decide();
    if (tally.complete) this.#settleDebts();
  }

  expire(): void {
    this.#fail('TIMED_OUT');
  }

  cancel(): void {
    this.context.inFlight.remove(this);
    this.operation.onAnswer(
      failure('CANCELLED', this.#tally.outcome, 'the caller cancelled the write'),
    );
  }

  serves(operation: object): boolean {
    return operation === this.operation;
  }

  #decide(): void {
    if (this.context.lives.version !== this.#livesVersion) this.#discardEarlierLives();
    const verdict = this.#tally.verdict;
    if (verdict === 'pending') return;
    const late = this.context.clock.monotonicMs() >= this.deadlineMs;
    if (verdict === 'missed') {
      if (!late && this.#answers.some(isPromised)) this.#bringOn();
      else this.#fail(late ? 'TIMED_OUT' : missCode(this.#answers));
      return;
    }
    // What a replica said counts until the deadline that it was told, and not after it (maintenance/mend.ts).
    if (late) {
      this.#fail('TIMED_OUT');
      return;
    }
    this.context.inFlight.remove(this);
    const shadow = this.#shadow;
    if (shadow !== undefined) this.context.observe(versionOf(shadow));
    if (shadow === undefined && !this.operation.receipt) {
      this.operation.onAnswer(STORED);
      return;
    }
    const receipt = this.operation.receipt ? this.#receipt() : undefined;
    this.operation.onAnswer({ ...STORED, shadow, receipt });
  }

  /** A round takes over: it proposes the record if nothing newer is there. */
  #bringOn(): void {
    const { inFlight, rounds } = this.context;
    inFlight.remove(this);
    rounds.write(this.operation, this.keyHash, this.route, this.level, this.#tally.outcome);
  }

  /** A replica that forgot since this began may have answered before it did. */
  #discardEarlierLives(): void {
    for (const [slot, { nodeId }] of this.route.peers.entries()) {
      if (this.context.lives.changedAt(nodeId) <= this.#livesVersion) continue;
      const answer = this.#answers[slot] as SlotAnswer;
      if (answer === 'pending' || answer === 'not-asked') continue;
      this.#tally.discard(slot);
      if (!isReplicaFailure(answer)) this.#answers[slot] = EARLIER_LIFE;
    }
  }

  #fail(code: ErrorCode): void {
    this.context.inFlight.remove(this);
    const receipt = this.#receipt();
    this.operation.onAnswer(failure(code, this.#tally.outcome, this.#miss(receipt), receipt));
  }

  /**
   * All have reported. Where a replica has the record, those that may lack it are owed the key. Where none says so, it may be
   * on some disk and on no other, and is anti-entropy's to find.
   */
  #settleDebts(): void {
    for (let slot = 0; slot < this.#answers.length; slot++) {
      // Who has promised more hears of the key from the round that it promised to.
      if (this.#has(slot) || isPromised(this.#answers[slot] as SlotAnswer)) continue;
      const keeper = this.#keeper();
      if (keeper === undefined) return;
      this.context.owed(this.route.peers[slot]?.nodeId ?? '', this.key, keeper);
    }
  }

  /** The id of a replica that has the record or a newer one; this node where it is one. */
  #keeper(): string | undefined {
    let keeper: string | undefined;
    for (let slot = 0; slot < this.#answers.length; slot++) {
      if (!this.#has(slot)) continue;
      const { nodeId, local } = this.route.peers[slot] as PeerState;
      if (local) return nodeId;
      keeper ??= nodeId;
    }
    return keeper;
  }

  #has(slot: number): boolean {
    const { kind } = this.#answers[slot] as ApplyAnswer;
    return kind === 'applied' || kind === 'kept';
  }

  #receipt(): Receipt {
    const { needed, answered } = this.#tally;
    return {
      coordinator: this.context.nodeId,
      needed,
      answered,
      replicas: this.route.peers.map(({ nodeId }, slot) =>
        replicaOutcome(nodeId, this.#answers[slot] ?? 'not-asked', false, this.record),
      ),
      ...(this.#shadow === undefined ? {} : { shadowedBy: versionOf(this.#shadow) }),
    };
  }

  #miss(receipt: Receipt): string {
    const { level, zone } = this.operation;
    const { counted } = this.#tally;
    const isCounted = (_: unknown, slot: number): boolean => hasSlot(counted, slot);
    return describeMiss(
      level,
      zone,
      receipt.needed,
      countSlots(counted),
      receipt.answered,
      receipt.replicas.filter(isCounted),
      this.#answers.filter(isCounted),
    );
  }
}

function isPromised(answer: SlotAnswer): boolean {
  return typeof answer === 'object' && answer.kind === 'refused' && answer.promised !== undefined;
}
