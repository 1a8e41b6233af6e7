import { KvError } from '../core/errors.js';
import type { FenceState } from '../core/fence.js';
import {
  incarnationAfter,
  INCARNATION_BYTES,
  INCARNATION_CHANCE_BYTES,
} from '../core/incarnation.js';
import type { Clock } from '../io/clock.js';
import type { ReplicaState } from '../io/peer-asks.js';
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
  PEERS_KEY,
  readMeta,
  readMetaNumber,
  seal,
  sealNumber,
  STANDING_KEY,
  STARTS_KEY,
} from './meta.js';
import { beginAfter, decodeStarts, encodeStarts, type Start } from './starts.js';
import { ReopeningStore } from './reopening-store.js';
import { loadPromises, type StoredEntry } from './stored-promises.js';

/** Raised when what is on disk changes so that an older release would misread it. */
export const FOLDER_FORMAT = 4;

/** Whose folder it is. */
export interface FolderIdentity {
  readonly clusterId: string;
  /** For people; the id is what counts. */
  readonly clusterName: string;
  readonly nodeId: string;
}

/**
 * `serving`: whatever the node ever acknowledged, it acknowledged in this life, and it is here unless somebody knows better.
 * `waiting`: the folder was found empty, so the node is new or has forgotten everything. `refilling`: it has forgotten.
 */
export interface StoredStanding {
  readonly state: ReplicaState;
  /** For people: what happened; empty when serving. */
  readonly reason: string;
}

export interface FolderOptions {
  readonly identity: FolderIdentity;
  readonly clock: Clock;
  readonly random: Random;
  /** A person's word that what the folder holds is all there is, though the node may have forgotten. */
  readonly trustFolder: boolean;
}

/** A folder that belongs to this node, open, and what it says of the node's past. */
export interface DataFolder {
  readonly store: ReopeningStore;
  readonly incarnation: Uint8Array;
  readonly standing: StoredStanding;
  /** What is remembered of other nodes, encoded (peer-memory.ts); undefined: nothing. */
  readonly peers: Uint8Array | undefined;
  /** False: the node crashed, or its disk was taken away. True for a new folder. */
  readonly stoppedCleanly: boolean;
  readonly commitCounter: number;
  /** Where it stood when the folder was opened, which is a commit of its own. */
  readonly foundCommitCounter: number;
  /** The last starts on this folder, this one included; none where it was empty. */
  readonly starts: readonly Start[];
  /** No version that the node ever issued has a higher wall part. */
  readonly clockBoundMs: number;
  /** By partition. */
  readonly fences: readonly FenceState[];
  readonly promises: readonly StoredEntry[];
}

/**
 * Opens the folder of this node, and makes it one when it is empty. Rejects with a KvError, and changes nothing, when it is
 * another's (WRONG_CLUSTER), of a format that this release does not know (INCOMPATIBLE), held by another process (LOCKED),
 * or cannot be read or written (STORE_FAILED).
 *
 * What is found out about it here is on disk when this resolves: a damaged log begins a new life, and so does every start of
 * a node that is still to be refilled, because its folder may be one that was put back.
 */
export async function openDataFolder(
  opener: StoreOpener,
  options: FolderOptions,
): Promise<DataFolder> {
  const { nodeId } = options.identity;
  let store: ReopeningStore | undefined;
  try {
    const isDamaged = (await opener.verify()) === 'damaged';
    store = await ReopeningStore.open(opener);
    const folder = (await isEmpty(store))
      ? await make(store, options, isDamaged)
      : await claim(store, options, isDamaged);
    if (isDamaged) await opener.acceptDamage();
    return folder;
  } catch (error) {
    // What went wrong first is what counts.
    await store?.close().catch(() => {});
    throw storeFailure(error, nodeId);
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

async function make(
  store: ReopeningStore,
  options: FolderOptions,
  isDamaged: boolean,
): Promise<DataFolder> {
  const { clusterId, clusterName, nodeId } = options.identity;
  const incarnation = newIncarnation(undefined, options);
  const standing = options.trustFolder ? SERVING : isDamaged ? LOG_DAMAGED : FOUND_EMPTY;
  const named = JSON.stringify({ clusterId, clusterName, nodeId });
  await store
    .batch()
    .put(FORMAT_KEY, sealNumber(FORMAT_KEY, FOLDER_FORMAT))
    .put(IDENTITY_KEY, seal(IDENTITY_KEY, Buffer.from(named, 'utf8')))
    .put(INCARNATION_KEY, seal(INCARNATION_KEY, incarnation))
    .put(STANDING_KEY, sealStanding(standing))
    .commit({ sync: true });
  return {
    store,
    incarnation,
    standing,
    peers: undefined,
    stoppedCleanly: true,
    commitCounter: 0,
    foundCommitCounter: 0,
    starts: [],
    clockBoundMs: 0,
    fences: [],
    promises: [],
  };
}

async function claim(
  store: ReopeningStore,
  options: FolderOptions,
  isDamaged: boolean,
): Promise<DataFolder> {
  await checkFormat(store, isDamaged);
  await checkIdentity(store, options.identity);
  const before = await readMeta(store, INCARNATION_KEY);
  if (before?.length !== INCARNATION_BYTES) throw incomplete('incarnation');
  const stored = isDamaged ? LOG_DAMAGED : await readStanding(store);
  const standing = options.trustFolder ? SERVING : stored;
  const livesOn = !options.trustFolder && stored.state !== 'refilling';
  const incarnation = livesOn ? before : newIncarnation(before, options);
  const foundCommitCounter = await readMetaNumber(store, COMMIT_COUNTER_KEY);
  const earlier = decodeStarts(await readMeta(store, STARTS_KEY));
  const starts = [...earlier, beginAfter(foundCommitCounter, options.random)];
  const { commitCounter } = starts.at(-1) as Start;
  const clockBoundMs = await readMetaNumber(store, CLOCK_BOUND_KEY);
  const fences = await loadFences(store);
  const promises = await loadPromises(store, fences);
  const peers = await readMeta(store, PEERS_KEY);
  const stoppedCleanly = !isDamaged && (await readMeta(store, CLEAN_STOP_KEY)) !== undefined;
  // Also proves that the folder can be written before the node says that it is ready.
  await store
    .batch()
    .del(CLEAN_STOP_KEY)
    .put(INCARNATION_KEY, seal(INCARNATION_KEY, incarnation))
    .put(STANDING_KEY, sealStanding(standing))
    .put(COMMIT_COUNTER_KEY, sealNumber(COMMIT_COUNTER_KEY, commitCounter))
    .put(STARTS_KEY, seal(STARTS_KEY, encodeStarts(starts)))
    .commit({ sync: true });
  return {
    store,
    incarnation,
    standing,
    peers,
    stoppedCleanly,
    commitCounter,
    foundCommitCounter,
    starts,
    clockBoundMs,
    fences,
    promises,
  };
}

export const SERVING: StoredStanding = { state: 'serving', reason: '' };
const FOUND_EMPTY: StoredStanding = { state: 'waiting', reason: 'its data folder was empty' };
const LOG_DAMAGED: StoredStanding = { state: 'refilling', reason: 'its log was damaged' };

export function sealStanding(standing: StoredStanding): Uint8Array {
  return seal(STANDING_KEY, Buffer.from(JSON.stringify(standing), 'utf8'));
}

async function readStanding(store: Store): Promise<StoredStanding> {
  const bytes = await readMeta(store, STANDING_KEY);
  if (bytes === undefined) throw incomplete('standing');
  return JSON.parse(bytes.toString('utf8')) as StoredStanding;
}

function newIncarnation(before: Uint8Array | undefined, options: FolderOptions): Uint8Array {
  const chance = options.random.bytes(INCARNATION_CHANCE_BYTES);
  return incarnationAfter(before, options.clock.wallMs(), chance);
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

async function checkFormat(store: Store, isDamaged: boolean): Promise<void> {
  const format = await readMetaNumber(store, FORMAT_KEY);
  if (format === FOLDER_FORMAT) return;
  if (format === 0 && isDamaged) {
    throw new KvError(
      'STORE_FAILED',
      'the log of the data folder is damaged, and what said whose folder it is has gone with it; if it was that of this node, remove it, and the node is refilled from the others',
    );
  }
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
