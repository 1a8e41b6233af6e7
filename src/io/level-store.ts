import { access, mkdir, readdir, rm, stat, statfs, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Level } from 'level';
import { LevelCursor, type Database } from './level-cursor.js';
import { storeErrorOf } from './level-error.js';
import { inspectLogs } from './level-log.js';
import type { Store, StoreBatch, StoreCursor, StoreOpener, StoreRange } from './store.js';

export interface LevelStoreOptions {
  /** Bytes gathered in memory before LevelDB writes a sorted file. */
  readonly writeBufferBytes?: number;
  /** Bytes of LevelDB's cache of blocks. */
  readonly cacheBytes?: number;
}

const DEFAULT_WRITE_BUFFER_BYTES = 16 * 1024 * 1024;
const DEFAULT_CACHE_BYTES = 8 * 1024 * 1024;
/**
 * Of a sorted file. LevelDB's own 2 MiB make many files of a store of some size: each is synced by itself when it is written, a
 * thousand of them can be open at once, and after a hundred reads that looked into one in vain it is merged with the next level.
 */
const FILE_BYTES = 8 * 1024 * 1024;

/** Opening rewrites the log as a sorted file, so it needs the room of that, and some for the files that describe it. */
const ROOM_BEYOND_LOG_BYTES = 1024 * 1024;
const PROBE_NAME = 'write-probe';
/** The file that says that a log was found damaged. LevelDB leaves alone what it does not know. */
const DAMAGE_NAME = 'log-damaged';

/** The store of one folder, which is made when missing. Rejects with a {@link StoreError}. */
export async function openLevelStore(
  folder: string,
  options: LevelStoreOptions = {},
): Promise<Store> {
  // Before there is a database, which begins to open by itself.
  await makeFolder(resolve(folder)).catch((error: unknown) => {
    throw storeErrorOf(error, `cannot make ${folder}`);
  });
  // The encoding 'view' hands bytes through untouched; 'buffer' wraps every Uint8Array that is not a Buffer.
  const database: Database = new Level(folder, {
    keyEncoding: 'view',
    valueEncoding: 'view',
    writeBufferSize: options.writeBufferBytes ?? DEFAULT_WRITE_BUFFER_BYTES,
    cacheSize: options.cacheBytes ?? DEFAULT_CACHE_BYTES,
    maxFileSize: FILE_BYTES,
  });
  try {
    await database.open();
  } catch (error) {
    throw storeErrorOf(error, `cannot open ${folder}`);
  }
  return new LevelStore(folder, database);
}

/**
 * Makes the folder and those above it, each once. The recursive mkdir of Node.js, which LevelDB's binding uses, tries for ever
 * where a file system refuses to make what it says is missing, as /proc does.
 */
async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || (await exists(dirname(folder)))) throw error;
    await makeFolder(dirname(folder));
    await mkdir(folder);
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Opens the store of `folder`, again after each close. */
export function levelStoreOpener(folder: string, options: LevelStoreOptions = {}): StoreOpener {
  return {
    async verify() {
      try {
        if (!(await exists(folder))) return 'intact';
        if (await exists(join(folder, DAMAGE_NAME))) return 'damaged';
        if ((await inspectLogs(folder)) === 'intact') return 'intact';
        // Opening makes tables of what can be read of the logs, and removes them.
        await writeFile(join(folder, DAMAGE_NAME), '', { flush: true });
        return 'damaged';
      } catch (error) {
        throw storeErrorOf(error, `cannot verify the logs in ${folder}`);
      }
    },
    async acceptDamage() {
      try {
        await rm(join(folder, DAMAGE_NAME), { force: true });
      } catch (error) {
        throw storeErrorOf(error, `cannot remove ${DAMAGE_NAME} from ${folder}`);
      }
    },
    open: () => openLevelStore(folder, options),
    async hasRoom() {
      try {
        // Quotas and read-only disks show only when something is written.
        await writeFile(join(folder, PROBE_NAME), PROBE_NAME, { flush: true });
        await rm(join(folder, PROBE_NAME));
        const disk = await statfs(folder);
        const logBytes = await sizeOf(folder, (name) => name.endsWith('.log'));
        return disk.bavail * disk.bsize >= logBytes + ROOM_BEYOND_LOG_BYTES;
      } catch {
        return false;
      }
    },
  };
}

/**
 * LevelDB. A write of it syncs its log before the batch enters the memtable, and readers see the batch only when both are
 * done (DBImpl::Write): so every read, of a key or by a cursor, sees only what is synced, as long as all commits sync.
 */
class LevelStore implements Store {
  readonly #folder: string;
  readonly #database: Database;

  constructor(folder: string, database: Database) {
    this.#folder = folder;
    this.#database = database;
  }

  async get(key: Uint8Array): Promise<Uint8Array | undefined> {
    try {
      return await this.#database.get(key);
    } catch (error) {
      throw storeErrorOf(error, 'a read failed');
    }
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    try {
      return await this.#database.getMany(keys as Uint8Array[]);
    } catch (error) {
      throw storeErrorOf(error, 'a read failed');
    }
  }

  batch(): StoreBatch {
    try {
      return new LevelBatch(this.#database.batch());
    } catch (error) {
      throw storeErrorOf(error, 'a batch failed');
    }
  }

  cursor(range: StoreRange): StoreCursor {
    try {
      return new LevelCursor(this.#database, range);
    } catch (error) {
      throw storeErrorOf(error, 'a scan failed');
    }
  }

  async sizeBytes(): Promise<number> {
    try {
      return await sizeOf(this.#folder, () => true);
    } catch (error) {
      throw storeErrorOf(error, 'the folder cannot be measured');
    }
  }

  async close(): Promise<void> {
    try {
      await this.#database.close();
    } catch (error) {
      throw storeErrorOf(error, 'closing failed');
    }
  }
}

type LevelChainedBatch = ReturnType<Database['batch']>;

/** A chained batch: an array of operations would be cloned by abstract-level, entry by entry, at three times the cost. */
class LevelBatch implements StoreBatch {
  readonly #batch: LevelChainedBatch;

  constructor(batch: LevelChainedBatch) {
    this.#batch = batch;
  }

  get length(): number {
    return this.#batch.length;
  }

  put(key: Uint8Array, value: Uint8Array): this {
    try {
      this.#batch.put(key, value);
    } catch (error) {
      throw storeErrorOf(error, 'a batch failed');
    }
    return this;
  }

  del(key: Uint8Array): this {
    try {
      this.#batch.del(key);
    } catch (error) {
      throw storeErrorOf(error, 'a batch failed');
    }
    return this;
  }

  async commit(options: { readonly sync: boolean }): Promise<void> {
    try {
      await this.#batch.write({ sync: options.sync });
    } catch (error) {
      throw storeErrorOf(error, 'a write failed');
    }
  }

  discard(): Promise<void> {
    return this.#batch.close();
  }
}

/** Bytes of the files in the folder whose names are wanted. */
async function sizeOf(folder: string, isWanted: (name: string) => boolean): Promise<number> {
  const names = (await readdir(folder)).filter(isWanted);
  const sizes = await Promise.all(names.map((name) => fileBytes(join(folder, name))));
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function fileBytes(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch {
    // LevelDB removed it between the listing and now.
    return 0;
  }
}
