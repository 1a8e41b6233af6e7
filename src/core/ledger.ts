import { MAX_RETRY_AGE_MS } from './limits.js';
import {
  compareVersions,
  readU32,
  readVersion,
  readWallMs,
  VERSION_BYTES,
  writeU32,
  writeVersion,
  ZERO_VERSION,
  type Version,
} from './version.js';

/*
 * What a record remembers of the LINEARIZABLE requests answered on its key, so that a retry gets the same answer. Every record of a
 * key that rounds write carries it to every disk and over every wire, and it may be more than the value: so it is packed, and
 * looked at and changed as the bytes that lie in the record.
 *
 *  0  floor     16   the highest request id that has been dropped
 * 16  answered   1   how many requests are listed
 * 17  writers    1   how many writers are named
 * 18  requests       in the order of their ids, each:
 *       wall         of the id, beyond the wall of the id before it; of the first, beyond the floor's     signed varint
 *       logical      of the id                                                                                    varint
 *       writer   1   of the id, by its place among the writers
 *       result   1   what was answered
 *       wall         of the version that the answer named, beyond that of the id                           signed varint
 *       logical      of that version                                                                              varint
 *       writer   1   of that version
 *     writers    8   each, in the order in which they are named
 *
 * Varints are those of protobuf: seven bits a byte, the lowest first, the sign in the lowest bit of a signed one. A request takes
 * eight or nine bytes where one whole version takes sixteen, for few clients and coordinators write one key.
 */
const ANSWERED_AT = VERSION_BYTES;
const WRITERS_AT = ANSWERED_AT + 1;
const REQUESTS_AT = WRITERS_AT + 1;
const WRITER_BYTES = 8;
/** Two varints of a wall with its sign, two of a logical counter, and three single bytes. */
const MAX_REQUEST_BYTES = 2 * 7 + 2 * 3 + 3;
/** None is as much: 49 bits are a wall and its sign. */
const MAX_VARINT = 2 ** 49;

/**
 * How many answered requests a record remembers: as many as one byte can name two writers for each. On a contended key this is the
 * time that a retry has, and the requests that lose count too.
 */
export const MAX_REMEMBERED = 127;

/** What was answered to a LINEARIZABLE request: the numbers are on disk. */
export const ANSWERED = {
  /** It took effect; the version is that of the change. */
  applied: 1,
  /** A compare-and-set found something else; the version is that of what it found. */
  lost: 2,
  /** Its outcome was asked for before it came: it never takes effect. */
  never: 3,
} as const;

export type AnsweredCode = (typeof ANSWERED)[keyof typeof ANSWERED];

export function isAnsweredCode(code: number): code is AnsweredCode {
  return code === ANSWERED.applied || code === ANSWERED.lost || code === ANSWERED.never;
}

export interface AnsweredRequest {
  readonly id: Version;
  /** What was answered: an {@link AnsweredCode}, or another number from 0 to 255 that a later release may know. */
  readonly result: number;
  /** The version that the answer named. */
  readonly version: Version;
}

/** What a record knows of a request. */
export type Remembered =
  | { readonly kind: 'answered'; readonly result: number; readonly version: Version }
  /** Not among those remembered, and above all that were forgotten: it has never been answered. */
  | { readonly kind: 'new' }
  /** At or below the floor: it may have been answered and forgotten, so it can never be applied any more. */
  | { readonly kind: 'forgotten' };

/** A ledger with these requests, in the order of their ids. */
export function encodeLedger(
  floor: Version,
  answered: readonly AnsweredRequest[] = [],
): Uint8Array {
  const draft = new Draft(floor);
  for (const request of answered) draft.add(request);
  return draft.finish();
}

/** Whether these bytes may be a ledger, by its size. */
export function mayBeLedger(bytes: Uint8Array): boolean {
  return (
    bytes.length >= REQUESTS_AT &&
    (bytes[ANSWERED_AT] as number) <= MAX_REMEMBERED &&
    bytes.length >= REQUESTS_AT + (bytes[WRITERS_AT] as number) * WRITER_BYTES
  );
}

/** The highest request that the ledger has forgotten. */
export function floorOf(ledger: Uint8Array): Version {
  return readVersion(ledger, 0);
}

/**
 * Looks a request up. `floor` is the highest request that a record without a ledger has forgotten: of a plain write its own
 * version, since it carried nothing over; of absence the fence under which a tombstone with its ledger was dropped.
 */
export function recall(ledger: Uint8Array | undefined, floor: Version, id: Version): Remembered {
  if (ledger !== undefined) {
    const walk = new Walk(ledger);
    while (walk.next()) {
      if (compareVersions(walk.id, id) !== 0) continue;
      return { kind: 'answered', result: walk.result, version: { ...walk.version } };
    }
  }
  const highest = ledger === undefined ? floor : floorOf(ledger);
  return { kind: compareVersions(id, highest) <= 0 ? 'forgotten' : 'new' };
}

/**
 * The ledger with one more request, which it does not have. It forgets those that are so old that nobody sends them again, and the
 * oldest where there are too many; the floor rises to the highest of them, so that nothing forgotten is ever taken for new.
 */
export function remember(
  ledger: Uint8Array | undefined,
  floor: Version,
  answered: AnsweredRequest,
  nowMs: number,
): Uint8Array {
  const oldestMs = nowMs - MAX_RETRY_AGE_MS;
  const walk = new Walk(ledger ?? encodeLedger(floor));
  let highest = ledger === undefined ? floor : floorOf(ledger);
  let isThere = walk.next();
  for (; isThere; isThere = walk.next()) {
    const hasRoom = walk.left + 1 < MAX_REMEMBERED;
    if (hasRoom && walk.id.wallMs >= oldestMs) break;
    if (compareVersions(walk.id, highest) > 0) highest = { ...walk.id };
  }
  const draft = new Draft(highest);
  for (; isThere && compareVersions(walk.id, answered.id) < 0; isThere = walk.next()) {
    draft.add(walk);
  }
  draft.add(answered);
  for (; isThere; isThere = walk.next()) draft.add(walk);
  return draft.finish();
}

interface MutableVersion {
  wallMs: number;
  logical: number;
  writerHi: number;
  writerLo: number;
}

/** Goes through what a ledger lists; of other bytes it makes something, and comes to an end. */
class Walk implements AnsweredRequest {
  /** Of the request that {@link next} has come to: the next call overwrites all of it. */
  readonly id: MutableVersion = { ...ZERO_VERSION };
  readonly version: MutableVersion = { ...ZERO_VERSION };
  result = 0;
  /** How many follow it. */
  left: number;
  #at = REQUESTS_AT;
  readonly #writersAt: number;

  constructor(private readonly ledger: Uint8Array) {
    this.left = ledger[ANSWERED_AT] as number;
    this.#writersAt = ledger.length - (ledger[WRITERS_AT] as number) * WRITER_BYTES;
    this.id.wallMs = readWallMs(ledger, 0);
  }

  next(): boolean {
    if (this.left === 0) return false;
    this.left -= 1;
    const { id, version } = this;
    id.wallMs += this.#signed();
    id.logical = this.#varint();
    this.#readWriter(id);
    this.result = this.ledger[this.#at++] as number;
    version.wallMs = id.wallMs + this.#signed();
    version.logical = this.#varint();
    this.#readWriter(version);
    return this.#at <= this.#writersAt;
  }

  #readWriter(version: MutableVersion): void {
    const at = this.#writersAt + (this.ledger[this.#at++] as number) * WRITER_BYTES;
    version.writerHi = readU32(this.ledger, at);
    version.writerLo = readU32(this.ledger, at + 4);
  }

  #signed(): number {
    const number = this.#varint();
    return number % 2 === 0 ? number / 2 : -(number + 1) / 2;
  }

  #varint(): number {
    const { ledger } = this;
    let byte = ledger[this.#at++] ?? 0;
    let number = byte & 0x7f;
    for (let unit = 0x80; byte >= 0x80 && unit < MAX_VARINT; unit *= 0x80) {
      byte = ledger[this.#at++] ?? 0;
      number += (byte & 0x7f) * unit;
    }
    return number;
  }
}

/** What a {@link Draft} has of each so far. */
const REQUESTS = new Uint8Array(MAX_REMEMBERED * MAX_REQUEST_BYTES);
const WRITERS = new Uint8Array(2 * MAX_REMEMBERED * WRITER_BYTES);

/** Puts a ledger together. Only one at a time: they share memory. */
class Draft {
  #at = 0;
  #answered = 0;
  #writers = 0;
  #wallMs: number;

  constructor(private readonly floor: Version) {
    this.#wallMs = floor.wallMs;
  }

  /** In the order of the ids. */
  add({ id, result, version }: AnsweredRequest): void {
    this.#answered += 1;
    this.#addSigned(id.wallMs - this.#wallMs);
    this.#wallMs = id.wallMs;
    this.#addVarint(id.logical);
    this.#addWriter(id);
    REQUESTS[this.#at++] = result;
    this.#addSigned(version.wallMs - id.wallMs);
    this.#addVarint(version.logical);
    this.#addWriter(version);
  }

  finish(): Uint8Array {
    const writersAt = REQUESTS_AT + this.#at;
    const ledger = Buffer.allocUnsafe(writersAt + this.#writers * WRITER_BYTES);
    writeVersion(this.floor, ledger, 0);
    ledger[ANSWERED_AT] = this.#answered;
    ledger[WRITERS_AT] = this.#writers;
    ledger.set(REQUESTS.subarray(0, this.#at), REQUESTS_AT);
    ledger.set(WRITERS.subarray(0, this.#writers * WRITER_BYTES), writersAt);
    return ledger;
  }

  #addWriter({ writerHi, writerLo }: Version): void {
    let place = 0;
    for (; place < this.#writers; place++) {
      const at = place * WRITER_BYTES;
      if (readU32(WRITERS, at) === writerHi && readU32(WRITERS, at + 4) === writerLo) break;
    }
    if (place === this.#writers) {
      this.#writers += 1;
      writeU32(WRITERS, place * WRITER_BYTES, writerHi);
      writeU32(WRITERS, place * WRITER_BYTES + 4, writerLo);
    }
    REQUESTS[this.#at++] = place;
  }

  #addSigned(number: number): void {
    this.#addVarint(number < 0 ? -2 * number - 1 : 2 * number);
  }

  #addVarint(number: number): void {
    let rest = number;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      REQUESTS[this.#at++] = (rest % 0x80) | 0x80;
    }
    REQUESTS[this.#at++] = rest;
  }
}
