import type { ErrorCode } from '../core/errors.js';
import { expiredAnswer, isExpired } from '../core/expiry.js';
import { ReadTally, type ReadStep } from '../core/read-tally.js';
import type { Receipt } from '../core/receipt.js';
import { isIntact, versionOf } from '../core/record.js';
import { countSlots, hasSlot, slotBit, type Slots } from '../core/slots.js';
import type { ApplyAnswer, ApplyCall, ReadAnswer, ReadCall } from '../io/peer.js';
import {
  describeMiss,
  EARLIER_LIFE,
  failure,
  missCode,
  replicaOutcome,
  staleAnswer,
  type SlotAnswer,
} from './answers.js';
import type { Context } from './context.js';
import type { Level } from './door.js';
import { UnderWay } from './in-flight.js';
import type { Operation } from './operation.js';
import type { Route } from './routes.js';

/** No read is hedged sooner, however fast its replicas usually are. */
const MIN_HEDGE_MS = 5;

const CORRUPT: ReadAnswer = {
  kind: 'refused',
  code: 'RECORD_CORRUPT',
  message: 'sent a record that fails its checksum',
};

/**
 * One read. {@link ReadTally} decides; this carries it out: it is the call that replicas are asked with, and, when they
 * differ, the call that brings the newest record to those that lack it.
 */
export class ReadOperation extends UnderWay implements ReadCall, ApplyCall {
  readonly source = 'copy';
  readonly key: Uint8Array;
  readonly deadlineMs: number;
  readonly traceparent: Uint8Array;
  readonly placementVersion: number;
  readonly #counted: Slots;
  readonly #needed: number;
  readonly #tally: ReadTally;
  /** What each slot said last. */
  readonly #answers: SlotAnswer[] = [];
  /** Slots asked later than at the start, whose answers say nothing about latency. */
  #askedLate: Slots = 0;
  /** When the last of those, or of the repairs, was sent: none is blamed for the time before. */
  #sentLateMs: number;
  #hedgeAtMs: number;
  /** A replica refused a repair because of a promise, or abstains because of one. */
  #metPromise = false;
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
    this.deadlineMs = operation.deadlineMs;
    this.traceparent = operation.traceparent;
    this.placementVersion = route.placementVersion;
    this.#needed = level.needed;
    this.#counted = level.counted;
    for (let slot = 0; slot < route.peers.length; slot++) this.#answers.push('not-asked');
    this.#tally = new ReadTally(
      level.needed,
      this.#reachable(),
      operation.minVersion,
      operation.level === 'LINEARIZABLE',
    );
    this.#hedgeAtMs = startedMs + MIN_HEDGE_MS;
    this.#sentLateMs = startedMs;
    this.#livesVersion = context.lives.version;
  }

  get bytes(): number {
    return this.key.length;
  }

  /** What a repair carries. */
  get record(): Uint8Array {
    return this.#tally.record as Uint8Array;
  }

  /** Of a replica that holds it. */
  get fence(): Uint8Array {
    return this.#tally.recordFence;
  }

  start(): void {
    const { order } = this.#tally;
    if (order.length < this.#needed) {
      for (let slot = 0; slot < this.route.peers.length; slot++) {
        this.#answers[slot] = this.route.peers[slot]?.obstacle(this.startedMs) ?? 'not-asked';
      }
      const receipt = this.#receipt();
      this.operation.onAnswer(failure('NO_QUORUM', 'none', this.#miss(receipt), receipt));
      return;
    }
    this.context.inFlight.add(this);
    this.context.hedges.earn();
    this.#tally.start();
    for (let i = 0; i < this.#needed; i++) {
      const slot = order[i] as number;
      const p99Ms = this.route.peers[slot]?.latency.p99Ms ?? 0;
      this.#hedgeAtMs = Math.max(this.#hedgeAtMs, this.startedMs + p99Ms);
      this.#ask(slot, i === 0 ? 'record' : 'header', this.startedMs);
    }
  }

  onRead(slot: number, received: ReadAnswer): void {
    const peer = this.route.peers[slot];
    const isLate = hasSlot(this.#askedLate, slot);
    peer?.answered(received, this.key.length, isLate ? this.#sentLateMs : this.startedMs);
    const answer = peer?.local === true || this.#isUndamaged(received) ? received : CORRUPT;
    if (answer.kind === 'found' || answer.kind === 'absent') {
      if (!isLate) {
        peer?.latency.observe(this.context.clock.monotonicMs() - this.startedMs);
      }
    }
    if (!this.isUnderWay) return;
    this.#answers[slot] = answer;
    this.#notePromise(answer);
    switch (answer.kind) {
      case 'found':
        this.#tally.found(slot, answer.header, answer.record, answer.fence);
        break;
      case 'absent':
        this.#tally.absent(slot, answer.fence);
        break;
      case 'refused':
      case 'unreachable':
      case 'failed':
        this.#tally.lost(slot);
        break;
    }
    this.#proceed();
  }

  onApplied(slot: number, answer: ApplyAnswer): void {
    this.route.peers[slot]?.answered(answer, this.#repairBytes, this.#sentLateMs);
    const took = answer.kind === 'applied' || answer.kind === 'kept';
    if (took) this.context.counters.repairs++;
    if (!this.isUnderWay) return;
    this.#answers[slot] = answer;
    if (took) this.#tally.took(slot);
    else this.#tally.refused(slot);
    this.#notePromise(answer);
    this.#proceed();
  }

  override look(nowMs: number): void {
    if (nowMs < this.#hedgeAtMs) return;
    this.#hedgeAtMs = Infinity;
    this.#noteSilence(nowMs);
    if (!this.context.hedges.spend()) return;
    const step = this.#tally.hedge();
    if (step.kind === 'differ') this.#bringOn();
    if (step.kind !== 'ask') return;
    this.context.counters.hedges++;
    this.#take(step);
  }

  expire(): void {
    this.#fail('TIMED_OUT');
  }

  cancel(): void {
    this.context.inFlight.remove(this);
    this.operation.onAnswer(failure('CANCELLED', 'none', 'the caller cancelled the read'));
  }

  serves(operation: object): boolean {
    return operation === this.operation;
  }

  #notePromise(answer: ReadAnswer | ApplyAnswer): void {
    if (answer.kind === 'refused' && answer.promised !== undefined) this.#metPromise = true;
  }

  /** Whoever has not answered takes at least this long: so the reads after this one ask a peer that hangs later, or not. */
  #noteSilence(nowMs: number): void {
    for (const [slot, answer] of this.#answers.entries()) {
      if (answer === 'pending' && !hasSlot(this.#askedLate, slot)) {
        this.route.peers[slot]?.latency.observe(nowMs - this.startedMs);
      }
    }
  }

  /** A replica checks what its disk gives; what a wire gives is checked here, before it is answered or copied. */
  #isUndamaged(answer: ReadAnswer): boolean {
    return (
      answer.kind !== 'found' ||
      answer.record === undefined ||
      isIntact(this.keyHash, answer.record)
    );
  }

  get #repairBytes(): number {
    return this.key.length + this.record.length;
  }

  get #isLate(): boolean {
    return this.context.clock.monotonicMs() >= this.deadlineMs;
  }

  #reachable(): readonly number[] {
    const order = this.route.readOrder(this.startedMs);
    for (const slot of order) {
      // Only where one cannot be asked is a shorter list made.
      if (!this.#canAsk(slot)) return order.filter((one) => this.#canAsk(one));
    }
    return order;
  }

  #canAsk(slot: number): boolean {
    return (
      hasSlot(this.#counted, slot) && this.route.peers[slot]?.obstacle(this.startedMs) === undefined
    );
  }

  #proceed(): void {
    if (this.context.lives.version !== this.#livesVersion) this.#discardEarlierLives();
    for (;;) {
      const step = this.#tally.next();
      switch (step.kind) {
        case 'wait':
          return;
        case 'answer':
          this.#answer();
          return;
        case 'missed':
          this.#missed();
          return;
        case 'stale':
          this.#stale();
          return;
        case 'differ':
          this.#bringOn();
          return;
        case 'ask':
        case 'repair':
          this.#take(step);
          break;
      }
    }
  }

  /** A replica that forgot since this began may have answered before it did. */
  #discardEarlierLives(): void {
    for (const [slot, { nodeId }] of this.route.peers.entries()) {
      if (this.context.lives.changedAt(nodeId) <= this.#livesVersion) continue;
      if (this.#answers[slot] === 'not-asked') continue;
      this.#tally.discard(slot);
      this.#answers[slot] = EARLIER_LIFE;
    }
  }

  #take(step: ReadStep & { readonly slot: number }): void {
    const nowMs = this.context.clock.monotonicMs();
    this.#sentLateMs = nowMs;
    if (step.kind === 'ask') {
      this.#askedLate |= slotBit(step.slot);
      this.#ask(step.slot, step.part, nowMs);
      return;
    }
    this.#answers[step.slot] = 'pending';
    const peer = this.route.peers[step.slot];
    peer?.sent(nowMs, this.#repairBytes);
    peer?.peer.apply(this, step.slot);
  }

  #ask(slot: number, part: 'record' | 'header', nowMs: number): void {
    if (this.#answers[slot] === 'not-asked') this.#answers[slot] = 'pending';
    const peer = this.route.peers[slot];
    peer?.sent(nowMs, this.key.length);
    peer?.peer.read(this, slot, part);
  }

  /** A round takes over: it chooses what is answered. */
  #bringOn(): void {
    this.context.inFlight.remove(this);
    this.context.rounds.read(this.operation, this.keyHash, this.route, this.level);
  }

  #answer(): void {
    // What a replica said counts until the deadline that it was told, and not after it (maintenance/mend.ts).
    if (this.#isLate) {
      this.#fail('TIMED_OUT');
      return;
    }
    let { record } = this.#tally;
    const isPast = record !== undefined && isExpired(record, this.context.clock.wallMs());
    // That it has expired is for a round to choose: clocks differ.
    if (isPast && this.operation.level === 'LINEARIZABLE') {
      this.#bringOn();
      return;
    }
    this.context.inFlight.remove(this);
    if (record !== undefined) {
      this.context.observe(versionOf(record));
      if (isPast) record = expiredAnswer(this.key, record);
    }
    this.operation.onAnswer({
      code: undefined,
      outcome: 'none',
      message: '',
      record,
      shadow: undefined,
      receipt: this.operation.receipt ? this.#receipt() : undefined,
    });
  }

  #missed(): void {
    const late = this.#isLate;
    if (this.#metPromise && !late) {
      this.#bringOn();
      return;
    }
    this.#fail(late ? 'TIMED_OUT' : missCode(this.#answers));
  }

  #stale(): void {
    this.context.inFlight.remove(this);
    const { minVersion } = this.operation;
    this.operation.onAnswer(staleAnswer(this.#tally.newest, minVersion, this.#receipt()));
  }

  #fail(code: ErrorCode): void {
    this.context.inFlight.remove(this);
    const receipt = this.#receipt();
    this.operation.onAnswer(failure(code, 'none', this.#miss(receipt), receipt));
  }

  #receipt(): Receipt {
    const { repaired, answered, record } = this.#tally;
    return {
      coordinator: this.context.nodeId,
      needed: this.#needed,
      answered,
      replicas: this.route.peers.map(({ nodeId }, slot) =>
        replicaOutcome(nodeId, this.#answers[slot] ?? 'not-asked', hasSlot(repaired, slot), record),
      ),
    };
  }

  #miss(receipt: Receipt): string {
    const { level, zone } = this.operation;
    const isCounted = (_: unknown, slot: number): boolean => hasSlot(this.#counted, slot);
    return describeMiss(
      level,
      zone,
      this.#needed,
      countSlots(this.#counted),
      receipt.answered,
      receipt.replicas.filter(isCounted),
      this.#answers.filter(isCounted),
    );
  }
}
