import type { KvError } from '../core/errors.js';
import { hash32 } from '../core/hash.js';
import { encodeRecord, versionOf, type RecordFields } from '../core/record.js';
import type { Receipt } from '../core/receipt.js';
import type { NodeAnswer } from '../io/link.js';
import { isLive } from './entry.js';
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

/** Reads one key: what the reader makes of it, undefined when the key is absent, deleted or expired. */
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
      if (isLive(fields, this.session.wallMs())) {
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

/** Writes one key: a value, or a tombstone where `value` is undefined. Stamped and encoded here, once. */
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
    super(session, 'put', key, hash32(key), plan);
    this.#outlet = outlet;
    this.#index = index;
    this.version = plan.version ?? session.stamp();
    this.record = encodeRecord(key, {
      version: this.version,
      tombstone: value === undefined,
      value: value ?? NO_VALUE,
    });
  }

  protected override succeed(answer: NodeAnswer): void {
    const { version } = this;
    const { shadow, receipt } = answer;
    if (shadow === undefined && receipt === undefined) {
      this.#outlet.done(this.#index, { version });
      return;
    }
    const shadowedBy = shadow === undefined ? undefined : versionOf(shadow);
    // So that this caller's next write is above what it has just lost to.
    if (shadowedBy !== undefined) this.session.observe(shadowedBy);
    this.#outlet.done(this.#index, {
      version,
      ...(shadowedBy === undefined ? {} : { shadowedBy }),
      ...(receipt === undefined ? {} : { receipt }),
    });
  }

  protected override fail(error: KvError): void {
    this.#outlet.failed(this.#index, error);
  }
}

const NO_VALUE = new Uint8Array(0);
