import { encodeVersion, readVersion } from '../../src/core/version.js';
import type { Store } from '../../src/io/store.js';
import { ALL_PROMISES } from '../../src/replica/layout.js';
import { bytes, START_WALL_MS } from './fixtures.js';

export const KEYS = Array.from({ length: 4 }, (_, i) => bytes(`key ${i}`));

export const ballotAt = (atMs: number): Uint8Array =>
  encodeVersion({ wallMs: START_WALL_MS + atMs, logical: 0, writerHi: 1, writerLo: 1 });

export const atOf = (ballot: Uint8Array | undefined): number =>
  ballot === undefined || ballot.length === 0 ? 0 : readVersion(ballot, 0).wallMs - START_WALL_MS;

/** The keys of the entries on disk. */
export async function entriesIn(store: Store): Promise<readonly Uint8Array[]> {
  const cursor = store.cursor(ALL_PROMISES);
  const entries = await cursor.next(10_000);
  await cursor.close();
  return entries.map(([key]) => key);
}
