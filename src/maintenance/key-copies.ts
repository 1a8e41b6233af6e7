import { isAtOrBelow, NO_FENCE } from '../core/fence.js';
import { hash32 } from '../core/hash.js';
import { partitionOf, type Placement } from '../core/placement.js';
import { compareRecords, isTombstone } from '../core/record.js';
import type { Clock } from '../io/clock.js';
import type { Peer, ReadAnswer, ReadCall } from '../io/peer.js';

const READS_AT_ONCE = 64;

const NO_BYTES = new Uint8Array(0);
const NOT_CONNECTED: ReadAnswer = {
  kind: 'unreachable',
  code: 'UNAVAILABLE',
  message: 'not connected',
};

export interface KeyReadPorts {
  readonly placement: () => Placement;
  /** The way to a member; for the node itself, its own replica. */
  readonly peerOf: (nodeId: string) => Peer | undefined;
  readonly clock: Clock;
}

/** A key, and what each of its replicas has of it. */
export interface KeyCopies {
  readonly key: Uint8Array;
  readonly partition: number;
  /** What each replica answered, in the order of the preference list. */
  readonly copies: readonly KeyCopy[];
}

/** The header of its record, if it has one; or why it cannot say. */
interface KeyCopy {
  readonly node: string;
  readonly answer: ReadAnswer;
}

export interface ReadUntil {
  readonly deadlineMs: number;
  /** For each of the reads. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Asks all replicas of each of these keys for the header that they have, some keys at once. Ends early when the signal is raised. */
export async function* readCopies(
  ports: KeyReadPorts,
  keys: readonly Uint8Array[],
  { deadlineMs, timeoutMs, signal }: ReadUntil,
): AsyncGenerator<KeyCopies, void, undefined> {
  for (let at = 0; at < keys.length && !signal.aborted; at += READS_AT_ONCE) {
    const some = keys.slice(at, at + READS_AT_ONCE);
    const untilMs = Math.min(deadlineMs, ports.clock.monotonicMs() + timeoutMs);
    yield* await Promise.all(some.map((key) => readKey(ports, key, untilMs)));
  }
}

async function readKey(
  { placement, peerOf }: KeyReadPorts,
  key: Uint8Array,
  deadlineMs: number,
): Promise<KeyCopies> {
  const keyHash = hash32(key);
  const partition = partitionOf(keyHash);
  const { version: placementVersion, members, preference } = placement();
  const read = (node: string): Promise<KeyCopy> =>
    new Promise((resolve) => {
      const onRead: ReadCall['onRead'] = (_, answer) => resolve({ node, answer });
      const call = { key, keyHash, deadlineMs, placementVersion, traceparent: NO_BYTES, onRead };
      const peer = peerOf(node);
      if (peer === undefined) resolve({ node, answer: NOT_CONNECTED });
      else peer.read(call, 0, 'header');
    });
  const nodes = (preference[partition] as readonly number[]).map((index) => members[index]?.id);
  return { key, partition, copies: await Promise.all(nodes.map((id) => read(id as string))) };
}

/**
 * Whether the replicas differ. A tombstone at or below the fence of a replica that has nothing is what that replica has. Who did not
 * answer has no say.
 */
export function differ({ copies }: KeyCopies): boolean {
  let newest: Uint8Array | undefined;
  for (const { answer } of copies) {
    if (answer.kind !== 'found') continue;
    if (newest === undefined || compareRecords(answer.header, newest) > 0) newest = answer.header;
  }
  return copies.some(({ answer }) => {
    if (answer.kind === 'found') return compareRecords(answer.header, newest as Uint8Array) !== 0;
    if (answer.kind !== 'absent') return answer.code === 'RECORD_CORRUPT';
    if (newest === undefined) return false;
    return !(isTombstone(newest) && isAtOrBelow(newest, answer.fence ?? NO_FENCE));
  });
}
