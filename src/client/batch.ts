import { KvError } from '../core/errors.js';
import { Operation } from './operation.js';
import type { Outlet } from './requests.js';
import type { Session } from './session.js';
import { abortWith, releaseFrom } from './signals.js';

/** Operations of one batch that are under way at once: enough to fill frames and group commits, too few to flood a node. */
const LANES = 512;

/** Makes the operation of an item, which reports to `outlet`; or an error, given or thrown, where there is nothing to send. */
export type ItemStarter<R> = (index: number, outlet: Outlet<R>) => Operation | KvError;

export interface BatchOutcome<R> {
  /** In the order of the items. Undefined as well where an item was not begun. */
  readonly results: readonly (R | KvError | undefined)[];
  /** The first that failed, by time. */
  readonly firstFailure: { readonly index: number; readonly error: KvError } | undefined;
  /** How many were begun: the first so many. */
  readonly begun: number;
}

/**
 * Carries out many operations, a bounded number at a time, each with its own result and its own deadline, counted from its
 * start. With `untilFailure` it begins no more after the first that failed, and resolves then, while others are still under
 * way. `signal` cancels what is under way and begins no more.
 */
export function runBatch<R>(
  session: Session,
  size: number,
  start: ItemStarter<R>,
  untilFailure: boolean,
  signal: AbortSignal | undefined,
): Promise<BatchOutcome<R>> {
  return new Promise((resolve) => {
    new Batch(session, size, start, untilFailure, signal, resolve).begin();
  });
}

class Batch<R> implements Outlet<R> {
  readonly #session: Session;
  readonly #size: number;
  readonly #start: ItemStarter<R>;
  readonly #untilFailure: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (outcome: BatchOutcome<R>) => void;
  /** An item's operation while it is under way, then its result. */
  readonly #results: (Operation | R | KvError | undefined)[];
  #firstFailure: { readonly index: number; readonly error: KvError } | undefined;
  #begun = 0;
  #underWay = 0;
  #beginning = false;
  #stopped = false;
  #resolved = false;

  constructor(
    session: Session,
    size: number,
    start: ItemStarter<R>,
    untilFailure: boolean,
    signal: AbortSignal | undefined,
    resolve: (outcome: BatchOutcome<R>) => void,
  ) {
    this.#session = session;
    this.#size = size;
    this.#start = start;
    this.#untilFailure = untilFailure;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#results = Array.from({ length: size }, () => undefined);
    if (signal !== undefined) abortWith(signal, this);
  }

  /** Fills the lanes. An operation may be over before it has been put into its lane, so this runs once at a time. */
  begin(): void {
    if (this.#beginning) return;
    this.#beginning = true;
    while (!this.#stopped && this.#begun < this.#size && this.#underWay < LANES) {
      const index = this.#begun++;
      this.#underWay++;
      const item = this.#make(index);
      if (item instanceof KvError) {
        this.failed(index, item);
      } else {
        this.#results[index] = item;
        this.#session.start(item);
      }
    }
    this.#beginning = false;
    const failedEarly = this.#untilFailure && this.#firstFailure !== undefined;
    if (failedEarly || (this.#underWay === 0 && (this.#stopped || this.#begun === this.#size))) {
      this.#finish();
    }
  }

  #make(index: number): Operation | KvError {
    try {
      return this.#start(index, this);
    } catch (error) {
      if (error instanceof KvError) return error;
      throw error;
    }
  }

  done(index: number, result: R): void {
    this.#results[index] = result;
    this.#underWay--;
    this.begin();
  }

  failed(index: number, error: KvError): void {
    this.#results[index] = error;
    this.#underWay--;
    this.#firstFailure ??= { index, error };
    if (this.#untilFailure) this.#stopped = true;
    this.begin();
  }

  /** The signal has fired. */
  abort(cause: unknown): void {
    this.#stopped = true;
    const error = new KvError('CANCELLED', 'The caller cancelled the batch.', { cause });
    for (let index = this.#begun - 1; index >= 0; index--) {
      const item = this.#results[index];
      if (item instanceof Operation) item.abort(cause);
    }
    for (let index = this.#begun; index < this.#size; index++) this.#results[index] = error;
    this.#firstFailure ??= { index: this.#begun, error };
    this.begin();
  }

  #finish(): void {
    if (this.#resolved) return;
    this.#resolved = true;
    if (this.#signal !== undefined) releaseFrom(this.#signal, this);
    this.#resolve({
      results: this.#results as (R | KvError | undefined)[],
      firstFailure: this.#firstFailure,
      begun: this.#begun,
    });
  }
}
