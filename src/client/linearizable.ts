import type { Receipt } from '../core/receipt.js';
import type { Version } from '../core/version.js';
import type { Entry, PutOptions } from './kv.js';

/** What a compare-and-set asks of the present value. Values are compared by the bytes that the codec makes of them. */
export type Expect<V> =
  /** That of the last change, as entries and writes name it. The safe one: it differs even where a value has come back. */
  | { readonly version: Version }
  | { readonly value: V }
  /** Never written, deleted or expired. */
  | 'absent';

export interface CasOptions<V> extends Omit<PutOptions, 'consistency' | 'zone'> {
  readonly expect: Expect<V>;
}

/** How a compare-and-set ended. */
export type CasResult<V> =
  | {
      readonly swapped: true;
      /** The version that the change has got: what the next compare-and-set may expect. */
      readonly version: Version;
      /** What {@link Kv.outcome} can be asked about. */
      readonly requestId: string;
      readonly expiresAtMs?: number;
      readonly receipt?: Receipt;
    }
  | {
      readonly swapped: false;
      /**
       * What is there instead; undefined: nothing. After a retry it may be newer than what the compare-and-set lost to, and even be
       * what it expected.
       */
      readonly found: Entry<V> | undefined;
      readonly requestId: string;
      readonly receipt?: Receipt;
    };

/** `timeoutMs` is for all attempts together. */
export type AtomicOptions = Pick<PutOptions, 'timeoutMs' | 'signal' | 'ttlMs'>;

/** What {@link Kv.atomic} has left. */
export interface Updated<V> {
  /** Undefined: the key is absent. */
  readonly value: V | undefined;
  /** Of that value; undefined where the key was absent and stays so. */
  readonly version: Version | undefined;
  /** False: the function wanted nothing changed, and nothing was written. */
  readonly changed: boolean;
}

/** What became of a request at LINEARIZABLE. */
export type RequestOutcome =
  /** It took effect, at this version. */
  | { readonly result: 'applied'; readonly version: Version }
  /** It was a compare-and-set that found something else: this version; undefined: nothing. */
  | { readonly result: 'lost'; readonly version: Version | undefined }
  /** It has not taken effect, and from now on it never does. */
  | { readonly result: 'never' }
  /** Too much has happened on the key, or too much time has passed: nobody knows any more. It does not take effect any more. */
  | { readonly result: 'forgotten' };

export interface LockOptions {
  /**
   * How long the lock outlives a holder that says nothing any more, 100 to 86,400,000. It is renewed all the while, every third
   * of this. Default: 10,000.
   */
  readonly ttlMs?: number;
  /** What others may learn of this holder while it holds the lock: its address, say. `kvctl lock` shows it to those that wait. */
  readonly as?: string;
  /** How long to wait for another holder; then rejects with TIMED_OUT. Default: for ever. */
  readonly waitMs?: number;
  /**
   * Gives up waiting: rejects with CANCELLED, and gives the lock back where it may just have been taken. Has no effect on a lock
   * that is held.
   */
  readonly signal?: AbortSignal;
}

/**
 * A lock that is held. It is a promise by time: a process that is paused for longer than the lock lives does not notice at
 * once that another one holds it. What must not happen twice has to check the token, where it happens.
 */
export interface Lock extends AsyncDisposable {
  readonly name: string;
  /**
   * The fencing token: text that sorts after those of all holders before. Hand it to whatever the lock protects, and let that
   * refuse a token lower than the highest it has seen.
   */
  readonly token: string;
  /** Aborted when the lock is lost: it could not be renewed in time, or its record was taken away. Not by releasing it. */
  readonly signal: AbortSignal;
  /** Whether it is held now, by this machine's monotonic clock. */
  readonly held: boolean;
  /**
   * Gives it up: removes its record, and never that of another holder. False: it had been lost before. Rejects when that cannot
   * be done; the lock then ends with its time. Disposing does the same and keeps such a failure to itself.
   */
  release(): Promise<boolean>;
}

/** Who leads. */
export interface Leader {
  /** What the candidate said of itself. */
  readonly value: string;
  /** The fencing token of this term, as of {@link Lock.token}. */
  readonly token: string;
}

/** An election that is won, for as long as it lasts. */
export interface Leadership extends AsyncDisposable, Leader {
  /** Aborted when the leadership is lost. */
  readonly signal: AbortSignal;
  /** Whether this candidate leads now, by this machine's monotonic clock. */
  readonly held: boolean;
  /** As {@link Lock.release}: lets another candidate lead at once. */
  resign(): Promise<boolean>;
}

export interface Election {
  readonly name: string;
  /** Waits until this candidate leads. `value` is what the others learn of it: its address, say. */
  campaign(value: string, options?: Omit<LockOptions, 'ttlMs' | 'as'>): Promise<Leadership>;
  /**
   * Who leads, first as it is and then whenever it changes; undefined: nobody. That a leader has died is known when its record
   * has not been renewed for its time to live. Looks a few times a second, and goes on through failures that may pass.
   */
  observe(options?: { readonly signal?: AbortSignal }): AsyncIterable<Leader | undefined>;
}

/** A whole number under a key, as decimal digits; absent, it is 0. Never beyond what a JavaScript number can count. */
export interface Counter {
  get(options?: Pick<PutOptions, 'timeoutMs' | 'signal'>): Promise<number>;
  /** Adds `delta` (default 1), which may be negative, once whatever fails on the way, and answers the sum. */
  add(delta?: number, options?: Pick<PutOptions, 'timeoutMs' | 'signal'>): Promise<number>;
}
