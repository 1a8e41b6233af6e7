import type { KvError } from '../core/errors.js';
import { hash32 } from '../core/hash.js';
import { checkExpiry, expiryAfter } from '../core/expiry.js';
import { encodeRecord, expiryOf, versionOf, type RecordFields } from '../core/record.js';
import type { Receipt } from '../core/receipt.js';
import type { Version } from '../core/version.js';
import type { NodeAnswer } from '../io/link.js';
import type { Written } from './kv.js';
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

/**
 * Writes one key: a value, or a tombstone where `value` is undefined. Stamped and encoded here, once. Making one throws
 * INVALID_ARGUMENT for an expiry that the stamp has passed.
 */
export class Write extends Operation {
  readonly #outlet: Outlet<Written>;
  readonly #index: number;

  constructor(
    session: Session,
    key: Uint8Array,
    value: Uint8Array | undefined,
    plan: Plan,
    outlet: Outlet<Written>,
    index: number,
  ) {
    // Before there is an operation: nothing waits for one that could not be made.
    const version = plan.version ?? session.stamp();
    const expiresAtMs = expiryOfWrite(plan, version);
    const stays = { version, tombstone: value === undefined, value: value ?? NO_VALUE };
    const record = encodeRecord(key, expiresAtMs === undefined ? stays : { ...stays, expiresAtMs });
    super(session, 'put', key, hash32(key), plan);
    this.#outlet = outlet;
    this.#index = index;
    this.version = version;
    this.record = record;
  }

  protected override succeed(answer: NodeAnswer): void {
    const { version } = this;
    const { shadow, receipt } = answer;
    const expiresAtMs = expiryOf(this.record);
    if (shadow === undefined && receipt === undefined && expiresAtMs === undefined) {
      this.#outlet.done(this.#index, { version });
      return;
    }
    const shadowedBy = shadow === undefined ? undefined : versionOf(shadow);
    // So that this caller's next write is above what it has just lost to.
    if (shadowedBy !== undefined) this.session.observe(shadowedBy);
    this.#outlet.done(this.#index, {
      version,
      ...(shadowedBy === undefined ? {} : { shadowedBy }),
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
      ...(receipt === undefined ? {} : { receipt }),
    });
  }

  protected override fail(error: KvError): void {
    this.#outlet.failed(this.#index, error);
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
