import { lastVersionOf } from './hlc.js';
import { isLeased, isPlainRecord, VERSION_AT } from './record.js';
import { compareBytesAt, encodeVersion, readWallMs, VERSION_BYTES } from './version.js';

/** Leases end at multiples of this. */
export const LEASE_MS = 128;

/** Where the writer starts in a version. */
const WRITER_AT = 8;
const WRITER_BYTES = VERSION_BYTES - WRITER_AT;

/*
 * How a coordinator that keeps writing a key saves the prepare round. A record that it proposes at ballot b may be *leased*: whoever
 * holds it has promised all ballots after b and before the next multiple of LEASE_MS to the writer of b and to nobody else. So once
 * a majority has accepted b, its writer may send accept(b2) with a b2 in that interval and without a prepare, as if it had
 * prepared b2 at that majority and found b there:
 *
 * - Between b and b2 nothing of anybody else can be chosen, for it would take one of that majority, each of which holds b, or a
 *   later record of the same writer in the same interval with the same end; both refuse others' ballots, whatever brings them.
 * - Of its own ballots between b and b2 none can be chosen unseen either. It runs one round of a key at a time, proposes from what
 *   a majority accepted last, and after a ballot of which it does not know that, it prepares again.
 * - A writer id is drawn at every start and shared by nobody, so no other process ever proposes in the interval, and b2 is
 *   stamped by the clock of the node, so no ballot is used twice. Plain writes that the node stamps for others share the id, so
 *   they are refused as well.
 * - A replica that forgot a lease, or cannot read the record any more, hears of it from the others like of any promise, before it
 *   votes for what the lease kept out there (maintenance/refill.ts, maintenance/mend.ts).
 *
 * It is a lease of ballots, not of time, so it is safe whatever clocks do, and nobody waits for its end: another coordinator prepares
 * a ballot beyond it, which beats b2. To keep ballots from running ahead of clocks, a record is leased only when the same
 * writer proposed the one before, and not when its ballot is ahead of the clock of its writer. Tombstones and what expires are
 * never leased: a fence may drop those, and the promise with them.
 *
 * The same is called distinguished proposer in "Paxos Made Simple" (Lamport 2001), and piggybacked prepare in CASPaxos
 * (Rystsov, arXiv 1802.07000, 2.2.1), whose next ballot would have to be known: ours must be above the id of a request to come.
 */

/** Whether a replica that holds `held` has promised a version as in `record` to somebody else. Both are records or headers. */
export function leaseRefuses(held: Uint8Array, record: Uint8Array): boolean {
  if (!isLeased(held) || readWallMs(record, VERSION_AT) >= leasedUntilMs(held)) return false;
  return isPlainRecord(record) || !isSameWriter(held, record, VERSION_AT);
}

/** As {@link leaseRefuses}, for a ballot, 16 bytes. */
export function leaseRefusesBallot(held: Uint8Array, ballot: Uint8Array): boolean {
  return (
    isLeased(held) && readWallMs(ballot, 0) < leasedUntilMs(held) && !isSameWriter(held, ballot, 0)
  );
}

/** The wall part of the first version that a leased record does not keep for its writer. */
export function leasedUntilMs(held: Uint8Array): number {
  return (Math.floor(readWallMs(held, VERSION_AT) / LEASE_MS) + 1) * LEASE_MS;
}

/** The last version that it does keep, 16 bytes. */
export function lastOfLease(held: Uint8Array): Uint8Array {
  return encodeVersion(lastVersionOf(leasedUntilMs(held) - 1));
}

function isSameWriter(held: Uint8Array, other: Uint8Array, versionAt: number): boolean {
  const at = VERSION_AT + WRITER_AT;
  return compareBytesAt(held, at, other, versionAt + WRITER_AT, WRITER_BYTES) === 0;
}
