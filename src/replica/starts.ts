import type { Random } from '../io/random.js';

/** A start of the node on a folder with commits in it. */
export interface Start {
  /** The last commit that was found. */
  readonly found: number;
  /** The one that the start itself is: those between the two are none of this folder. */
  readonly commitCounter: number;
}

/** Far more commits than can be lost without being missed otherwise, and few enough for millions of starts in 48 bits. */
const LEAP = 2 ** 24;
const LEAP_BYTES = 3;
/** A node that has not been met for so many starts is told no more from what they left out. */
const MOST_STARTS = 64;

/**
 * Counts on from far above what was found. When what the disk had acknowledged last is not there any more (a torn log looks
 * the same, whether it was synced or not), or the folder is an older one, then its commits after `found` are numbered as no
 * others ever will be, and who remembers one of them shows that it is gone. Without the leap the node's next commits would get
 * the numbers of the lost ones. The length of it is drawn, so two runs that go on from copies of one folder differ, too.
 */
export function beginAfter(found: number, random: Random): Start {
  const chance = Buffer.from(random.bytes(LEAP_BYTES)).readUIntBE(0, LEAP_BYTES);
  return { found, commitCounter: found + LEAP + chance };
}

/** Whether a commit of the node that somebody remembers was lost before one of these starts. */
export function lacksCommit(starts: readonly Start[], remembered: number): boolean {
  return starts.some(
    ({ found, commitCounter }) => found < remembered && remembered < commitCounter,
  );
}

export function encodeStarts(starts: readonly Start[]): Uint8Array {
  const pairs = starts.slice(-MOST_STARTS).map((start) => [start.found, start.commitCounter]);
  return Buffer.from(JSON.stringify(pairs), 'utf8');
}

export function decodeStarts(encoded: Uint8Array | undefined): readonly Start[] {
  if (encoded === undefined) return [];
  const pairs = JSON.parse(Buffer.from(encoded).toString('utf8')) as [number, number][];
  return pairs.map(([found, commitCounter]) => ({ found, commitCounter }));
}
