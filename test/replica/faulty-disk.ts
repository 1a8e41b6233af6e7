import { memoryStoreOpener } from '../../src/io/memory-store.js';
import {
  StoreError,
  type Store,
  type StoreBatch,
  type StoreCursor,
  type StoreOpener,
  type StoreRange,
} from '../../src/io/store.js';
import { ALL_RECORDS } from '../../src/replica/layout.js';

/** A disk in memory that does what disks do at the worst moment, when the test says so. */
export interface FaultyDisk extends StoreOpener {
  /** The next commit rejects; the batch is on disk nevertheless, or is not. */
  failNextCommit: 'written' | 'lost' | undefined;
  /** The next put into a batch throws. */
  failNextPut: boolean;
  /** Batches that were given up, as the port asks for of those that are not committed. */
  readonly discarded: number;
  /** How often opening fails from now on. */
  openFailures: number;
  room: boolean;
  /** Reads that touch this key fail, as LevelDB's do on a damaged block. */
  damagedKey: Uint8Array | undefined;
  /** While set, commits wait for it before they do anything. */
  gate: Promise<void> | undefined;
  /** While set, commits wait for it when all is done and can be read, before they say so. */
  lateWord: Promise<void> | undefined;
  /** While set, the walk over all records waits for it. */
  walkGate: Promise<void> | undefined;
  /** Keys read, and commits begun, so far. */
  readonly keysRead: number;
  readonly commits: number;
  /** The open store, to look behind the replica. */
  readonly store: Store;
}

export function createFaultyDisk(): FaultyDisk {
  const opener = memoryStoreOpener();
  let open: Store | undefined;
  const disk = {
    failNextCommit: undefined as FaultyDisk['failNextCommit'],
    failNextPut: false,
    discarded: 0,
    openFailures: 0,
    room: true,
    damagedKey: undefined as Uint8Array | undefined,
    gate: undefined as Promise<void> | undefined,
    lateWord: undefined as Promise<void> | undefined,
    walkGate: undefined as Promise<void> | undefined,
    keysRead: 0,
    commits: 0,
    get store(): Store {
      if (open === undefined) throw new Error('the disk is not open');
      return open;
    },
    async open(): Promise<Store> {
      if (disk.openFailures > 0) {
        disk.openFailures -= 1;
        throw new StoreError('failed', 'the disk is still sick');
      }
      open = await opener.open();
      return faulty(open);
    },
    hasRoom: async () => disk.room,
    verify: () => opener.verify(),
    acceptDamage: () => opener.acceptDamage(),
  };

  const checkKey = (key: Uint8Array) => {
    disk.keysRead += 1;
    if (disk.damagedKey !== undefined && Buffer.compare(key, disk.damagedKey) === 0) {
      throw new StoreError('corrupt', 'Corruption: block checksum mismatch');
    }
  };

  const faulty = (store: Store): Store => ({
    async get(key) {
      checkKey(key);
      return store.get(key);
    },
    async getMany(keys) {
      for (const key of keys) checkKey(key);
      return store.getMany(keys);
    },
    batch: () => faultyBatch(store.batch()),
    cursor(range: StoreRange): StoreCursor {
      const cursor = store.cursor(range);
      const isWalk = range.gte[0] === ALL_RECORDS.gte[0] && range.reverse === undefined;
      return {
        async next(count) {
          if (isWalk) await disk.walkGate;
          return cursor.next(count);
        },
        close: () => cursor.close(),
      };
    },
    sizeBytes: () => store.sizeBytes(),
    close: () => store.close(),
  });

  const faultyBatch = (batch: StoreBatch): StoreBatch => ({
    put(key, value) {
      if (disk.failNextPut) {
        disk.failNextPut = false;
        throw new StoreError('failed', 'the batch takes nothing');
      }
      batch.put(key, value);
      return this;
    },
    del(key) {
      batch.del(key);
      return this;
    },
    get length() {
      return batch.length;
    },
    async commit(options) {
      disk.commits += 1;
      // Not a StoreError: a defect of whoever commits.
      if (!options.sync) throw new Error('a commit without sync');
      await disk.gate;
      const fault = disk.failNextCommit;
      disk.failNextCommit = undefined;
      if (fault !== 'lost') await batch.commit(options);
      await disk.lateWord;
      if (fault !== undefined) throw new StoreError('failed', 'Input/output error');
    },
    discard() {
      disk.discarded += 1;
      return batch.discard();
    },
  });

  return disk;
}

/** Commits (or the walk over all keys) begin and wait until the gate is opened. */
export function closeGate(
  disk: FaultyDisk,
  gate: 'gate' | 'lateWord' | 'walkGate' = 'gate',
): () => void {
  let pass: (() => void) | undefined;
  disk[gate] = new Promise((resolve) => {
    pass = resolve;
  });
  return () => {
    disk[gate] = undefined;
    pass?.();
  };
}
