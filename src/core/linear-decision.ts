import { ANSWERED, encodeLedger, floorOf, recall, remember, type AnsweredCode } from './ledger.js';
import { decodeRecord, encodeRecord, type RecordFields } from './record.js';
import { compareVersions, type Version } from './version.js';

/** What a LINEARIZABLE request wants of the value of its key. */
export type Change =
  | { readonly kind: 'read' }
  | { readonly kind: 'write'; readonly next: NextValue; readonly expect?: Expectation }
  /** What became of another request? Once asked, one that has not taken effect never does. */
  | { readonly kind: 'outcome' }
  /** A plain write that a promise kept out, under its own stamp, the id: it takes effect unless something newer is there. */
  | { readonly kind: 'plain'; readonly next: NextValue };

/** What a key is to hold; `value` absent: nothing, it is deleted. */
export interface NextValue {
  readonly value?: Uint8Array | undefined;
  readonly expiresAtMs?: number | undefined;
}

/** What a compare-and-set asks of the present value. */
export type Expectation =
  | { readonly kind: 'version'; readonly version: Version }
  | { readonly kind: 'value'; readonly value: Uint8Array }
  | { readonly kind: 'absent' };

export interface LinearRequest {
  readonly key: Uint8Array;
  /** The stamp of the request: the same in all its attempts. Its ballots are above it. */
  readonly id: Version;
  readonly change: Change;
}

/** What a round knows of the key once a majority has promised its ballot. */
export interface Prepared {
  /** The newest record that any of them holds; undefined: none holds any. */
  readonly record: Uint8Array | undefined;
  /** The version of absence: the highest committed fence among them. */
  readonly fence: Version;
  readonly ballot: Version;
  /** The coordinator's wall clock, by which it judges expiry. */
  readonly nowMs: number;
}

export type Decision =
  /** To be accepted by a majority before `result` is answered. */
  | { readonly kind: 'propose'; readonly record: Uint8Array; readonly result: LinearResult }
  /** The request may have been answered and forgotten: it is never applied. Only ids above the floor are known not to have been. */
  | { readonly kind: 'forgotten'; readonly floor: Version };

export interface LinearResult {
  /** 0: of a read; of an outcome, that nobody knows any more. */
  readonly code: AnsweredCode | 0;
  /** Of what took effect, or of what was found: the version of the last change. Absent: nothing was ever there. */
  readonly version: Version | undefined;
}

/**
 * The change function of CASPaxos (Rystsov, arXiv 1802.07000), with the requests answered so far as a part of the state: what
 * a coordinator proposes, given what a majority has promised and holds. Pure. Whatever is proposed, a read and a lost
 * compare-and-set too, is a record with the ballot as its version, so that it wins everywhere once a majority has it; and the
 * result is answered only then. A record that says the same as before keeps `changed`, the version that users see.
 */
export function decide(request: LinearRequest, prepared: Prepared): Decision {
  const { key, id, change } = request;
  const { ballot, nowMs } = prepared;
  const held = prepared.record === undefined ? undefined : decodeRecord(prepared.record);
  const floor = held?.version ?? prepared.fence;
  const present = presentOf(held, nowMs);

  /** `changed` undefined: by this. */
  const propose = (
    { value, expiresAtMs }: NextValue,
    changed: Version | undefined,
    ledger: Uint8Array,
    result: LinearResult,
  ): Decision => {
    const record = encodeRecord(key, {
      version: ballot,
      tombstone: value === undefined,
      expiresAtMs,
      changed,
      ledger,
      // A fence may drop tombstones and what expires, and with them what a lease promises.
      leased:
        value !== undefined &&
        expiresAtMs === undefined &&
        proposesAgain(held, ballot) &&
        ballot.wallMs <= nowMs,
      value: value ?? NOTHING,
    });
    return { kind: 'propose', record, result };
  };
  /** What is there, again: the ledger apart nothing changes. */
  const again = (ledger: Uint8Array, result: LinearResult): Decision =>
    propose(present ?? ABSENT, changedOf(held) ?? prepared.fence, ledger, result);
  /** The floor of a plain record is its own version, and that of absence the fence; a record in its place has to carry it on. */
  const carried = (): Uint8Array => held?.ledger ?? encodeLedger(floor);

  if (change.kind === 'read') return again(carried(), { code: 0, version: changedOf(held) });
  if (change.kind === 'plain') {
    const isHeld = held !== undefined && compareVersions(changedOf(held) as Version, id) === 0;
    if (isHeld) return again(carried(), { code: ANSWERED.applied, version: id });
    if (compareVersions(id, floor) > 0) {
      // What it replaces knew of no request above it: a record's version is above all ids in its ledger.
      return propose(change.next, id, encodeLedger(id), { code: ANSWERED.applied, version: id });
    }
    if (held === undefined) return { kind: 'forgotten', floor };
    return again(carried(), { code: ANSWERED.lost, version: changedOf(held) });
  }
  const known = recall(held?.ledger, floor, id);
  if (known.kind === 'forgotten') {
    // Only once a majority has the floor can the request that was asked about not come after all.
    if (change.kind === 'outcome') return again(carried(), { code: 0, version: undefined });
    return { kind: 'forgotten', floor: floorOf(carried()) };
  }
  if (known.kind === 'answered') {
    const { result, version } = known;
    return again(carried(), { code: result as AnsweredCode, version });
  }
  const answered = (code: AnsweredCode, version: Version) =>
    remember(held?.ledger, floor, { id, result: code, version }, nowMs);

  if (change.kind === 'outcome') {
    return again(answered(ANSWERED.never, ballot), { code: ANSWERED.never, version: undefined });
  }
  const { next, expect } = change;
  if (expect !== undefined && !meets(present, changedOf(held), expect)) {
    const version = changedOf(held);
    return again(answered(ANSWERED.lost, version ?? prepared.fence), {
      code: ANSWERED.lost,
      version,
    });
  }
  return propose(next, undefined, answered(ANSWERED.applied, ballot), {
    code: ANSWERED.applied,
    version: ballot,
  });
}

const NOTHING = new Uint8Array(0);
const ABSENT: NextValue = {};

/** Whether the coordinator that proposes at this ballot proposed what is there as well. */
function proposesAgain(held: RecordFields | undefined, ballot: Version): boolean {
  return (
    held?.ledger !== undefined &&
    held.version.writerHi === ballot.writerHi &&
    held.version.writerLo === ballot.writerLo
  );
}

/** The value that is there now; past its expiry a record is a tombstone. */
function presentOf(held: RecordFields | undefined, nowMs: number): RecordFields | undefined {
  if (held === undefined || held.tombstone) return undefined;
  return held.expiresAtMs !== undefined && held.expiresAtMs <= nowMs ? undefined : held;
}

function changedOf(held: RecordFields | undefined): Version | undefined {
  return held?.changed ?? held?.version;
}

function meets(
  present: RecordFields | undefined,
  changed: Version | undefined,
  expect: Expectation,
): boolean {
  switch (expect.kind) {
    case 'absent':
      return present === undefined;
    case 'version':
      return (
        present !== undefined &&
        changed !== undefined &&
        compareVersions(changed, expect.version) === 0
      );
    case 'value':
      return present !== undefined && Buffer.compare(present.value, expect.value) === 0;
  }
}
