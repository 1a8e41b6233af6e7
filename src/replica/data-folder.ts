import { KvError } from '../core/errors.js';
import type { FenceState } from '../core/fence.js';
import type { Random } from '../io/random.js';
import type { Store, StoreBatch, StoreOpener } from '../io/store.js';
import { storeFailure } from './failure.js';
import { loadFences } from './fence-table.js';
import { WHOLE_STORE } from './layout.js';
import {
  CLEAN_STOP_KEY,
  CLOCK_BOUND_KEY,
  COMMIT_COUNTER_KEY,
  FORMAT_KEY,
  IDENTITY_KEY,
  INCARNATION_KEY,
  readMeta,
  readMetaNumber,
  seal,
  sealNumber,
} from './meta.js';
import { ReopeningStore } from './reopening-store.js';

/** Raised when what is on disk changes so that an older release would misread it. */
export const FOLDER_FORMAT = 2;
const INCARNATION_BYTES = 8;

/** Whose folder it is. */
export interface FolderIdentity {
  readonly clusterId: string;
  /** For people; the id is what counts. */
  readonly clusterName: string;
  readonly nodeId: string;
}

/** A folder that belongs to this node, open, and what it says of the node's past. */
export interface DataFolder {
  readonly store: ReopeningStore;
  readonly incarnation: Uint8Array;
  /** False: the node crashed, or its disk was taken away. True for a new folder. */
  readonly stoppedCleanly: boolean;
  readonly commitCounter: number;
  /** No version that the node ever issued has a higher wall part. */
  readonly clockBoundMs: number;
  /** By partition. */
  readonly fences: readonly FenceState[];
}

/**
 * Opens the folder of this node, and makes it one when it is empty. Rejects with a KvError, and changes nothing, when it is
 * another's (WRONG_CLUSTER), of a format that this release does not know (INCOMPATIBLE), held by another process (LOCKED),
 * or cannot be read or written (STORE_FAILED).
 */
export async function openDataFolder(
  opener: StoreOpener,
  identity: FolderIdentity,
  random: Random,
): Promise<DataFolder> {
  let store: ReopeningStore | undefined;
  try {
    store = await ReopeningStore.open(opener);
    return await claim(store, identity, random);
  } catch (error) {
    // What went wrong first is what counts.
    await store?.close().catch(() => {});
    throw storeFailure(error, identity.nodeId);
  }
}

/**
 * Marks that everything was finished, and closes. `intact` is false when the store failed and must not be written again. What
 * `fill` adds is on disk when the mark is.
 */
export async function closeDataFolder(
  folder: DataFolder,
  intact: boolean,
  fill: (batch: StoreBatch) => void = () => {},
): Promise<void> {
  try {
    if (intact) {
      const mark = seal(CLEAN_STOP_KEY, new Uint8Array(0));
      const batch = folder.store.batch().put(CLEAN_STOP_KEY, mark);
      fill(batch);
      await batch.commit({ sync: true });
    }
  } finally {
    await folder.store.close();
  }
}

async function claim(
  store: ReopeningStore,
  identity: FolderIdentity,
  random: Random,
): Promise<DataFolder> {
  if (await isEmpty(store)) {
    const incarnation = random.bytes(INCARNATION_BYTES);
    const { clusterId, clusterName, nodeId } = identity;
    const named = JSON.stringify({ clusterId, clusterName, nodeId });
    await store
      .batch()
      .put(FORMAT_KEY, sealNumber(FORMAT_KEY, FOLDER_FORMAT))
      .put(IDENTITY_KEY, seal(IDENTITY_KEY, Buffer.from(named, 'utf8')))
      .put(INCARNATION_KEY, seal(INCARNATION_KEY, incarnation))
      .commit({ sync: true });
    return {
      store,
      incarnation,
      stoppedCleanly: true,
      commitCounter: 0,
      clockBoundMs: 0,
      fences: [],
    };
  }
  await checkFormat(store);
  await checkIdentity(store, identity);
  const incarnation = await readMeta(store, INCARNATION_KEY);
  if (incarnation?.length !== INCARNATION_BYTES) throw incomplete('incarnation');
  const commitCounter = await readMetaNumber(store, COMMIT_COUNTER_KEY);
  const clockBoundMs = await readMetaNumber(store, CLOCK_BOUND_KEY);
  const fences = await loadFences(store);
  const stoppedCleanly = (await readMeta(store, CLEAN_STOP_KEY)) !== undefined;
  // Also proves that the folder can be written before the node says that it is ready.
  await store.batch().del(CLEAN_STOP_KEY).commit({ sync: true });
  return { store, incarnation, stoppedCleanly, commitCounter, clockBoundMs, fences };
}

async function isEmpty(store: Store): Promise<boolean> {
  const cursor = store.cursor(WHOLE_STORE);
  try {
    return (await cursor.next(1)).length === 0;
  } finally {
    // The first entry tells, whatever is damaged behind it.
    await cursor.close().catch(() => {});
  }
}

async function checkFormat(store: Store): Promise<void> {
  const format = await readMetaNumber(store, FORMAT_KEY);
  if (format === FOLDER_FORMAT) return;
  throw new KvError(
    'INCOMPATIBLE',
    format === 0
      ? 'the data folder holds a LevelDB database that is not a node of Quorate; use an empty folder'
      : `the data folder has format ${format}, and this release knows format ${FOLDER_FORMAT}; use the release that wrote it`,
  );
}

async function checkIdentity(store: Store, expected: FolderIdentity): Promise<void> {
  const bytes = await readMeta(store, IDENTITY_KEY);
  if (bytes === undefined) throw incomplete('identity');
  const found = JSON.parse(bytes.toString('utf8')) as FolderIdentity;
  if (found.clusterId !== expected.clusterId) {
    throw new KvError(
      'WRONG_CLUSTER',
      found.clusterName === expected.clusterName
        ? `the data folder belongs to a cluster of the same name '${found.clusterName}' with another member list or replication factor (its id is ${found.clusterId}, this one's is ${expected.clusterId})`
        : `the data folder belongs to cluster '${found.clusterName}' (${found.clusterId}), not to '${expected.clusterName}' (${expected.clusterId})`,
      { node: expected.nodeId },
    );
  }
  if (found.nodeId !== expected.nodeId) {
    throw new KvError(
      'WRONG_CLUSTER',
      `the data folder belongs to node '${found.nodeId}', not to '${expected.nodeId}'`,
      { node: expected.nodeId },
    );
  }
}

function incomplete(what: string): KvError {
  return new KvError('STORE_FAILED', `the data folder is damaged: its ${what} is missing`);
}
