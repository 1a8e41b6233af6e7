import type { Consistency } from '../core/consistency.js';
import type { ErrorCode, KvError } from '../core/errors.js';
import type { Receipt } from '../core/receipt.js';
import type { Version } from '../core/version.js';
import type { Codec } from './codec.js';
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

/** 1 to 4,096 bytes (the bound of the cluster), the namespace included. Text is its UTF-8 bytes. */
export type Key = string | Uint8Array;

/** What every request may say for itself; what it leaves out comes from {@link KvDefaults}. */
interface RequestOptions {
  readonly consistency?: Consistency;
  /** For the local levels: the zone whose replicas count. Also preferred for routing. */
  readonly zone?: string;
  /** 1 to 60,000. For the operation with all its retries; in a batch or a scan, for each item or page. */
  readonly timeoutMs?: number;
  /** Rejects with CANCELLED; the error's `cause` is the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface ReadOptions extends RequestOptions {
  /** Refused with STALE unless something at least as new is found: "not older than what I have seen". */
  readonly minVersion?: Version;
  /** Asks how the answer was reached; it is given in {@link Entry}. */
  readonly receipt?: boolean;
}

export interface WriteOptions extends RequestOptions {
  /** Asks how the write was acknowledged; it is given in {@link Written}. */
  readonly receipt?: boolean;
  /**
   * The stamp of the write, instead of a new one: to send again a write whose outcome is unknown. It must be the version
   * that the error named, and its value the same.
   */
  readonly version?: Version;
}

/** How long a value stays. Past its expiry it is as good as deleted, and anything written later replaces it as ever. */
interface Lifetime {
  /** It expires so many milliseconds after its stamp, 1 to 315,360,000,000 (3,650 days). Default: it does not expire. */
  readonly ttlMs?: number;
  /** Instead of `ttlMs`: when it expires, wall milliseconds since 1970. Refused when that has passed. */
  readonly expiresAtMs?: number;
}

export interface PutOptions extends WriteOptions, Lifetime {}

export interface ScanOptions extends RequestOptions {
  /** Keys that start with it. Not together with `gte` or `lt`. */
  readonly prefix?: Key;
  /** From this key, inclusive. */
  readonly gte?: Key;
  /** Up to this key, exclusive. */
  readonly lt?: Key;
  /** From the last key to the first. */
  readonly reverse?: boolean;
  /** The most entries to give, over all pages. Default: no bound. */
  readonly limit?: number;
  /** Entries without values, which are then not sent. */
  readonly keysOnly?: boolean;
  /** Entries asked for at once, 1 to 10,000. Default: 1,000. */
  readonly pageSize?: number;
}

/** What requests leave out. `consistency` is for both; `profile` goes before it. */
export interface KvDefaults {
  /** Default: QUORUM. */
  readonly consistency?: Consistency;
  readonly profile?: { readonly read?: Consistency; readonly write?: Consistency };
  readonly zone?: string;
  /** Default: 5,000. */
  readonly timeoutMs?: number;
}

/** How to reach a cluster, and what its requests leave out. */
export interface ConnectOptions<V = string> extends KvDefaults {
  /** `host:port` of some of the nodes, as a list or separated by commas. The others are found through them. */
  readonly endpoints: string | readonly string[];
  /** How long to wait for the first node to answer, 1 to 60,000. Default: 5,000. */
  readonly connectTimeoutMs?: number;
  /** What values are. Default: `textCodec`. */
  readonly codec?: Codec<V>;
  /** Gives up connecting. Has no effect afterwards; requests have signals of their own. */
  readonly signal?: AbortSignal;
}

/** A key with what it holds. */
export interface Entry<V> {
  /** Without the namespace's prefix. */
  readonly key: Uint8Array;
  /** The key as text. Throws INVALID_ARGUMENT when it is not UTF-8. */
  readonly keyText: string;
  readonly value: V;
  readonly version: Version;
  /** Wall milliseconds since 1970; absent: it does not expire. */
  readonly expiresAtMs?: number;
  /** Of a get that asked for it. */
  readonly receipt?: Receipt;
}

/** An acknowledged write. */
export interface Written {
  /** The stamp of this write. At LINEARIZABLE: the version at which it took effect, above its stamp. */
  readonly version: Version;
  /** At LINEARIZABLE: what {@link Kv.outcome} can be asked about. */
  readonly requestId?: string;
  /** A newer version that hides it: the write was stored nowhere, or is no longer what reads find. */
  readonly shadowedBy?: Version;
  /** When it expires, wall milliseconds since 1970; absent: it does not. */
  readonly expiresAtMs?: number;
  /** When asked for. */
  readonly receipt?: Receipt;
}

export type BatchOperation<V> =
  | { readonly type: 'get'; readonly key: Key }
  | (Lifetime & {
      readonly type: 'put';
      readonly key: Key;
      readonly value: V;
      readonly version?: Version;
    })
  | { readonly type: 'delete'; readonly key: Key; readonly version?: Version };

export type BatchResult<V> =
  /** `entry` is undefined when the key is absent. */
  | { readonly ok: true; readonly type: 'get'; readonly entry: Entry<V> | undefined }
  | { readonly ok: true; readonly type: 'put' | 'delete'; readonly written: Written }
  | { readonly ok: false; readonly type: 'get' | 'put' | 'delete'; readonly error: KvError };

/** `consistency` is for all operations of the batch; without it, gets and writes take their own defaults. */
export interface BatchOptions extends RequestOptions {
  readonly receipt?: boolean;
}

/** The cluster as this connection sees it. */
export interface ClusterView {
  readonly name: string;
  readonly id: string;
  readonly placementVersion: number;
  readonly replicationFactor: number;
  /** Ordered by id. */
  readonly members: readonly MemberView[];
  /** Endpoints that were refused for good: of another cluster, or of another protocol version. */
  readonly refused: readonly RefusedEndpoint[];
  readonly limits: { readonly maxKeyBytes: number; readonly maxValueBytes: number };
  readonly maxDriftMs: number;
  /** The clock of the servers less the clock of this machine; stamps are corrected by it. */
  readonly clockOffsetMs: number;
}

export interface MemberView {
  readonly id: string;
  readonly address: string;
  readonly zone: string;
  readonly connected: boolean;
  /** Its clock is wrong: it coordinates no writes. */
  readonly quarantined: boolean;
  /** Absent until it has been measured. */
  readonly roundTripMs?: number;
}

export interface RefusedEndpoint {
  readonly endpoint: string;
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * A replicated key-value store. Every method rejects with KvError and with nothing else; bad arguments are refused before
 * anything is sent. A write is stamped once, by this connection, and sent again after a failure as the same bytes, so it
 * applies once however many attempts it takes.
 */
export interface Kv<V> extends AsyncDisposable {
  /** The value; undefined when there is none: never written, deleted or expired. */
  get(key: Key, options?: ReadOptions): Promise<V | undefined>;
  /** The value with its version, and a receipt when asked for. */
  getEntry(key: Key, options?: ReadOptions): Promise<Entry<V> | undefined>;
  /** The values, in the order of the keys. Rejects with the first error; {@link Kv.batch} has a result for each. */
  getMany(keys: Iterable<Key>, options?: ReadOptions): Promise<(V | undefined)[]>;
  put(key: Key, value: V, options?: PutOptions): Promise<Written>;
  /**
   * Not a transaction: rejects with the first error and begins no more puts, but those begun before may be done, so `outcome`
   * is `unknown` unless none was begun. {@link Kv.batch} has a result for each.
   */
  putMany(
    entries: Iterable<readonly [Key, V]>,
    options?: Omit<PutOptions, 'version'>,
  ): Promise<Written[]>;
  /** Deleting what is absent succeeds. */
  delete(key: Key, options?: WriteOptions): Promise<Written>;
  /**
   * Writes `next` (undefined: deletes) if the key holds what is expected, in one step that no other LINEARIZABLE operation comes
   * between. Losing is a result, not an error, and says what was found. Applies once, as every write.
   */
  cas(key: Key, options: CasOptions<V>, next: V | undefined): Promise<CasResult<V>>;
  /**
   * Replaces what the key holds by what `update` makes of it: reads, applies it, compares and sets, and begins again where
   * another was faster. `update` may run many times, so it must do nothing else; undefined stands for absent, and returning
   * what it was given changes nothing. Rejects with TIMED_OUT when others were faster all the time, and with what `update`
   * throws.
   */
  atomic(
    key: Key,
    update: (current: V | undefined) => V | undefined,
    options?: AtomicOptions,
  ): Promise<Updated<V>>;
  /**
   * What became of a write at LINEARIZABLE, by the `requestId` of its result or of its error; a Kv of any namespace may ask. Once
   * it has been asked, a write that has not taken effect never does. Remembered for about a minute, and for 64 writes of a key.
   */
  outcome(
    requestId: string,
    options?: { readonly timeoutMs?: number; readonly signal?: AbortSignal },
  ): Promise<RequestOutcome>;
  /** Waits for the lock of that name, which lies under the key `lock/NAME`, and holds it until it is released or lost. */
  lock(name: string, options?: LockOptions): Promise<Lock>;
  /** The election of that name, which lies under the key `election/NAME`. `ttlMs` as of {@link LockOptions}. */
  election(name: string, options?: { readonly ttlMs?: number }): Election;
  /** The number under that key. */
  counter(key: Key): Counter;
  /**
   * Many operations, each with its own result, in the order given; they are carried out side by side, some hundreds at a
   * time. Not a transaction, and operations on one key are not carried out in order, though of two writes the later wins
   * (unless the stamp of the earlier was refused by a node whose clock differs, and was replaced).
   */
  batch(
    operations: readonly BatchOperation<V>[],
    options?: BatchOptions,
  ): Promise<BatchResult<V>[]>;
  /**
   * Entries in the order of their keys' bytes. The next page is fetched while this one is read. What is written meanwhile
   * may or may not be seen.
   */
  scan(options?: ScanOptions & { readonly keysOnly?: false }): AsyncIterable<Entry<V>>;
  scan(options: ScanOptions & { readonly keysOnly: true }): AsyncIterable<Entry<undefined>>;
  scan(options: ScanOptions): AsyncIterable<Entry<V | undefined>>;
  /** The keys that start with `prefix`, by what follows it. Shares this connection. */
  namespace(prefix: string): Kv<V>;
  /** The same keys, other values. Shares this connection. */
  withCodec<T>(codec: Codec<T>): Kv<T>;
  /** The same with other defaults; what is left out stays as it is. Shares this connection. */
  with(defaults: KvDefaults): Kv<V>;
  cluster(): ClusterView;
  /** The ids of the replicas of a key, in the order of preference. */
  preferenceOf(key: Key): readonly string[];
  /**
   * Lets what is under way finish, for up to 5 seconds, and closes the connection, with all that share it. Nothing new is
   * taken from the moment of the call.
   */
  close(): Promise<void>;
}
