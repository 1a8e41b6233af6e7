import { backoffMs, type Backoff } from '../core/backoff.js';
import { KvError, type ErrorCode, type Outcome } from '../core/errors.js';
import { nextVersion } from '../core/hlc.js';
import { compareFences, fenceVersion } from '../core/fence.js';
import {
  decide,
  type Change,
  type LinearRequest,
  type LinearResult,
} from '../core/linear-decision.js';
import type { Receipt } from '../core/receipt.js';
import { VERSION_AT, versionOf } from '../core/record.js';
import { WriteTally } from '../core/write-tally.js';
import {
  compareBytesAt,
  compareVersions,
  encodeVersion,
  readU32,
  readVersion,
  VERSION_BYTES,
  type Version,
} from '../core/version.js';
import type { NodeAnswer } from '../io/link.js';
import type { CancelTimer } from '../io/timers.js';
import { describeMiss, failure, missCode, replicaOutcome, staleAnswer } from './answers.js';
import type { Level } from './door.js';
import { savesPrepare } from './chosen-records.js';
import { UnderWay } from './in-flight.js';
import type { TurnTaker } from './key-turns.js';
import { answerOfChosen, FORGOTTEN } from './linear-answers.js';
import type { RoundPorts } from './linear-rounds.js';
import type { Operation } from './operation.js';
import { Round, type RoundEvents } from './round.js';
import type { Route } from './routes.js';

/** Between two ballots of one operation that were beaten: about what a round takes, then more. */
const BACKOFF: Backoff = { baseMs: 4, maxMs: 250 };
/** Without promises for so long, or for as long as that takes at the most as a rule, one replica more is asked. */
const MIN_HURRY_MS = 15;

/** No replica has named a version that ballots must be above. */
export const NOT_BEATEN: Uint8Array = new Uint8Array(0);

export interface LinearTerms {
  readonly operation: Operation;
  readonly keyHash: number;
  readonly route: Route;
  /** What must have the record beside a majority, for a plain request that was brought here. */
  readonly level: Level;
  readonly id: Version;
  readonly change: Change;
  /** Of what has been sent of it before it came here. */
  readonly outcome: Outcome;
  /** What a replica is known to refuse ballots below, 16 bytes, or {@link NOT_BEATEN}. */
  readonly above: Uint8Array;
}

/**
 * One request carried out by rounds, as many as it takes: each has its turn on the key, a ballot of its own, and backs off when it
 * is beaten. It is answered when what it answers from has been chosen.
 */
export class LinearOperation extends UnderWay implements TurnTaker, RoundEvents {
  readonly turnKey: string;
  readonly keyHash: number;
  readonly deadlineMs: number;
  readonly bytes: number;
  readonly #request: LinearRequest;
  #round: Round | undefined;
  #result: LinearResult | undefined;
  /** Whether a record may be somewhere, of which it is not known that it was chosen. */
  #outcome: Outcome;
  /** The next ballot is above it. */
  #above: Version;
  /** The highest that a replica has promised or held when it refused one; empty: none has. */
  #beatenBy: Uint8Array;
  #retries = 0;
  #cancelPause: CancelTimer = () => {};
  #preparedMs = 0;
  #hurryAtMs = Infinity;

  constructor(
    private readonly ports: RoundPorts,
    private readonly terms: LinearTerms,
  ) {
    super();
    const { operation, id, change } = terms;
    this.keyHash = terms.keyHash;
    this.turnKey = Buffer.from(operation.key).toString('latin1');
    this.deadlineMs = operation.deadlineMs;
    this.bytes = operation.key.length + operation.record.length;
    this.#request = { key: operation.key, id, change };
    this.#outcome = terms.outcome;
    this.#above = higherVersion(id, fenceVersion(terms.above));
    this.#beatenBy = terms.above;
  }

  start(): void {
    this.ports.context.inFlight.add(this);
    this.ports.turns.take(this);
  }

  onTurn(): void {
    this.ports.stamp().then(
      (stamp) => this.#begin(stamp),
      (error: unknown) => {
        if (!(error instanceof KvError)) throw error;
        // The wall of this node went back below its stamps: a ballot needs none of them.
        if (error.code === 'CLOCK_DRIFT') this.#begin(undefined);
        else if (this.isUnderWay) this.#fail(error.code, error.message);
      },
    );
  }

  onPromised(): void {
    if (this.#isLate) {
      this.expire();
      return;
    }
    const { ballot, prepared } = this.#round as Round;
    const { context, promising } = this.ports;
    promising.observe(context.clock.monotonicMs() - this.#preparedMs);
    this.#hurryAtMs = Infinity;
    this.#propose(readVersion(ballot, 0), prepared.record, fenceVersion(prepared.fence));
  }

  onChosen(): void {
    if (this.#isLate) {
      this.expire();
      return;
    }
    const round = this.#round as Round;
    if (!this.#isLevelMet(round)) return;
    const { context, chosen } = this.ports;
    chosen.keep(this.turnKey, round.record, context.lives.version);
    context.observe(versionOf(round.record));
    const { operation, change } = this.terms;
    const { minVersion } = operation;
    if (change.kind === 'read' && isOlder(round.record, minVersion)) {
      this.#end(staleAnswer(round.record, minVersion, this.#receipt()));
      return;
    }
    const receipt = operation.receipt ? { receipt: this.#receipt() } : {};
    const result = this.#result as LinearResult;
    this.#end({ ...answerOfChosen(change.kind, round.record, result), ...receipt });
  }

  onShort(by: Uint8Array | undefined): void {
    this.#noteOutcome();
    if (by === undefined) {
      const { answers } = this.#round as Round;
      this.#fail(this.#isLate ? 'TIMED_OUT' : missCode(answers), this.#miss());
      return;
    }
    this.#round = undefined;
    const version = readVersion(by, 0);
    this.ports.context.observe(version);
    this.#above = higherVersion(this.#above, version);
    if (compareFences(by, this.#beatenBy) > 0) this.#beatenBy = encodeVersion(version);
    const pauseMs = backoffMs(BACKOFF, this.#retries, this.ports.random.fraction());
    this.#retries += 1;
    this.#cancelPause = this.ports.timers.after(pauseMs, () => {
      if (this.isUnderWay) this.onTurn();
    });
  }

  override look(nowMs: number): void {
    if (nowMs < this.#hurryAtMs) return;
    this.#hurryAtMs = Infinity;
    this.#round?.hurry();
  }

  expire(): void {
    this.#noteOutcome();
    this.#fail('TIMED_OUT', this.#miss());
  }

  cancel(): void {
    this.#noteOutcome();
    this.#fail('CANCELLED', 'the caller cancelled it');
  }

  serves(operation: object): boolean {
    return operation === this.terms.operation;
  }

  /** What a replica said counts until the deadline that it was told, and not after it (maintenance/mend.ts). */
  get #isLate(): boolean {
    return this.ports.context.clock.monotonicMs() >= this.deadlineMs;
  }

  #begin(stamp: Version | undefined): void {
    if (!this.isUnderWay) return;
    const ballot = this.#ballotFrom(stamp);
    const { context, chosen } = this.ports;
    const { keyHash } = this;
    const { operation, route } = this.terms;
    const { key, deadlineMs, traceparent } = operation;
    const call = { key, keyHash, above: this.#beatenBy, deadlineMs, traceparent };
    const needed = this.ports.majorityOf(route);
    const last = chosen.take(this.turnKey);
    const round = new Round(context, this, route, call, last?.record, ballot, needed);
    this.#round = round;
    context.counters.rounds++;
    if (last !== undefined && savesPrepare(last, ballot, context.lives.version)) {
      this.#propose(ballot, last.record, fenceVersion(round.prepared.fence));
      return;
    }
    this.#preparedMs = context.clock.monotonicMs();
    this.#hurryAtMs = this.#preparedMs + Math.max(MIN_HURRY_MS, this.ports.promising.p99Ms);
    round.prepare();
  }

  /**
   * What the key holds, or has promised, may be further ahead than a clock follows; and the stamps of this node are, where its wall
   * went back, further than others would take. The ballot then has a writer of its own, for the stamps of this node come past
   * there once more.
   */
  #ballotFrom(stamp: Version | undefined): Version {
    const nowMs = this.ports.context.clock.wallMs();
    const isNear = stamp !== undefined && stamp.wallMs - nowMs <= this.ports.maxDriftMs;
    if (isNear && compareVersions(stamp, this.#above) > 0) return stamp;
    const writer = this.ports.random.bytes(8);
    return nextVersion(this.#above, nowMs, { hi: readU32(writer, 0), lo: readU32(writer, 4) });
  }

  #propose(ballot: Version, record: Uint8Array | undefined, fence: Version): void {
    const nowMs = this.ports.context.clock.wallMs();
    const decision = decide(this.#request, { record, fence, ballot, nowMs });
    if (decision.kind === 'forgotten') {
      const version = encodeVersion(decision.floor);
      this.#end({ ...failure('REFUSED', this.#outcome, FORGOTTEN), version });
      return;
    }
    this.#result = decision.result;
    this.#round?.propose(decision.record);
  }

  /**
   * A plain request may have asked for more, or other, replicas than a majority. Where one of those has promised a higher ballot,
   * the next round goes above that.
   */
  #isLevelMet(round: Round): boolean {
    if (this.terms.operation.level === 'LINEARIZABLE') return true;
    const { needed, counted } = this.terms.level;
    const tally = new WriteTally(needed, counted);
    for (const [slot, answer] of round.answers.entries()) {
      if (answer === 'pending') tally.sent(slot);
      else if (
        typeof answer === 'object' &&
        (answer.kind === 'applied' || answer.kind === 'kept')
      ) {
        tally.took(slot);
      }
    }
    if (tally.verdict === 'missed') {
      round.leave();
      this.onShort(round.accepted.beatenBy);
    }
    return tally.verdict === 'met';
  }

  #noteOutcome(): void {
    if (this.#result !== undefined && this.#round?.accepted.outcome === 'unknown') {
      this.#outcome = 'unknown';
    }
  }

  #fail(code: ErrorCode, message: string): void {
    // A read that was not answered has not happened, though what it found may be chosen anew.
    const outcome = this.terms.change.kind === 'read' ? 'none' : this.#outcome;
    this.#end(failure(code, outcome, message, this.#receipt()));
  }

  #end(answer: NodeAnswer): void {
    this.#cancelPause();
    this.#round?.leave();
    this.ports.context.inFlight.remove(this);
    this.terms.operation.onAnswer(answer);
    this.ports.turns.release(this);
  }

  #receipt(): Receipt {
    const round = this.#round;
    const { peers } = this.terms.route;
    const result = this.#result;
    const isShadowed = this.terms.change.kind === 'plain' && result?.code !== 1;
    return {
      coordinator: this.ports.context.nodeId,
      needed: this.ports.majorityOf(this.terms.route),
      answered: round === undefined ? 0 : round.accepted.answered || round.prepared.answered,
      replicas: peers.map(({ nodeId }, slot) =>
        replicaOutcome(nodeId, round?.answers[slot] ?? 'not-asked', false, round?.record),
      ),
      ...(isShadowed && result?.version !== undefined ? { shadowedBy: result.version } : {}),
    };
  }

  #miss(): string {
    if (this.#round === undefined) return 'other rounds of the key went before it';
    const { needed, answered, replicas } = this.#receipt();
    const { operation, route } = this.terms;
    const { length } = route.peers;
    const { answers } = this.#round;
    return describeMiss(
      operation.level,
      operation.zone,
      needed,
      length,
      answered,
      replicas,
      answers,
    );
  }
}

function higherVersion(a: Version, b: Version): Version {
  return compareVersions(a, b) >= 0 ? a : b;
}

/** Whether the record is below the least version that was asked for, if one was. */
function isOlder(record: Uint8Array, minVersion: Uint8Array): boolean {
  return (
    minVersion.length > 0 && compareBytesAt(record, VERSION_AT, minVersion, 0, VERSION_BYTES) < 0
  );
}
