import type { Clock } from '../io/clock.js';
import type { ReplicaFailure, ReplicaPage } from '../io/peer.js';
import { CORRUPT } from './failure.js';

const MAX_KEYS = 10_000;
/**
 * A deadline is here a little earlier than where it was set, because of the head start that a wire keeps back, and clocks do not
 * run equally fast: of the longest request this is more than a hundredth.
 */
const SPARE_MS = 1_000;

/** A key whose record on disk cannot be read. */
export interface CorruptKey {
  readonly key: Uint8Array;
  readonly keyHash: number;
  /** On the monotonic clock: from then on no request counts any more what this replica has said of the key. */
  readonly uncountedFromMs: number;
}

/**
 * The keys on which this replica abstains until they have been mended. Bounded: of more damage than that, the rest is found
 * again when these are mended.
 *
 * Until when what was said of a key before may be counted, the deadlines of all calls tell that have been taken; of those that a
 * process before this one took it is known that they were no longer than the longest.
 */
export class CorruptKeys {
  readonly #clock: Clock;
  readonly #longestRequestMs: number;
  readonly #keys = new Map<string, CorruptKey>();
  #latestDeadlineMs: number;
  #mended = 0;

  constructor(clock: Clock, longestRequestMs: number) {
    this.#clock = clock;
    this.#longestRequestMs = longestRequestMs;
    this.#latestDeadlineMs = clock.monotonicMs() + longestRequestMs;
  }

  get size(): number {
    return this.#keys.size;
  }

  /** There may be more of them than are remembered. */
  get isFull(): boolean {
    return this.#keys.size >= MAX_KEYS;
  }

  /** How many could be read again so far. */
  get mended(): number {
    return this.#mended;
  }

  /** A call is taken whose answer may be counted until then. */
  taking(deadlineMs: number): void {
    if (deadlineMs > this.#latestDeadlineMs) this.#latestDeadlineMs = deadlineMs;
  }

  /** Why nothing is said of the key, nor taken for it, even where the disk gives its record again; undefined: it is none of these. */
  judge(key: Uint8Array): ReplicaFailure | undefined {
    return this.#keys.size > 0 && this.#keys.has(nameOf(key)) ? CORRUPT : undefined;
  }

  /** The page without what it says of keys that could not be read before. */
  judgePage(page: ReplicaPage): ReplicaPage {
    const found = page.entries.filter(({ key }) => this.judge(key) !== undefined);
    if (found.length === 0) return page;
    const entries = page.entries.filter((entry) => !found.includes(entry));
    return { ...page, entries, corrupt: [...page.corrupt, ...found.map(({ key }) => key)] };
  }

  add(key: Uint8Array, keyHash: number): void {
    const name = nameOf(key);
    if (this.isFull || this.#keys.has(name)) return;
    const longestMs = this.#clock.monotonicMs() + this.#longestRequestMs;
    const uncountedFromMs = Math.min(this.#latestDeadlineMs, longestMs) + SPARE_MS;
    this.#keys.set(name, { key: Uint8Array.from(key), keyHash, uncountedFromMs });
  }

  /** It can be read again. */
  delete(key: Uint8Array): void {
    if (this.#keys.delete(nameOf(key))) this.#mended += 1;
  }

  list(): readonly CorruptKey[] {
    return [...this.#keys.values()];
  }

  clear(): void {
    this.#keys.clear();
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}
