import {
  combineDigests,
  GROUPS,
  digestBytes,
  SEGMENTS_PER_GROUP,
  TREE_DIGEST_BYTES,
} from '../core/hash-tree.js';
import { hasPartition, type PartitionSet } from '../core/partition-set.js';
import { PARTITIONS } from '../core/placement.js';
import { compareBytesAt } from '../core/version.js';
import type { AskReply } from '../io/peer-asks.js';
import type { Dialogue } from './dialogue.js';

const NOTHING = new Uint8Array(0);
const NO_DIGEST = new Uint8Array(TREE_DIGEST_BYTES);

/** Partitions whose digests differ, each with the XOR of the two: writes under way keep changing it. */
export type DifferingPartitions = ReadonlyMap<number, Uint8Array>;

/** Undefined: the dialogue has come to an end. */
export async function differingPartitions(
  dialogue: Dialogue,
  partitions: PartitionSet,
): Promise<DifferingPartitions | undefined> {
  const { from, takes } = dialogue;
  // Nobody's digests combine to nothing: the replica answers all of its own.
  const own = await dialogue.askSelf('digests', { from, partitions, combined: NO_DIGEST });
  if (own === undefined || !isUsable(dialogue, dialogue.self.nodeId, own)) return undefined;
  const combined = combineDigests(partitions, own.digests);
  const theirs = await dialogue.askPeer('digests', { from, partitions, combined, takes });
  if (theirs === undefined || !isUsable(dialogue, dialogue.peer.nodeId, theirs)) return undefined;
  const differing = new Map<number, Uint8Array>();
  if (theirs.equal) return differing;
  if (!dialogue.expectBytes(own.digests, theirs.digests, own.digests.length)) return undefined;
  let at = 0;
  for (let partition = 0; partition < PARTITIONS; partition++) {
    if (!hasPartition(partitions, partition)) continue;
    if (compareBytesAt(own.digests, at, theirs.digests, at, TREE_DIGEST_BYTES) !== 0) {
      differing.set(partition, xorAt(own.digests, theirs.digests, at));
    }
    at += TREE_DIGEST_BYTES;
  }
  return differing;
}

function isUsable(dialogue: Dialogue, nodeId: string, reply: AskReply<'digests'>): boolean {
  if (!reply.ready) dialogue.finish('not-ready', `${nodeId}: its trees are being rebuilt`);
  else if (reply.busy) dialogue.finish('busy', `${nodeId}: is comparing with another node`);
  return reply.ready && !reply.busy;
}

/**
 * The segments of a partition in which the trees differ, in order. `exact` compares whole digests; else the first halves do where they
 * tell. Undefined: the dialogue has come to an end.
 */
export async function differingSegments(
  dialogue: Dialogue,
  partition: number,
  exact: boolean,
): Promise<readonly number[] | undefined> {
  const groups = await differingGroups(dialogue, partition, exact);
  if (groups === undefined || groups.length === 0) return groups;
  return segmentsOfGroups(dialogue, partition, groups, exact);
}

async function differingGroups(
  dialogue: Dialogue,
  partition: number,
  wide: boolean,
): Promise<readonly number[] | undefined> {
  const { from } = dialogue;
  const both = await dialogue.askBoth('segments', { from, partition, groups: NOTHING, wide });
  if (both === undefined) return undefined;
  const { own, theirs } = both;
  const width = digestBytes(wide);
  if (!dialogue.expectBytes(own.digests, theirs.digests, GROUPS * width)) return undefined;
  const groups = differingAt(own.digests, theirs.digests, width);
  // The partition differs and none of its groups seems to: half of a digest hides it, or it has been mended meanwhile.
  return groups.length > 0 || wide ? groups : differingGroups(dialogue, partition, true);
}

async function segmentsOfGroups(
  dialogue: Dialogue,
  partition: number,
  groups: readonly number[],
  wide: boolean,
): Promise<number[] | undefined> {
  const { from } = dialogue;
  const request = { from, partition, groups: Uint8Array.from(groups), wide };
  const both = await dialogue.askBoth('segments', request);
  if (both === undefined) return undefined;
  const width = digestBytes(wide);
  const length = groups.length * SEGMENTS_PER_GROUP * width;
  if (!dialogue.expectBytes(both.own.digests, both.theirs.digests, length)) return undefined;
  const segments: number[] = [];
  const silent = new Set(groups);
  for (const index of differingAt(both.own.digests, both.theirs.digests, width)) {
    const group = groups[Math.floor(index / SEGMENTS_PER_GROUP)] as number;
    silent.delete(group);
    segments.push(group * SEGMENTS_PER_GROUP + (index % SEGMENTS_PER_GROUP));
  }
  if (wide || silent.size === 0) return segments;
  // The group differs and none of its segments seems to: half of a digest hides it, or it has been mended meanwhile.
  const hidden = await segmentsOfGroups(dialogue, partition, [...silent], true);
  return hidden === undefined ? undefined : [...segments, ...hidden].sort((a, b) => a - b);
}

/** Which of the digests of this width differ. Both are equally long. */
function differingAt(own: Uint8Array, theirs: Uint8Array, width: number): number[] {
  const differing: number[] = [];
  for (let at = 0; at < own.length; at += width) {
    if (compareBytesAt(own, at, theirs, at, width) !== 0) differing.push(at / width);
  }
  return differing;
}

function xorAt(own: Uint8Array, theirs: Uint8Array, at: number): Uint8Array {
  return NO_DIGEST.map((_, i) => (own[at + i] as number) ^ (theirs[at + i] as number));
}
