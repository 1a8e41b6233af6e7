import { compareFences, isAtOrBelow } from '../core/fence.js';
import { hash32 } from '../core/hash.js';
import { compareRecords, isTombstone } from '../core/record.js';

/** Keys of some segments as one replica lists them, with the headers of their records. */
export interface ListedKeys {
  readonly keys: readonly Uint8Array[];
  readonly headers: readonly Uint8Array[];
  readonly corrupt: readonly Uint8Array[];
  /** The fence of the partition that the replica has committed; empty: none. */
  readonly committed: Uint8Array;
}

/** A key on which two replicas differ. */
export interface KeyDifference {
  readonly key: Uint8Array;
  readonly keyHash: number;
  /** Which of the two holds the record that wins. */
  readonly winner: 'own' | 'theirs';
  /** Of the winning record. */
  readonly header: Uint8Array;
  /** Of the other's record; undefined: it has none. */
  readonly losing: Uint8Array | undefined;
  /** The one that lacks it has committed a fence that the holder has not, so it takes no copy below it. */
  readonly fenced: boolean;
}

export interface KeyDifferences {
  readonly keys: readonly KeyDifference[];
  /** Keys that one of the two cannot read: they are mended, and until then not compared. */
  readonly corrupt: readonly Uint8Array[];
}

/**
 * What two lists of the same segments differ in. A tombstone at or below the fence that the other replica has committed is
 * no difference where the other has nothing: that absence is what became of it.
 */
export function keyDifferences(own: ListedKeys, theirs: ListedKeys): KeyDifferences {
  const unreadable = new Map<string, Uint8Array>();
  for (const key of own.corrupt) unreadable.set(nameOf(key), key);
  for (const key of theirs.corrupt) unreadable.set(nameOf(key), key);

  const differences: KeyDifference[] = [];
  const add = (
    key: Uint8Array,
    winner: 'own' | 'theirs',
    header: Uint8Array,
    losing: Uint8Array | undefined,
  ): void => {
    const [holds, lacks] = winner === 'own' ? [own, theirs] : [theirs, own];
    const belowFence = isAtOrBelow(header, lacks.committed);
    if (belowFence && losing === undefined && isTombstone(header)) return;
    const fenced = belowFence && compareFences(holds.committed, lacks.committed) < 0;
    differences.push({ key, keyHash: hash32(key), winner, header, losing, fenced });
  };

  const ownHeaders = new Map<string, number>();
  for (let i = 0; i < own.keys.length; i++) ownHeaders.set(nameOf(own.keys[i] as Uint8Array), i);
  for (let i = 0; i < theirs.keys.length; i++) {
    const key = theirs.keys[i] as Uint8Array;
    const name = nameOf(key);
    const at = ownHeaders.get(name);
    ownHeaders.delete(name);
    if (unreadable.has(name)) continue;
    const theirHeader = theirs.headers[i] as Uint8Array;
    if (at === undefined) {
      add(key, 'theirs', theirHeader, undefined);
      continue;
    }
    const ownHeader = own.headers[at] as Uint8Array;
    const order = compareRecords(ownHeader, theirHeader);
    if (order > 0) add(key, 'own', ownHeader, theirHeader);
    else if (order < 0) add(key, 'theirs', theirHeader, ownHeader);
  }
  for (const [name, at] of ownHeaders) {
    if (unreadable.has(name)) continue;
    add(own.keys[at] as Uint8Array, 'own', own.headers[at] as Uint8Array, undefined);
  }
  return { keys: differences, corrupt: [...unreadable.values()] };
}

/** One character a byte: keys as keys of maps. */
function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}
