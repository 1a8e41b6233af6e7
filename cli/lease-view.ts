import { KvError } from '../src/core/errors.js';
import { parseVersion, type Version } from '../src/core/version.js';
import type { Entry, Kv } from '../src/index.js';
import { formatDuration } from './durations.js';
import { writtenAt } from './entry-view.js';

/** Why somebody waits for a lock or a leadership, whose record is under `key`: a sentence for people. Rejects with nothing. */
export async function whyWaiting(kv: Kv<Uint8Array>, key: string, what: string): Promise<string> {
  try {
    return waitingText(what, await kv.getEntry(key), Date.now());
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    return `waiting for ${what}; who holds it cannot be read: ${error.message}`;
  }
}

/** `entry` is the record of the lock, as the SDK keeps it; undefined: nobody holds it now. */
export function waitingText(
  what: string,
  entry: Entry<Uint8Array> | undefined,
  nowMs: number,
): string {
  if (entry === undefined) return `waiting for ${what}`;
  const { value, ttlMs, token } = leaseOf(entry.value);
  const by = value === undefined ? '' : ` by ${value}`;
  const since = writtenAt(token ?? entry.version);
  const renewed = formatDuration(Math.max(0, nowMs - entry.version.wallMs));
  const free = ttlMs === undefined ? '' : `, free ${formatDuration(ttlMs)} after its last renewal`;
  return `waiting for ${what}: held${by} since ${since}, renewed ${renewed} ago${free}`;
}

interface LeaseView {
  readonly value?: string;
  readonly ttlMs?: number;
  /** The version at which it was taken. */
  readonly token?: Version;
}

/** What can be read of it. Something else may lie under the key. */
function leaseOf(bytes: Uint8Array): LeaseView {
  let record: unknown;
  try {
    record = JSON.parse(Buffer.from(bytes).toString());
  } catch {
    return {};
  }
  if (typeof record !== 'object' || record === null) return {};
  const { value, ttlMs, token } = record as Record<string, unknown>;
  const taken = typeof token === 'string' ? parseVersion(token) : undefined;
  return {
    ...(typeof value === 'string' && { value }),
    ...(typeof ttlMs === 'number' && { ttlMs }),
    ...(taken !== undefined && { token: taken }),
  };
}
