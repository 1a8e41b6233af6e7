import { leasedUntilMs } from '../core/lease.js';
import { isLeased, versionOf } from '../core/record.js';
import { compareVersions, type Version } from '../core/version.js';

/** What is kept at the most, keys counted; of more, the keys that have been there for longest are not known any more. */
const MAX_RECORDS = 16_384;
const MAX_BYTES = 16 * 1024 * 1024;

/** A record that a majority has accepted from this coordinator. */
export interface Chosen {
  readonly record: Uint8Array;
  /** No replica of it is known to have forgotten anything at this version of what is known of lives. */
  readonly livesVersion: number;
}

/**
 * What this coordinator's rounds have chosen last, by key. The next round of a key either needs no prepare, or asks whether that is
 * still there: replicas that hold it then neither read nor send it. A key keeps its entry while a round of it is under way, as a
 * Map that entries come to and go from all the time keeps much from being collected (core/hash-chains.ts).
 */
export class ChosenRecords {
  readonly #records = new Map<string, Chosen | undefined>();
  #bytes = 0;

  keep(turnKey: string, record: Uint8Array, livesVersion: number): void {
    this.take(turnKey);
    // A copy: what is encoded shares memory with much that nobody needs any more.
    const own = new Uint8Array(record);
    this.#records.set(turnKey, { record: own, livesVersion });
    this.#bytes += turnKey.length + own.length;
    if (this.#records.size <= MAX_RECORDS && this.#bytes <= MAX_BYTES) return;
    for (const oldest of this.#records.keys()) {
      this.take(oldest);
      this.#records.delete(oldest);
      if (this.#records.size <= MAX_RECORDS && this.#bytes <= MAX_BYTES) return;
    }
  }

  /** Takes it: until the outcome of what is proposed in its place is known, nothing is known of the key. */
  take(turnKey: string): Chosen | undefined {
    const chosen = this.#records.get(turnKey);
    if (chosen === undefined) return undefined;
    this.#records.set(turnKey, undefined);
    this.#bytes -= turnKey.length + chosen.record.length;
    return chosen;
  }
}

/** Whether a record at this ballot may be proposed in its place without a prepare: see core/lease.ts. */
export function savesPrepare(
  { record, livesVersion }: Chosen,
  ballot: Version,
  knownLives: number,
): boolean {
  const held = versionOf(record);
  return (
    isLeased(record) &&
    livesVersion === knownLives &&
    ballot.writerHi === held.writerHi &&
    ballot.writerLo === held.writerLo &&
    compareVersions(ballot, held) > 0 &&
    ballot.wallMs < leasedUntilMs(record)
  );
}
