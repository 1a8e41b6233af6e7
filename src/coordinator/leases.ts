import { leasedUntilMs } from '../core/lease.js';
import { isLeased, versionOf } from '../core/record.js';
import { compareVersions, type Version } from '../core/version.js';

/** Keys that one coordinator keeps writing at a time; of more, those written longest ago prepare again. */
const MAX_LEASES = 1_024;

interface Lease {
  readonly record: Uint8Array;
  readonly livesVersion: number;
}

/** The leased records that a majority has accepted from this coordinator: see core/lease.ts. In the order of their writes. */
export class Leases {
  readonly #leases = new Map<string, Lease>();

  /** A majority has accepted the record, and no replica of it is known to have forgotten anything at `livesVersion`. */
  chosen(turnKey: string, record: Uint8Array, livesVersion: number): void {
    this.#leases.delete(turnKey);
    if (!isLeased(record)) return;
    this.#leases.set(turnKey, { record, livesVersion });
    if (this.#leases.size <= MAX_LEASES) return;
    for (const oldest of this.#leases.keys()) {
      this.#leases.delete(oldest);
      return;
    }
  }

  /**
   * What the key holds, where a record at this ballot may be proposed in its place without a prepare. It is taken: until the
   * outcome of that is known, nothing is known of the key.
   */
  take(turnKey: string, ballot: Version, livesVersion: number): Uint8Array | undefined {
    const lease = this.#leases.get(turnKey);
    if (lease === undefined) return undefined;
    this.#leases.delete(turnKey);
    const held = versionOf(lease.record);
    const isInForce =
      lease.livesVersion === livesVersion &&
      ballot.writerHi === held.writerHi &&
      ballot.writerLo === held.writerLo &&
      compareVersions(ballot, held) > 0 &&
      ballot.wallMs < leasedUntilMs(lease.record);
    return isInForce ? lease.record : undefined;
  }
}
