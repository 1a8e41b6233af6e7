/** One sorted map of bytes to bytes on one disk, in the lexicographic order of keys. */
export interface Store {
  get(key: Uint8Array): Promise<Uint8Array | undefined>;
  /** In the order of `keys`; undefined for what is absent. */
  getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  /** An empty batch: filled by chained calls, then committed whole or not at all. */
  batch(): StoreBatch;
  /** A cursor over a snapshot of the range, taken within this call. The caller closes it. */
  cursor(range: StoreRange): StoreCursor;
  /** Bytes on disk, roughly. */
  sizeBytes(): Promise<number>;
  /** Waits for what is under way. No call may follow. */
  close(): Promise<void>;
}

/** Opens the store of one disk, again after each close: what a node needs to go on after a failed sync. */
export interface StoreOpener {
  /**
   * Asked while the store is closed: whether all that was synced is still there, as far as the disk can tell. `damaged` goes
   * on being the answer, whatever is opened meanwhile, until {@link acceptDamage}. Rejects with a {@link StoreError}.
   */
  verify(): Promise<'intact' | 'damaged'>;
  /** The damage is known elsewhere now, durably: what is there counts as all there is. */
  acceptDamage(): Promise<void>;
  /** Rejects with a {@link StoreError}. */
  open(): Promise<Store>;
  /** Whether the disk can be written, and has the room that opening takes. */
  hasRoom(): Promise<boolean>;
}

export interface StoreBatch {
  /** The bytes are the batch's until it is committed: the caller does not change them. */
  put(key: Uint8Array, value: Uint8Array): this;
  del(key: Uint8Array): this;
  /** How many puts and deletes it holds. */
  readonly length: number;
  /**
   * Applies all of it atomically. With `sync` it is on disk before the promise resolves. A rejection means *unknown*: the
   * store must be reopened before it takes another write. A batch that is not committed must be discarded.
   */
  commit(options: { readonly sync: boolean }): Promise<void>;
  discard(): Promise<void>;
}

export interface StoreRange {
  /** From here on, inclusive. */
  readonly gte: Uint8Array;
  /** Up to here, exclusive. */
  readonly lt: Uint8Array;
  readonly reverse?: boolean;
  /** False: entries come with empty values. Default true. */
  readonly values?: boolean;
}

export type StoreEntry = readonly [key: Uint8Array, value: Uint8Array];

export interface StoreCursor {
  /** Up to `count` further entries, in order; empty at the end. */
  next(count: number): Promise<readonly StoreEntry[]>;
  /** Rejects when something that was passed over could not be read: what was given is then not all there is. */
  close(): Promise<void>;
}

/** What opening or using a store can say; anything else it throws is a defect. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  constructor(
    readonly reason: 'locked' | 'corrupt' | 'read-only' | 'full' | 'failed',
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}
