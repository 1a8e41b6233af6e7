import { ERROR_CODES, KvError, type ErrorCode, type KvErrorDetails } from '../core/errors.js';
import type { Consistency } from '../core/consistency.js';
import { expiryAfter } from '../core/expiry.js';
import { decodeRecord, encodeRecord, isIntact, type RecordFields } from '../core/record.js';
import { formatRequestId } from '../core/request-id.js';
import type { Receipt } from '../core/receipt.js';
import { readVersion, ZERO_VERSION, type Version } from '../core/version.js';
import type { CallKind, NodeAnswer, NodeCall } from '../io/link.js';
import {
  countAttempts,
  describeAttempts,
  FAILURES_OF_THE_NODE,
  outcomeOf,
  shareOf,
  type PastAttempt,
} from './attempts.js';
import type { NodeState } from './node-state.js';
import type { Plan } from './request-options.js';
import { Retry } from './retry.js';
import type { Session } from './session.js';
import { abortWith, releaseFrom } from './signals.js';

const NO_BYTES = new Uint8Array(0);
const NO_ATTEMPTS: readonly PastAttempt[] = [];

/** With less time than this left no further attempt is made. */
const MIN_ATTEMPT_MS = 5;
/** After CLOCK_DRIFT, at least this long: the clocks of the nodes are measured again meanwhile. */
const MIN_RESYNC_MS = 20;

const CORRUPT: NodeAnswer = {
  code: 'RECORD_CORRUPT',
  outcome: 'none',
  message: 'the record that was answered fails its checksum',
  record: undefined,
  shadow: undefined,
  receipt: undefined,
};

/**
 * One get, put or outcome, from the call until its promise settles: the attempts, what they were answered, and what follows from it.
 * It is itself the call of its first attempt, so an operation that succeeds at once costs this one object.
 *
 * Of a write one attempt at a time is under way. One that has not answered in its share of the time is cancelled, and counts
 * as `unknown` until it is answered after all; a late success is a success of the operation.
 */
export abstract class Operation implements NodeCall {
  readonly kind: CallKind;
  readonly key: Uint8Array;
  readonly keyHash: number;
  readonly level: Consistency;
  readonly zone: string;
  readonly receipt: boolean;
  readonly minVersion: Uint8Array;
  /** Of a compare-and-set. */
  readonly expect: Uint8Array;
  readonly traceparent: Uint8Array = NO_BYTES;
  /** Of a put. Replaced only while no attempt holds it: when every attempt so far was answered `none`. */
  record: Uint8Array = NO_BYTES;
  /** The stamp of a put; of an outcome, that of the put that is asked about. */
  version: Version = ZERO_VERSION;
  timeoutMs: number;

  /** When {@link Operation.wake} is due, on the monotonic clock. The sweep goes by it. */
  wakeAtMs: number;
  /** The list of what is under way. */
  previous: Operation | undefined = undefined;
  next: Operation | undefined = undefined;
  /** Whether it has a place in the window. */
  admitted = false;
  settled = false;

  protected readonly session: Session;
  readonly #deadlineMs: number;
  readonly #limitMs: number;
  /** The caller gave the stamp: it is never replaced. */
  readonly #ownStamp: boolean;
  /** Of a put whose expiry counts from its stamp. */
  readonly #ttlMs: number | undefined;
  readonly #signal: AbortSignal | undefined;
  #attempts: readonly PastAttempt[] = NO_ATTEMPTS;
  /** The attempt under way. */
  #call: NodeCall | undefined = undefined;
  #node: NodeState | undefined = undefined;
  #sentAtMs = 0;
  #waits = 0;
  /** The last failure, which is thrown when time runs out between two attempts. */
  #lastCode: ErrorCode = 'TIMED_OUT';
  #lastMessage = '';
  #lastReceipt: Receipt | undefined = undefined;

  constructor(session: Session, kind: CallKind, key: Uint8Array, keyHash: number, plan: Plan) {
    this.session = session;
    this.kind = kind;
    this.key = key;
    this.keyHash = keyHash;
    this.level = plan.level;
    this.zone = plan.zone;
    this.receipt = plan.receipt;
    this.minVersion = plan.minVersion;
    this.expect = plan.expect;
    this.timeoutMs = plan.timeoutMs;
    this.#limitMs = plan.timeoutMs;
    this.#deadlineMs = session.nowMs() + plan.timeoutMs;
    this.#ownStamp = plan.version !== undefined;
    this.#ttlMs = plan.ttlMs;
    this.#signal = plan.signal;
    this.wakeAtMs = this.#deadlineMs;
    if (plan.signal !== undefined) abortWith(plan.signal, this);
  }

  /** Of a write at LINEARIZABLE: what its outcome can be asked for by. */
  get requestId(): string {
    return formatRequestId({ key: this.key, version: this.version });
  }

  /**
   * The bytes of a write that is gathered. A round is best led by who led the last of its key; and what is written at ONE is most
   * often found by reads at ONE where both keep to the order of the key's replicas.
   */
  get gatheredBytes(): number {
    const { kind, level } = this;
    const isGathered =
      kind === 'put' && level !== 'LINEARIZABLE' && level !== 'ONE' && level !== 'LOCAL_ONE';
    return isGathered ? this.key.length + this.record.length : 0;
  }

  /** What earlier attempts went through; routing prefers other nodes. */
  get tried(): readonly PastAttempt[] {
    return this.#attempts;
  }

  /** It succeeded. `fields` is what a get found, undefined when absent. Must not throw. */
  protected abstract succeed(answer: NodeAnswer, fields: RecordFields | undefined): void;
  protected abstract fail(error: KvError): void;

  /** Nobody waits any more: its signal has fired, or the connection is being closed. */
  abort(cause: unknown, message = 'The caller cancelled the operation.'): void {
    if (this.settled) return;
    const call = this.#call;
    const attempts = this.#attemptsNow(message);
    this.#settle();
    if (call !== undefined) this.#node?.link.cancel(call);
    this.fail(new KvError('CANCELLED', message, { ...this.#fate(attempts), cause }));
  }

  /** Makes an attempt, where a node is connected. Called once the operation has a place in the window. */
  attempt(nowMs: number): void {
    const remainingMs = this.#deadlineMs - nowMs;
    if (remainingMs <= 0) {
      this.#runOut();
      return;
    }
    const node = this.#route(nowMs);
    if (node !== undefined) this.#send(node, nowMs, remainingMs);
  }

  /** Where the next attempt goes; undefined, and it waits, when no node is connected. */
  #route(nowMs: number): NodeState | undefined {
    const node = this.session.map.route(this, nowMs);
    if (node === undefined) {
      this.#lastCode = 'UNAVAILABLE';
      this.#lastMessage = `no node is connected: ${this.session.unreachable()}`;
      this.#wait(nowMs, 0);
    }
    return node;
  }

  #send(node: NodeState, nowMs: number, remainingMs: number): void {
    const call = this.#attempts.length === 0 ? this : new Retry(this);
    call.timeoutMs = Math.ceil(remainingMs);
    this.#call = call;
    this.#node = node;
    this.#sentAtMs = nowMs;
    this.session.underWay.wakeAt(this, nowMs + shareOf(remainingMs));
    const { gatheredBytes } = this;
    if (gatheredBytes > 0) this.session.map.gather(node, gatheredBytes);
    node.link.send(call);
  }

  /** The answer to the first attempt. */
  onAnswer(answer: NodeAnswer): void {
    this.answered(this, answer);
  }

  /** The answer to any attempt, early or late. */
  answered(call: NodeCall, answer: NodeAnswer): void {
    if (this.settled) return;
    if (answer.code !== undefined) {
      this.#refused(call, answer);
    } else if (answer.record === undefined) {
      this.#succeeded(call, answer, undefined);
    } else {
      const intact = isIntact(this.keyHash, answer.record);
      const fields = intact ? decodeRecord(answer.record) : undefined;
      if (fields === undefined) this.#refused(call, CORRUPT);
      else this.#succeeded(call, answer, fields);
    }
  }

  /** The moment that {@link Operation.wakeAtMs} named has come. */
  wake(nowMs: number): void {
    const node = this.#node;
    const call = this.#call;
    if (nowMs >= this.#deadlineMs) {
      this.#runOut();
      if (call !== undefined) node?.link.cancel(call);
    } else if (call === undefined || node === undefined) {
      this.#retry(nowMs);
    } else if (this.session.map.hasOther(node, nowMs) && this.session.budget.withdraw(nowMs)) {
      node.failed(nowMs);
      this.#attempts = this.#attemptsNow(`no answer in ${Math.round(nowMs - this.#sentAtMs)} ms`);
      this.#call = undefined;
      this.#lastCode = 'TIMED_OUT';
      this.#lastReceipt = undefined;
      node.link.cancel(call);
      // The cancelled call may have been answered within.
      if (!this.settled) this.attempt(nowMs);
    } else {
      // Nowhere else to go, or no budget to go there: it may still be answered.
      this.session.underWay.wakeAt(this, nowMs + shareOf(this.#deadlineMs - nowMs));
    }
  }

  /** Any attempt's success is the operation's, also that of one that had been given up on. */
  #succeeded(call: NodeCall, answer: NodeAnswer, fields: RecordFields | undefined): void {
    const current = this.#call;
    const node = this.#node as NodeState;
    if (call === current) node.answered();
    this.#settle();
    if (current !== undefined && call !== current) node.link.cancel(current);
    this.succeed(answer, fields);
  }

  #refused(call: NodeCall, answer: NodeAnswer): void {
    const code = answer.code ?? 'INTERNAL';
    if (call !== this.#call) {
      this.#refusedLate(call, code, answer);
      return;
    }
    const { outcome, message } = answer;
    const node = this.#node as NodeState;
    const nowMs = this.session.nowMs();
    const ofTheNode = FAILURES_OF_THE_NODE.has(code);
    this.#attempts = [...this.#attempts, { node, call, outcome, code, message }];
    this.#call = undefined;
    this.#lastCode = code;
    this.#lastMessage = message;
    this.#lastReceipt = answer.receipt;
    if (code === 'QUARANTINED') node.quarantined = true;
    else if (ofTheNode) node.failed(nowMs);
    else node.answered();
    if (this.#cameTooLate(code)) {
      if (answer.version !== undefined) this.session.observe(readVersion(answer.version, 0));
      this.#wait(nowMs, 0);
    } else if ((!ERROR_CODES[code].retryable && !ofTheNode) || this.#isStampRefusedAgain(code)) {
      this.#giveUp();
    } else if (code === 'CLOCK_DRIFT') {
      this.session.resyncClock();
      this.#wait(nowMs, MIN_RESYNC_MS);
    } else if (ofTheNode && this.#attempts.length === 1 && this.session.map.hasOther(node, nowMs)) {
      this.#retry(nowMs);
    } else {
      this.#wait(nowMs, 0);
    }
  }

  /**
   * Its key has forgotten requests with ids above its own, or was never meant to remember them: a plain write by a clock ahead of
   * ours. Where it has happened nowhere it may come again under a higher one.
   */
  #cameTooLate(code: ErrorCode): boolean {
    return code === 'REFUSED' && this.level === 'LINEARIZABLE' && this.#mayStampAnew();
  }

  /** One node may have a wrong clock; where a second one says the same of a stamp that stays, asking on is idle. */
  #isStampRefusedAgain(code: ErrorCode): boolean {
    if (code !== 'CLOCK_DRIFT' || !this.#ownStamp) return false;
    return this.#attempts.filter((attempt) => attempt.code === code).length > 1;
  }

  /** An attempt that was given up on has been refused after all: what matters of it is whether it may have happened. */
  #refusedLate(call: NodeCall, code: ErrorCode, answer: NodeAnswer): void {
    const attempt = this.#attempts.find((past) => past.call === call);
    if (attempt === undefined) return;
    attempt.outcome = answer.outcome;
    // That it was cancelled is our own doing and tells a reader nothing.
    if (code === 'CANCELLED') return;
    attempt.code = code;
    attempt.message = answer.message;
  }

  /** Another attempt, if the budget allows it; otherwise after another wait, since waiting loads nobody. */
  #retry(nowMs: number): void {
    const remainingMs = this.#deadlineMs - nowMs;
    if (remainingMs < MIN_ATTEMPT_MS) {
      this.#runOut();
      return;
    }
    const node = this.#route(nowMs);
    if (node === undefined) return;
    if (this.#attempts.length > 0 && !this.session.budget.withdraw(nowMs)) {
      this.#wait(nowMs, 0);
      return;
    }
    const stampRefused = this.#lastCode === 'CLOCK_DRIFT' || this.#cameTooLate(this.#lastCode);
    if (stampRefused && this.#mayStampAnew()) this.#stampAnew();
    this.#send(node, nowMs, remainingMs);
  }

  /** Only where no attempt has happened or can: the same write under two stamps would be two writes. */
  #mayStampAnew(): boolean {
    return this.kind === 'put' && !this.#ownStamp && outcomeOf(this.#attempts) === 'none';
  }

  #stampAnew(): void {
    const fields = decodeRecord(this.record);
    if (fields === undefined) return;
    const ttlMs = this.#ttlMs;
    this.version = this.session.stamp();
    this.record = encodeRecord(this.key, {
      ...fields,
      version: this.version,
      ...(ttlMs === undefined ? {} : { expiresAtMs: expiryAfter(this.version, ttlMs) }),
    });
  }

  #wait(nowMs: number, leastMs: number): void {
    const remainingMs = this.#deadlineMs - nowMs;
    if (remainingMs < MIN_ATTEMPT_MS) {
      this.#runOut();
      return;
    }
    const delayMs = Math.max(this.session.backoffMs(this.#waits++), leastMs);
    // Half of what remains at the most, so that the last attempt has time as well.
    this.session.underWay.wakeAt(this, nowMs + Math.min(delayMs, remainingMs / 2));
  }

  /** The time is over. */
  #runOut(): void {
    if (this.#call !== undefined || this.#attempts.length === 0 || this.#lastCode === 'TIMED_OUT') {
      const waitedMs = Math.round(this.session.nowMs() - this.#sentAtMs);
      this.#attempts = this.#attemptsNow(`no answer in ${waitedMs} ms`);
      if (this.#attempts.length > 0) this.#lastCode = 'TIMED_OUT';
    }
    this.#giveUp();
  }

  #giveUp(): void {
    const attempts = this.#attempts;
    this.#settle();
    this.fail(
      new KvError(this.#lastCode, this.#message(attempts), {
        ...this.#fate(attempts),
        ...(attempts.length === 0 ? {} : { node: (attempts.at(-1) as PastAttempt).node.name }),
        ...(this.#lastReceipt === undefined ? {} : { receipt: this.#lastReceipt }),
      }),
    );
  }

  /** Whether it may have happened, and, where it may, the stamp under which it can be sent again. */
  #fate(
    attempts: readonly PastAttempt[],
  ): Pick<KvErrorDetails, 'outcome' | 'version' | 'requestId'> {
    const outcome = this.kind === 'get' ? 'none' : outcomeOf(attempts);
    if (outcome === 'none') return { outcome };
    const { version, level } = this;
    return level === 'LINEARIZABLE'
      ? { outcome, version, requestId: this.requestId }
      : { outcome, version };
  }

  #message(attempts: readonly PastAttempt[]): string {
    const within = `within ${Math.ceil(this.#limitMs)} ms`;
    if (attempts.length === 0) {
      return this.#lastMessage === ''
        ? `not sent ${within}: too much else was under way on this connection`
        : this.#lastMessage;
    }
    const story = describeAttempts(attempts);
    const count = countAttempts(attempts);
    if (this.#lastCode === 'TIMED_OUT') return `no success ${within}, after ${count}: ${story}`;
    return attempts.length === 1 ? this.#lastMessage : `${this.#lastMessage} (${count}: ${story})`;
  }

  /** The attempts so far, the one under way included, as one that has not been answered. */
  #attemptsNow(message: string): readonly PastAttempt[] {
    const call = this.#call;
    const node = this.#node;
    if (call === undefined || node === undefined) return this.#attempts;
    return [...this.#attempts, { node, call, outcome: 'unknown', code: undefined, message }];
  }

  #settle(): void {
    this.settled = true;
    this.#call = undefined;
    if (this.#signal !== undefined) releaseFrom(this.#signal, this);
    this.session.underWay.remove(this);
  }
}
