import { invalidArgument, KvError } from '../core/errors.js';
import { hash32 } from '../core/hash.js';
import { checkValue } from '../core/limits.js';
import { parseRequestId } from '../core/request-id.js';
import { encodeVersion } from '../core/version.js';
import { updateAtomically } from './atomic.js';
import { runBatch, type ItemStarter } from './batch.js';
import type { Codec } from './codec.js';
import { counterCodec, counterOf } from './counter.js';
import { electionNamed } from './election.js';
import { checkCodec, decodeValue, encodeValue, entryOf, keyEntryOf } from './entry.js';
import { expectationBytes } from './expect.js';
import { ItemIterator } from './item-iterator.js';
import { iterable, named, throwFirst } from './items.js';
import { keyBytes, storedKey } from './keys.js';
import type {
  BatchOperation,
  BatchOptions,
  BatchResult,
  ClusterView,
  Entry,
  Key,
  Kv,
  KvDefaults,
  PutOptions,
  ReadOptions,
  ScanOptions,
  WriteOptions,
  Written,
} from './kv.js';
import { leaseCodec } from './lease.js';
import type {
  AtomicOptions,
  CasOptions,
  CasResult,
  Counter,
  Election,
  Lock,
  LockOptions,
  RequestOutcome,
  Updated,
} from './linearizable.js';
import { lockNamed } from './lock.js';
import {
  checkNoLifetime,
  checkObject,
  planOfItem,
  planRequest,
  profileWith,
  type Plan,
  type Profile,
} from './request-options.js';
import {
  CompareAndSet,
  Get,
  OutcomeQuestion,
  PromisedResult,
  Write,
  type Reader,
} from './requests.js';
import { rangeOf } from './scan-range.js';
import { scanRecords, type ScannedRecord } from './scan.js';
import type { Session } from './session.js';

const NO_BYTES = new Uint8Array(0);

/** What a batch item is once it has been checked. */
interface PreparedItem {
  readonly key: Uint8Array;
  /** Undefined: a delete, or a get. */
  readonly value: Uint8Array | undefined;
  readonly plan: Plan;
}

/** A Kv: the keys under one prefix, with values of one codec and with one set of defaults, over a session that it shares. */
export class Keyspace<V> implements Kv<V> {
  readonly #session: Session;
  readonly #prefix: Uint8Array;
  readonly #codec: Codec<V>;
  readonly #profile: Profile;
  /** Of writes that are LINEARIZABLE whatever else is. */
  readonly #linear: Plan;
  readonly #values: Reader<V>;
  readonly #entries: Reader<Entry<V>>;

  constructor(session: Session, prefix: Uint8Array, codec: Codec<V>, profile: Profile) {
    this.#session = session;
    this.#prefix = prefix;
    this.#codec = codec;
    this.#profile = profile;
    this.#linear = { ...profile.write, level: 'LINEARIZABLE' };
    this.#values = { read: (_key, fields) => decodeValue(codec, fields.value) };
    this.#entries = {
      read: (key, fields, receipt) =>
        entryOf(this.#ownKey(key), decodeValue(codec, fields.value), fields, receipt),
    };
  }

  get(key: Key, options?: ReadOptions): Promise<V | undefined> {
    return this.#get(key, options, this.#values);
  }

  getEntry(key: Key, options?: ReadOptions): Promise<Entry<V> | undefined> {
    return this.#get(key, options, this.#entries);
  }

  put(key: Key, value: V, options?: PutOptions): Promise<Written> {
    const result = new PromisedResult<Written>();
    try {
      const plan = this.#plan(this.#profile.write, options);
      const bytes = this.#storedKey(key);
      this.#session.start(new Write(this.#session, bytes, this.#encode(value), plan, result, 0));
    } catch (error) {
      result.failed(0, error as KvError);
    }
    return result.promise;
  }

  delete(key: Key, options?: WriteOptions): Promise<Written> {
    const result = new PromisedResult<Written>();
    try {
      const plan = this.#plan(this.#profile.write, options);
      checkNoLifetime(plan);
      const bytes = this.#storedKey(key);
      this.#session.start(new Write(this.#session, bytes, undefined, plan, result, 0));
    } catch (error) {
      result.failed(0, error as KvError);
    }
    return result.promise;
  }

  async getMany(keys: Iterable<Key>, options?: ReadOptions): Promise<(V | undefined)[]> {
    const plan = this.#plan(this.#profile.read, options);
    const prepared = Array.from(iterable('keys', keys), (key, index) =>
      named(`keys[${index}]`, () => this.#storedKey(key)),
    );
    const itemPlan: Plan = { ...plan, signal: undefined };
    const start: ItemStarter<V | undefined> = (index, outlet) =>
      new Get(this.#session, prepared[index] as Uint8Array, itemPlan, this.#values, outlet, index);
    const outcome = await runBatch(this.#session, prepared.length, start, true, plan.signal);
    throwFirst(outcome, 'keys', false);
    return outcome.results as (V | undefined)[];
  }

  async putMany(
    entries: Iterable<readonly [Key, V]>,
    options?: Omit<PutOptions, 'version'>,
  ): Promise<Written[]> {
    const plan = this.#plan(this.#profile.write, options);
    if (plan.version !== undefined) {
      throw invalidArgument(
        'version',
        'is of one write; give it to put, or to the items of a batch',
      );
    }
    const prepared = Array.from(iterable('entries', entries), (entry, index) =>
      named(`entries[${index}]`, () => {
        if (!Array.isArray(entry))
          throw invalidArgument('entry', 'must be a pair of key and value');
        const [key, value] = entry as readonly [Key, V];
        return { key: this.#storedKey(key), value: this.#encodeCopy(value) };
      }),
    );
    const itemPlan: Plan = { ...plan, signal: undefined };
    const start: ItemStarter<Written> = (index, outlet) => {
      const { key, value } = prepared[index] as { key: Uint8Array; value: Uint8Array };
      return new Write(this.#session, key, value, itemPlan, outlet, index);
    };
    const outcome = await runBatch(this.#session, prepared.length, start, true, plan.signal);
    throwFirst(outcome, 'entries', true);
    return outcome.results as Written[];
  }

  async batch(
    operations: readonly BatchOperation<V>[],
    options?: BatchOptions,
  ): Promise<BatchResult<V>[]> {
    const { signal, ...reading } = this.#plan(this.#profile.read, options);
    const { signal: _, ...writing } = this.#plan(this.#profile.write, options);
    const read: Plan = { ...reading, signal: undefined };
    const write: Plan = { ...writing, signal: undefined };
    const list = Array.from(iterable('operations', operations));
    list.forEach((operation, index) => checkObject(`operations[${index}]`, operation));
    const prepared = list.map((operation, index) => this.#prepare(operation, index, read, write));
    const start: ItemStarter<Entry<V> | Written | undefined> = (index, outlet) => {
      const item = prepared[index] as PreparedItem | KvError;
      if (item instanceof KvError) return item;
      const { key, value, plan } = item;
      return list[index]?.type === 'get'
        ? new Get(this.#session, key, plan, this.#entries, outlet, index)
        : new Write(this.#session, key, value, plan, outlet, index);
    };
    const { results } = await runBatch(this.#session, list.length, start, false, signal);
    return list.map(({ type }, index): BatchResult<V> => {
      const result = results[index];
      if (result instanceof KvError) return { ok: false, type, error: result };
      return type === 'get'
        ? { ok: true, type, entry: result as Entry<V> | undefined }
        : { ok: true, type, written: result as Written };
    });
  }

  scan(options?: ScanOptions & { readonly keysOnly?: false }): AsyncIterable<Entry<V>>;
  scan(options: ScanOptions & { readonly keysOnly: true }): AsyncIterable<Entry<undefined>>;
  scan(options: ScanOptions): AsyncIterable<Entry<V | undefined>>;
  scan(options: ScanOptions = {}): AsyncIterable<Entry<V | undefined>> {
    return new ItemIterator(this.#scan(options), ({ key, record, fields }) =>
      fields === undefined
        ? keyEntryOf(this.#ownKey(key), record)
        : entryOf(this.#ownKey(key), decodeValue(this.#codec, fields.value), fields),
    );
  }

  /** Options are looked at when the iteration begins. */
  async *#scan(options: ScanOptions): AsyncGenerator<readonly ScannedRecord[], void, void> {
    const plan = this.#plan(this.#profile.read, options);
    yield* scanRecords(this.#session, rangeOf(this.#prefix, options), plan);
  }

  cas(key: Key, options: CasOptions<V>, next: V | undefined): Promise<CasResult<V>> {
    const result = new PromisedResult<CasResult<V>>();
    try {
      checkObject('options', options);
      const expect = expectationBytes(options.expect, (value) => this.#encode(value));
      const plan = this.#plan(this.#linear, options, expect);
      if (plan.level !== 'LINEARIZABLE') {
        throw invalidArgument('consistency', 'a compare-and-set is LINEARIZABLE');
      }
      if (next === undefined) checkNoLifetime(plan);
      const bytes = this.#storedKey(key);
      const value = next === undefined ? undefined : this.#encode(next);
      this.#session.start(
        new CompareAndSet(this.#session, bytes, value, plan, this.#entries, result),
      );
    } catch (error) {
      result.failed(0, error as KvError);
    }
    return result.promise;
  }

  async atomic(
    key: Key,
    update: (current: V | undefined) => V | undefined,
    options: AtomicOptions = {},
  ): Promise<Updated<V>> {
    const { timeoutMs } = this.#plan(this.#linear, options);
    const stored = this.#storedKey(key);
    const own = stored.subarray(this.#prefix.length);
    const turnKey = Buffer.from(stored).toString('latin1');
    return updateAtomically(this, this.#session, own, update, options, timeoutMs, turnKey);
  }

  outcome(
    requestId: string,
    options?: Pick<ReadOptions, 'timeoutMs' | 'signal'>,
  ): Promise<RequestOutcome> {
    const result = new PromisedResult<RequestOutcome>();
    try {
      const request = typeof requestId === 'string' ? parseRequestId(requestId) : undefined;
      if (request === undefined) {
        throw invalidArgument('requestId', 'must be one that a write at LINEARIZABLE has named');
      }
      const { key, version } = request;
      const plan = { ...this.#plan(this.#linear, options), minVersion: encodeVersion(version) };
      const bytes = storedKey(NO_BYTES, key, this.#session.limits);
      this.#session.start(new OutcomeQuestion(this.#session, bytes, plan, result));
    } catch (error) {
      result.failed(0, error as KvError);
    }
    return result.promise;
  }

  async lock(name: string, options: LockOptions = {}): Promise<Lock> {
    return lockNamed(this.withCodec(leaseCodec), this.#session, name, options);
  }

  election(name: string, options: Pick<LockOptions, 'ttlMs'> = {}): Election {
    return electionNamed(this.withCodec(leaseCodec), this.#session, name, options);
  }

  counter(key: Key): Counter {
    const bytes = this.#storedKey(key).subarray(this.#prefix.length);
    return counterOf(this.withCodec(counterCodec), bytes);
  }

  namespace(prefix: string): Kv<V> {
    const bytes = keyBytes(this.#prefix, prefix, 'prefix');
    if (bytes.length === this.#prefix.length) throw invalidArgument('prefix', 'must not be empty');
    return new Keyspace(this.#session, bytes, this.#codec, this.#profile);
  }

  withCodec<T>(codec: Codec<T>): Kv<T> {
    return new Keyspace(this.#session, this.#prefix, checkCodec(codec), this.#profile);
  }

  with(defaults: KvDefaults): Kv<V> {
    const profile = profileWith(this.#profile, defaults);
    return new Keyspace(this.#session, this.#prefix, this.#codec, profile);
  }

  cluster(): ClusterView {
    return this.#session.view();
  }

  preferenceOf(key: Key): readonly string[] {
    return this.#session.map.preferenceOf(hash32(this.#storedKey(key)));
  }

  close(): Promise<void> {
    return this.#session.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#session.close();
  }

  #get<R>(key: Key, options: ReadOptions | undefined, reader: Reader<R>): Promise<R | undefined> {
    const result = new PromisedResult<R | undefined>();
    try {
      const plan = this.#plan(this.#profile.read, options);
      this.#session.start(new Get(this.#session, this.#storedKey(key), plan, reader, result, 0));
    } catch (error) {
      result.failed(0, error as KvError);
    }
    return result.promise;
  }

  #plan(
    base: Plan,
    options: (ReadOptions & PutOptions) | BatchOptions | undefined,
    expect?: Uint8Array,
  ): Plan {
    const plan = planRequest(base, options, expect);
    this.#session.checkOpen();
    if (plan.signal?.aborted === true) {
      const cause: unknown = plan.signal.reason;
      throw new KvError('CANCELLED', 'The signal had fired before the call.', { cause });
    }
    return plan;
  }

  #storedKey(key: Key): Uint8Array {
    return storedKey(this.#prefix, key, this.#session.limits);
  }

  /** The key as users of this Kv name it: a copy, so that an entry that is kept does not keep its whole page. */
  #ownKey(key: Uint8Array): Uint8Array {
    return new Uint8Array(key.subarray(this.#prefix.length));
  }

  #encode(value: V): Uint8Array {
    const bytes = encodeValue(this.#codec, value);
    const problem = checkValue(bytes.length, this.#session.limits);
    if (problem !== undefined) throw problem;
    return bytes;
  }

  /** For a write that is not begun before the call returns: its caller may have reused the value by then. */
  #encodeCopy(value: V): Uint8Array {
    return new Uint8Array(this.#encode(value));
  }

  #prepare(
    operation: BatchOperation<V>,
    index: number,
    read: Plan,
    write: Plan,
  ): PreparedItem | KvError {
    try {
      return named(`operations[${index}]`, () => {
        const key = this.#storedKey(operation.key);
        switch (operation.type) {
          case 'get':
            return { key, value: undefined, plan: read };
          case 'put':
            return {
              key,
              value: this.#encodeCopy(operation.value),
              plan: planOfItem(write, operation),
            };
          case 'delete': {
            const plan = planOfItem(write, operation);
            checkNoLifetime(plan);
            return { key, value: undefined, plan };
          }
          default:
            throw invalidArgument('type', 'must be get, put or delete');
        }
      });
    } catch (error) {
      return error as KvError;
    }
  }
}
