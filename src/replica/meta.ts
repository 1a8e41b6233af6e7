import { KvError } from '../core/errors.js';
import { hash32 } from '../core/hash.js';
import { readU32, writeU32 } from '../core/version.js';
import type { Store } from '../io/store.js';
import { metaKey } from './layout.js';

/** The version of the folder's format, a number. The one entry that every later format must keep as it is. */
export const FORMAT_KEY = metaKey('format');
/** Whose folder it is: JSON of cluster id, cluster name and node id. */
export const IDENTITY_KEY = metaKey('identity');
/** Which life of the folder this is (core/incarnation.ts). */
export const INCARNATION_KEY = metaKey('incarnation');
/** Whether the node may serve from the folder, and why not: JSON of state and reason (standing.ts). */
export const STANDING_KEY = metaKey('standing');
/** Which lives of other nodes are recorded, and how far they had come (peer-memory.ts). */
export const PEERS_KEY = metaKey('peers');
/** There from a clean stop until the next start. */
export const CLEAN_STOP_KEY = metaKey('clean-stop');
/** How many batches have been committed, a number; absent: none. */
export const COMMIT_COUNTER_KEY = metaKey('commit-counter');
/** Between which commits the node was started (starts.ts). */
export const STARTS_KEY = metaKey('starts');
/** No stamp of the node has a higher wall part, a number; absent: 0. */
export const CLOCK_BOUND_KEY = metaKey('clock-bound');
/** The trees as they were at the last clean stop: at which commit (6 bytes), and of which partitions there are entries. */
export const TREES_KEY = metaKey('trees');

/** The tree of one partition, as `Trees.save` gives it. */
export function treeKey(partition: number): Uint8Array {
  return metaKey(`tree-${partition}`);
}

const SEAL_BYTES = 4;
const NUMBER_BYTES = 6;

/** A value with its checksum, which covers its key too: LevelDB does not verify what it reads. */
export function seal(key: Uint8Array, value: Uint8Array): Uint8Array {
  const sealed = Buffer.allocUnsafe(SEAL_BYTES + value.length);
  writeU32(sealed, 0, hash32(value, hash32(key)));
  sealed.set(value, SEAL_BYTES);
  return sealed;
}

/** A whole number of up to 48 bits, sealed. */
export function sealNumber(key: Uint8Array, value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(NUMBER_BYTES);
  bytes.writeUIntBE(value, 0, NUMBER_BYTES);
  return seal(key, bytes);
}

/** What was sealed under `key`; undefined when there is none. Rejects with STORE_FAILED when it is not what was written. */
export async function readMeta(store: Store, key: Uint8Array): Promise<Buffer | undefined> {
  const sealed = await store.get(key);
  if (sealed === undefined) return undefined;
  const value = unseal(key, sealed);
  if (value === undefined) throw damaged(key);
  return value;
}

/** What was sealed under `key`, as a view; undefined when it is not what was written. */
export function unseal(key: Uint8Array, sealed: Uint8Array): Buffer | undefined {
  const value = sealed.subarray(SEAL_BYTES);
  if (sealed.length < SEAL_BYTES || readU32(sealed, 0) !== hash32(value, hash32(key))) {
    return undefined;
  }
  return Buffer.from(value.buffer, value.byteOffset, value.length);
}

/** The number sealed under `key`, 0 when there is none. Rejects as {@link readMeta} does. */
export async function readMetaNumber(store: Store, key: Uint8Array): Promise<number> {
  const bytes = await readMeta(store, key);
  if (bytes === undefined) return 0;
  if (bytes.length !== NUMBER_BYTES) throw damaged(key);
  return bytes.readUIntBE(0, NUMBER_BYTES);
}

function damaged(key: Uint8Array): KvError {
  const name = Buffer.from(key.subarray(1)).toString('ascii');
  return new KvError(
    'STORE_FAILED',
    `the data folder is damaged: its entry '${name}' fails its checksum`,
  );
}
