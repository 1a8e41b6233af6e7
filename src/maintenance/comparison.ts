import { hash32 } from '../core/hash.js';
import { segmentOf } from '../core/hash-tree.js';
import { compareKeys } from '../core/key-range.js';
import { addPartition, emptyPartitionSet, type PartitionSet } from '../core/partition-set.js';
import { HEADER_BYTES } from '../core/record.js';
import type { KeysReply } from '../io/peer-asks.js';
import type { Dialogue, Unreadable } from './dialogue.js';
import { keyDifferences, type KeyDifferences, type ListedKeys } from './key-difference.js';
import { differingPartitions, differingSegments, type DifferingPartitions } from './tree-walk.js';

/** Partitions whose trees are compared at once: a few round trips each, and next to no work. */
const LOOKS_AT_ONCE = 32;
/** Partitions whose keys are compared at once. Of each, two lists of keys are in memory, of 256 KiB at most. */
const PARTITIONS_AT_ONCE = 32;
/** While this node has work in the foreground: listing keys reads the disks of both. */
const BUSY_PARTITIONS_AT_ONCE = 1;
/** Segments listed in one ask at most, so that nobody waits long behind it. */
const SEGMENTS_AT_ONCE = 128;

export interface ComparisonOptions {
  /** Whether whole digests are compared at every level; else halves of them are where that is enough to find a difference. */
  readonly exact: boolean;
  /** What differs is looked at again after this long, and only what differs still is gone into. 0: it is not. */
  readonly settleMs: number;
  /** How many partitions differ. Called before any of these is gone into. */
  readonly onPartitions: (count: number) => void;
  /** What some segments of a partition differ in. The next ones of it are looked at when this has been dealt with. */
  readonly onDifferences: (partition: number, differences: KeyDifferences) => Promise<void>;
  /** Some of a partition cannot be compared, since a disk cannot be read there; `reason` is for people. */
  readonly onUnreadable: (partition: number, nodeId: string, reason: string) => void;
  /** All of this partition has been dealt with, or what can be. */
  readonly onDone: (partition: number) => void;
}

/**
 * Walks from one digest of everything, through those of partitions, groups and segments that differ, down to the keys on which
 * two replicas differ. Resolves at the end of the walk, or when the dialogue is over.
 */
export async function compareReplicas(
  dialogue: Dialogue,
  partitions: PartitionSet,
  options: ComparisonOptions,
): Promise<void> {
  const first = await differingPartitions(dialogue, partitions);
  if (first === undefined || first.size === 0) return;
  options.onPartitions(first.size);
  const segments = await segmentsOf(dialogue, [...first.keys()], options);
  if (segments.size > 0 && options.settleMs > 0) await settle(dialogue, first, segments, options);
  if (dialogue.over) return;
  options.onPartitions(segments.size);
  const atOnce = dialogue.busy ? BUSY_PARTITIONS_AT_ONCE : PARTITIONS_AT_ONCE;
  await forEach([...segments], atOnce, async ([partition, differing]) => {
    await compareSegments(dialogue, partition, differing, options);
    if (!dialogue.over) options.onDone(partition);
  });
}

/** Partitions with the segments in which they differ, in order. */
type DifferingSegments = Map<number, readonly number[]>;

/** Without partitions that do not differ any more. */
async function segmentsOf(
  dialogue: Dialogue,
  partitions: readonly number[],
  { exact }: ComparisonOptions,
): Promise<DifferingSegments> {
  const found: DifferingSegments = new Map();
  await forEach(partitions, LOOKS_AT_ONCE, async (partition) => {
    const segments = await differingSegments(dialogue, partition, exact);
    if (segments !== undefined && segments.length > 0) found.set(partition, segments);
  });
  return found;
}

/**
 * After a moment, leaves in `segments` only what differs still: so writes under way cost a look at trees in memory and nothing
 * else. A partition that differs in just the same way as before is not walked again: nothing moves there.
 */
async function settle(
  dialogue: Dialogue,
  first: DifferingPartitions,
  segments: DifferingSegments,
  options: ComparisonOptions,
): Promise<void> {
  await dialogue.wait(options.settleMs);
  const looked = emptyPartitionSet();
  for (const partition of segments.keys()) addPartition(looked, partition);
  const second = await differingPartitions(dialogue, looked);
  if (second === undefined) return;
  const moving: number[] = [];
  for (const partition of segments.keys()) {
    const now = second.get(partition);
    if (now === undefined) segments.delete(partition);
    else if (compareKeys(now, first.get(partition) as Uint8Array) !== 0) moving.push(partition);
  }
  const again = await segmentsOf(dialogue, moving, options);
  for (const partition of moving) {
    const now = new Set(again.get(partition));
    const still = (segments.get(partition) ?? []).filter((segment) => now.has(segment));
    if (still.length > 0) segments.set(partition, still);
    else segments.delete(partition);
  }
}

async function compareSegments(
  dialogue: Dialogue,
  partition: number,
  segments: readonly number[],
  { onDifferences, onUnreadable }: ComparisonOptions,
): Promise<void> {
  const { from } = dialogue;
  for (let at = 0; at < segments.length;) {
    const asked = segments.slice(at, at + SEGMENTS_AT_ONCE);
    const both = await dialogue.listBoth({ from, partition, segments: asked });
    if (both === undefined) return;
    if ('nodeId' in both) {
      onUnreadable(partition, both.nodeId, describeUnreadable(partition, both));
      return;
    }
    const { own, theirs } = both;
    for (const [reply, { nodeId }] of [
      [own, dialogue.self] as const,
      [theirs, dialogue.peer] as const,
    ]) {
      if (isSound(reply, asked.length)) continue;
      dialogue.finish('failed', `${nodeId}: answered keys that make no sense`);
      return;
    }
    const listed = Math.min(own.listed, theirs.listed);
    at += listed;
    const compared = new Set(asked.slice(0, listed));
    await onDifferences(partition, keyDifferences(clip(own, compared), clip(theirs, compared)));
  }
}

function describeUnreadable(partition: number, { nodeId, message }: Unreadable): string {
  return (
    `${nodeId}: its keys of partition ${partition} cannot be read (${message}); ` +
    `if that goes on, stop ${nodeId} and empty its data folder, and the others refill it`
  );
}

/** Without what is listed of other segments, because the other side did not come as far. */
function clip(reply: KeysReply, segments: ReadonlySet<number>): ListedKeys {
  if (reply.listed === segments.size) return reply;
  const isCompared = (key: Uint8Array): boolean => segments.has(segmentOf(hash32(key)));
  return {
    keys: reply.keys.filter(isCompared),
    headers: reply.headers.filter((_, i) => isCompared(reply.keys[i] as Uint8Array)),
    corrupt: reply.corrupt.filter(isCompared),
    committed: reply.committed,
  };
}

function isSound(reply: KeysReply, asked: number): boolean {
  return (
    reply.listed >= 1 &&
    reply.listed <= asked &&
    reply.keys.length === reply.headers.length &&
    reply.headers.every((header) => header.length === HEADER_BYTES)
  );
}

/** Calls `act` with each item, several at once, and resolves when all are through. */
async function forEach<T>(
  items: readonly T[],
  atOnce: number,
  act: (item: T) => Promise<void>,
): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < items.length) await act(items[next++] as T);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, work));
}
