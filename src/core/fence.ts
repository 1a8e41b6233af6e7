import { expiryOf, isHead, isTombstone, VERSION_AT } from './record.js';
import {
  compareBytesAt,
  readVersion,
  readWallMs,
  VERSION_BYTES,
  ZERO_VERSION,
  type Version,
} from './version.js';

/**
 * A fence is a version, 16 bytes, one for each partition: how deletes are forgotten without ever coming back. It moves in
 * three steps, each durable on every replica of the partition before the next begins:
 *
 * 1. *Promised*: no new write at or below it is taken any more. Copies still are, so the replicas can be made equal below it.
 *    Each names a *mark* that changes with every such copy.
 * 2. *Sealed*, once a comparison has found no difference below it: not even copies are taken, and the mark must be the one
 *    that was promised with. So at or below the fence all replicas hold the same, or what is newer than the fence, from now on.
 * 3. *Committed*, once all have sealed it: what it hides (tombstones, and records that expired before it) is gone. It is the
 *    version of absence. Copies below it are taken from replicas that have committed it, too.
 *
 * The seal is what makes it one decision. Without it a copy could reach one replica between the comparison and the commit, be
 * read there, and be denied by the others after theirs. It is the same step that a two-phase commit (Gray 1978) takes, and is
 * undecided for as long as its leader is away; the next one, whose promise keeps the former from committing any more, finds
 * out what became of it: committed anywhere, it is committed; nowhere, it is released.
 */
export interface FenceState {
  /** Not below `sealed`. Each is empty where there is no such fence. */
  readonly promised: Uint8Array;
  /** Not below `committed`, and equal to it when nothing is undecided. */
  readonly sealed: Uint8Array;
  readonly committed: Uint8Array;
}

export const FENCE_BYTES = VERSION_BYTES;

/** No fence, on the wire and in memory: it is below every version. Other fences are 16 bytes, as versions are. */
export const NO_FENCE = new Uint8Array(0);

export const NO_FENCES: FenceState = {
  promised: NO_FENCE,
  sealed: NO_FENCE,
  committed: NO_FENCE,
};

/** The fence as a version: the version of absence where it is committed. */
export function fenceVersion(fence: Uint8Array): Version {
  return fence.length === 0 ? ZERO_VERSION : readVersion(fence, 0);
}

export function compareFences(a: Uint8Array, b: Uint8Array): number {
  return a.length === 0 || b.length === 0
    ? a.length - b.length
    : compareBytesAt(a, 0, b, 0, FENCE_BYTES);
}

/** Whether the version in a record or header is at or below the fence; never when there is none. */
export function isAtOrBelow(header: Uint8Array, fence: Uint8Array): boolean {
  return fence.length !== 0 && compareBytesAt(header, VERSION_AT, fence, 0, FENCE_BYTES) <= 0;
}

/**
 * Whether a replica that has committed the fence has nothing where this record is: a tombstone at or below it, or a record that
 * is, and expired before it. `head` is the record, or its header with the expiry where there is one; without the expiry it is
 * taken not to have expired.
 */
export function isHidden(head: Uint8Array, fence: Uint8Array): boolean {
  if (!isAtOrBelow(head, fence)) return false;
  if (isTombstone(head)) return true;
  const expiresAtMs = isHead(head) ? expiryOf(head) : undefined;
  return expiresAtMs !== undefined && expiresAtMs <= readWallMs(fence, 0);
}

/** A copy below the seal is taken only where its holder has committed as high a fence: it knows what is hidden there. */
export function refusesCopy(
  state: FenceState,
  head: Uint8Array,
  holdersFence: Uint8Array,
): boolean {
  return isAtOrBelow(head, state.sealed) && compareFences(holdersFence, state.sealed) < 0;
}

/** The state after the promise; the same object when that or a higher one was given before. */
export function promiseFence(state: FenceState, fence: Uint8Array): FenceState {
  return compareFences(fence, state.promised) > 0 ? { ...state, promised: fence } : state;
}

/** The state after the seal, the same object when it was on. Undefined: that may not be done. */
export function sealFence(state: FenceState, fence: Uint8Array): FenceState | undefined {
  if (compareFences(fence, state.sealed) === 0) return state;
  // The comparison was made under this promise. What is undecided is settled first.
  if (compareFences(fence, state.promised) !== 0 || isUndecided(state)) return undefined;
  return { ...state, sealed: fence };
}

/** The state after the commit, the same object when it was done. Undefined: that may not be done. */
export function commitFence(
  state: FenceState,
  fence: Uint8Array,
  promised: Uint8Array,
): FenceState | undefined {
  if (compareFences(fence, state.committed) <= 0) return state;
  const mayDecide = compareFences(promised, state.promised) === 0;
  return mayDecide && compareFences(fence, state.sealed) === 0
    ? { ...state, committed: fence }
    : undefined;
}

/** The state without the seal, the same object when it is not on. Undefined: that may not be done. */
export function releaseFence(
  state: FenceState,
  fence: Uint8Array,
  promised: Uint8Array,
): FenceState | undefined {
  if (compareFences(promised, state.promised) !== 0) return undefined;
  const isOn = isUndecided(state) && compareFences(fence, state.sealed) === 0;
  return isOn ? { ...state, sealed: state.committed } : state;
}

/** Whether it waits to hear what became of a fence that it sealed. */
export function isUndecided({ sealed, committed }: Omit<FenceState, 'promised'>): boolean {
  return compareFences(sealed, committed) > 0;
}

/**
 * What became of the fence that a replica has sealed, given what every replica of the partition has committed since they
 * promised a higher one. Nobody commits it any more after that promise, so one who has, or none, settles it.
 */
export function decidedFate(
  sealed: Uint8Array,
  committed: readonly Uint8Array[],
): 'commit' | 'release' {
  return committed.some((fence) => compareFences(fence, sealed) >= 0) ? 'commit' : 'release';
}

/** The greatest of both in each step: what a replica must hold that is refilled from others in these states. */
export function joinFences(a: FenceState, b: FenceState): FenceState {
  return {
    promised: greater(a.promised, b.promised),
    sealed: greater(a.sealed, b.sealed),
    committed: greater(a.committed, b.committed),
  };
}

function greater(a: Uint8Array, b: Uint8Array): Uint8Array {
  return compareFences(a, b) >= 0 ? a : b;
}

export const FENCE_STATE_BYTES = 3 * FENCE_BYTES;

/** Writes 48 bytes: promised, sealed, committed; zeros where there is none. */
export function writeFences(state: FenceState, out: Uint8Array, at: number): void {
  out.fill(0, at, at + FENCE_STATE_BYTES);
  out.set(state.promised, at);
  out.set(state.sealed, at + FENCE_BYTES);
  out.set(state.committed, at + 2 * FENCE_BYTES);
}

/** Reads what {@link writeFences} wrote; copies. */
export function readFences(bytes: Uint8Array, at: number): FenceState {
  return {
    promised: readFence(bytes, at),
    sealed: readFence(bytes, at + FENCE_BYTES),
    committed: readFence(bytes, at + 2 * FENCE_BYTES),
  };
}

function readFence(bytes: Uint8Array, at: number): Uint8Array {
  const fence = new Uint8Array(bytes.subarray(at, at + FENCE_BYTES));
  return fence.every((byte) => byte === 0) ? NO_FENCE : fence;
}
