import { KvError } from '../core/errors.js';
import { hash32 } from '../core/hash.js';
import { checkExpiry, expiryAfter } from '../core/expiry.js';
import { ANSWERED } from '../core/ledger.js';
import { encodeRecord, expiryOf, hasExpiry, versionOf, type RecordFields } from '../core/record.js';
import type { Receipt } from '../core/receipt.js';
import { readVersion, type Version } from '../core/version.js';
import type { NodeAnswer } from '../io/link.js';
import type { Entry, Written } from './kv.js';
import type { CasResult, RequestOutcome } from './linearizable.js';
import { Operation } from './operation.js';
import type { Plan } from './request-options.js';
import type { Session } from './session.js';

/** Where the result of an operation goes. `index` is what the operation was given: its place in a batch. */
export interface Outlet<R> {
  done(index: number, result: R): void;
  failed(index: number, error: KvError): void;
}

/** A promise of one result. */
export class PromisedResult<R> implements Outlet<R> {
  readonly promise: Promise<R>;
  #resolve!: (result: R) => void;
  #reject!: (error: KvError) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  done(_index: number, result: R): void {
    this.#resolve(result);
  }

  failed(_index: number, error: KvError): void {
    this.#reject(error);
  }
}

/** What a get makes of a record that holds a value. One object for all gets of a Kv. May throw KvError. */
export interface Reader<R> {
  read(key: Uint8Array, fields: RecordFields, receipt: Receipt | undefined): R;
}

/**
 * Reads one key: what the reader makes of it, undefined when the key is absent or deleted. What has expired comes as a
 * tombstone: the coordinator judges that, by its clock, and nobody judges it again.
 */
export class Get<R> extends Operation {
  readonly #reader: Reader<R>;
  readonly #outlet: Outlet<R | undefined>;
  readonly #index: number;

  constructor(
    session: Session,
    key: Uint8Array,
    plan: Plan,
    reader: Reader<R>,
    outlet: Outlet<R | undefined>,
    index: number,
  ) {
    super(session, 'get', key, hash32(key), plan);
    this.#reader = reader;
    this.#outlet = outlet;
    this.#index = index;
  }

  protected override succeed(answer: NodeAnswer, fields: RecordFields | undefined): void {
    let result: R | undefined;
    if (fields !== undefined) {
      this.session.observe(fields.version);
      if (!fields.tombstone) {
        try {
          result = this.#reader.read(this.key, fields, answer.receipt);
        } catch (error) {
          this.#outlet.failed(this.#index, error as KvError);
          return;
        }
      }
    }
    this.#outlet.done(this.#index, result);
  }

  protected override fail(error: KvError): void {
    this.#outlet.failed(this.#index, error);
  }
}

/** A put or delete, with an expectation or without. Stamped and encoded here, once. */
abstract class StampedWrite<R> extends Operation {
  protected readonly outlet: Outlet<R>;
  protected readonly index: number;

  constructor(
    session: Session,
    key: Uint8Array,
    value: Uint8Array | undefined,
    plan: Plan,
    outlet: Outlet<R>,
    index: number,
  ) {
    // Before there is an operation: nothing waits for one that could not be made.
    const version = plan.version ?? session.stamp();
    const expiresAtMs = expiryOfWrite(plan, version);
    const stays = { version, tombstone: value === undefined, value: value ?? NO_VALUE };
    const record = encodeRecord(key, expiresAtMs === undefined ? stays : { ...stays, expiresAtMs });
    super(session, 'put', key, hash32(key), plan);
    this.outlet = outlet;
    this.index = index;
    this.version = version;
    this.record = record;
  }

  protected override fail(error: KvError): void {
    this.outlet.failed(this.index, error);
  }

  /** What became of it at LINEARIZABLE: the version at which it took effect, undefined when it lost; or why it never does. */
  protected tookEffectAt({ result, version }: NodeAnswer): Version | undefined | KvError {
    if (result === ANSWERED.lost) return undefined;
    if (result === ANSWERED.applied && version !== undefined) {
      const changed = readVersion(version, 0);
      // So that what this caller writes next, plainly too, is above it.
      this.session.observe(changed);
      return changed;
    }
    return result === ANSWERED.never
      ? new KvError(
          'REFUSED',
          'Its outcome was asked for before it took effect: now it never does.',
        )
      : new KvError('INCOMPATIBLE', 'The node did not say what became of it.', {
          outcome: 'unknown',
          version: this.version,
          requestId: this.requestId,
        });
  }

  /** What results of all writes tell where there is something to tell. */
  protected details({ receipt }: NodeAnswer): Pick<Written, 'expiresAtMs' | 'receipt'> {
    const expiresAtMs = expiryOf(this.record);
    return {
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
      ...(receipt === undefined ? {} : { receipt }),
    };
  }
}

/**
 * Writes one key: a value, or a tombstone where `value` is undefined. Making one throws INVALID_ARGUMENT for an expiry that the
 * stamp has passed.
 */
export class Write extends StampedWrite<Written> {
  protected override succeed(answer: NodeAnswer): void {
    if (this.level === 'LINEARIZABLE') {
      this.#tookEffect(answer);
      return;
    }
    const { version } = this;
    const { shadow, receipt } = answer;
    this.session.observe(version);
    if (shadow === undefined && receipt === undefined && !hasExpiry(this.record)) {
      this.outlet.done(this.index, { version });
      return;
    }
    const shadowedBy = shadow === undefined ? undefined : versionOf(shadow);
    // So that this caller's next write is above what it has just lost to.
    if (shadowedBy !== undefined) this.session.observe(shadowedBy);
    this.outlet.done(this.index, {
      version,
      ...(shadowedBy === undefined ? {} : { shadowedBy }),
      ...this.details(answer),
    });
  }

  #tookEffect(answer: NodeAnswer): void {
    const version = this.tookEffectAt(answer);
    if (version instanceof KvError) {
      this.fail(version);
    } else if (version === undefined) {
      this.fail(new KvError('INTERNAL', 'It expects nothing, and lost.'));
    } else {
      const { requestId } = this;
      this.outlet.done(this.index, { version, requestId, ...this.details(answer) });
    }
  }
}

/** Writes one key as {@link Write} does, if it holds what the plan expects. */
export class CompareAndSet<V> extends StampedWrite<CasResult<V>> {
  readonly #reader: Reader<Entry<V>>;

  constructor(
    session: Session,
    key: Uint8Array,
    value: Uint8Array | undefined,
    plan: Plan,
    reader: Reader<Entry<V>>,
    outlet: Outlet<CasResult<V>>,
  ) {
    super(session, key, value, plan, outlet, 0);
    this.#reader = reader;
  }

  protected override succeed(answer: NodeAnswer, fields: RecordFields | undefined): void {
    const { requestId } = this;
    const version = this.tookEffectAt(answer);
    if (version instanceof KvError) {
      this.fail(version);
    } else if (version !== undefined) {
      this.outlet.done(0, { swapped: true, version, requestId, ...this.details(answer) });
    } else {
      try {
        const found = this.#found(fields);
        const { receipt } = answer;
        const told = receipt === undefined ? {} : { receipt };
        this.outlet.done(0, { swapped: false, found, requestId, ...told });
      } catch (error) {
        this.fail(error as KvError);
      }
    }
  }

  #found(fields: RecordFields | undefined): Entry<V> | undefined {
    if (fields === undefined) return undefined;
    this.session.observe(fields.version);
    return fields.tombstone ? undefined : this.#reader.read(this.key, fields, undefined);
  }
}

/** Asks what became of a request at LINEARIZABLE. */
export class OutcomeQuestion extends Operation {
  readonly #outlet: Outlet<RequestOutcome>;

  /** `plan.minVersion` is the id of the request. */
  constructor(session: Session, key: Uint8Array, plan: Plan, outlet: Outlet<RequestOutcome>) {
    super(session, 'outcome', key, hash32(key), plan);
    this.#outlet = outlet;
    this.version = readVersion(plan.minVersion, 0);
  }

  protected override succeed({ result, version }: NodeAnswer): void {
    const told = version === undefined ? undefined : readVersion(version, 0);
    if (result === ANSWERED.never) {
      this.#outlet.done(0, { result: 'never' });
    } else if (result === ANSWERED.lost) {
      this.#outlet.done(0, { result: 'lost', version: told });
    } else if (result === ANSWERED.applied && told !== undefined) {
      this.#outlet.done(0, { result: 'applied', version: told });
    } else {
      this.fail(new KvError('INCOMPATIBLE', 'The node did not say what became of it.'));
    }
  }

  /** The one refusal is of what came too late to be known. */
  protected override fail(error: KvError): void {
    if (error.code === 'REFUSED') this.#outlet.done(0, { result: 'forgotten' });
    else this.#outlet.failed(0, error);
  }
}

const NO_VALUE = new Uint8Array(0);

/** When what is stamped `version` expires by its plan. Throws INVALID_ARGUMENT where that is out of bounds. */
function expiryOfWrite({ ttlMs, expiresAtMs: given }: Plan, version: Version): number | undefined {
  const expiresAtMs = ttlMs === undefined ? given : expiryAfter(version, ttlMs);
  const problem = expiresAtMs === undefined ? undefined : checkExpiry(version, expiresAtMs);
  if (problem !== undefined) throw problem;
  return expiresAtMs;
}
