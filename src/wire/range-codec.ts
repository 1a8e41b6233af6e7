import { invalidArgument } from '../core/errors.js';
import { KeyRecord } from '../core/key-record.js';
import { MAX_SCAN_LIMIT } from '../core/limits.js';
import { PARTITIONS } from '../core/placement.js';
import { DIGEST_BYTES, isHead } from '../core/record.js';
import type { NodePage, NodeScan } from '../io/link.js';
import type { ReplicaPage, ReplicaScan } from '../io/peer.js';
import type { Body } from './frame-writer.js';
import { v1 } from './messages.js';
import { bytesSize, elementSize, putBytes, putElement } from './protobuf-fields.js';

const BITMAP_BYTES = PARTITIONS / 8;

// Field numbers and wire types of RangePage.
const KEYS_TAG = 10;
const RECORDS_TAG = 18;
const SCANNED_TO_TAG = 26;
const CORRUPT_TAG = 34;
const TOKEN_TAG = 42;
const DIGEST_TAG = 50;

const NO_BYTES = new Uint8Array(0);
const NO_KEYS: readonly Uint8Array[] = [];

/** What a range request says of a cluster's scan; level, zone and timeout travel in the call around it. */
export type ScanRange = Pick<NodeScan, 'gte' | 'lt' | 'reverse' | 'limit' | 'keysOnly' | 'token'>;

export function encodeNodeScan(scan: ScanRange): Uint8Array {
  return v1.RangeRequest.encode({
    gte: scan.gte,
    lt: scan.lt,
    reverse: scan.reverse,
    limit: scan.limit,
    keysOnly: scan.keysOnly,
    token: scan.token,
  }).finish();
}

/** Throws INVALID_ARGUMENT naming what is wrong. */
export function decodeNodeScan(body: Uint8Array): ScanRange {
  const request = decodeBody(() => v1.RangeRequest.decode(body), 'RangeRequest');
  return {
    gte: request.gte,
    lt: request.lt,
    reverse: request.reverse,
    limit: requireLimit(request.limit),
    keysOnly: request.keysOnly,
    token: request.token,
  };
}

export function encodeReplicaScan(scan: ReplicaScan): Uint8Array {
  return v1.RangeRequest.encode({
    gte: scan.gte,
    lt: scan.lt,
    reverse: scan.reverse,
    limit: scan.limit,
    maxBytes: scan.maxBytes,
    partitions: scan.partitions,
    whole: scan.whole,
    asDigest: scan.asDigest,
  }).finish();
}

/** Throws INVALID_ARGUMENT naming what is wrong. */
export function decodeReplicaScan(body: Uint8Array, placementVersion: number): ReplicaScan {
  const request = decodeBody(() => v1.RangeRequest.decode(body), 'RangeRequest');
  requireBitmap(request.partitions, 'partitions');
  requireBitmap(request.whole, 'whole');
  return {
    gte: request.gte,
    lt: request.lt,
    reverse: request.reverse,
    limit: Math.max(request.limit, 1),
    maxBytes: request.maxBytes,
    partitions: request.partitions,
    whole: request.whole,
    asDigest: request.asDigest,
    placementVersion,
  };
}

export function nodePageBody({ entries, token }: NodePage): Body {
  return new PageBody(entries, NO_BYTES, NO_KEYS, token, NO_BYTES);
}

/** Throws INVALID_ARGUMENT for a page that no node writes. The bytes are views of `body`. */
export function decodeNodePage(body: Uint8Array): NodePage {
  const page = decodeBody(() => v1.RangePage.decode(body), 'RangePage');
  return { kind: 'page', entries: rows(page), token: page.token };
}

export function replicaPageBody(page: ReplicaPage): Body {
  const { entries, scannedTo = NO_BYTES, corrupt, digest = NO_BYTES } = page;
  return new PageBody(entries, scannedTo, corrupt, NO_BYTES, digest);
}

/** Throws INVALID_ARGUMENT for a page that no node writes. The bytes are views of `body`. */
export function decodeReplicaPage(body: Uint8Array): ReplicaPage {
  const page = decodeBody(() => v1.RangePage.decode(body), 'RangePage');
  const { digest } = page;
  if (digest.length !== 0 && digest.length !== DIGEST_BYTES) {
    throw invalidArgument('page.digest', `${digest.length} bytes, a digest has ${DIGEST_BYTES}`);
  }
  return {
    kind: 'page',
    entries: rows(page),
    corrupt: page.corrupt,
    ...(digest.length === 0 ? {} : { digest }),
    ...(page.scannedTo.length === 0 ? {} : { scannedTo: page.scannedTo }),
  };
}

/** Runs a generated decoder; what it throws becomes INVALID_ARGUMENT naming the message. */
export function decodeBody<T>(decode: () => T, message: string): T {
  try {
    return decode();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw invalidArgument('request', `not a valid quorate.v1.${message} message (${reason})`);
  }
}

/** The bytes that the generated encoder of RangePage gives: by hand, as a frame is, because a page has thousands of fields. */
class PageBody implements Body {
  readonly length: number;

  constructor(
    private readonly entries: readonly KeyRecord[],
    private readonly scannedTo: Uint8Array,
    private readonly corrupt: readonly Uint8Array[],
    private readonly token: Uint8Array,
    private readonly digest: Uint8Array,
  ) {
    let length = bytesSize(scannedTo) + bytesSize(token) + bytesSize(digest);
    for (const { key, record } of entries) length += elementSize(key) + elementSize(record);
    for (const key of corrupt) length += elementSize(key);
    this.length = length;
  }

  writeTo(out: Uint8Array, start: number): void {
    let at = start;
    for (const { key } of this.entries) at = putElement(out, at, KEYS_TAG, key);
    for (const { record } of this.entries) at = putElement(out, at, RECORDS_TAG, record);
    at = putBytes(out, at, SCANNED_TO_TAG, this.scannedTo);
    for (const key of this.corrupt) at = putElement(out, at, CORRUPT_TAG, key);
    at = putBytes(out, at, TOKEN_TAG, this.token);
    putBytes(out, at, DIGEST_TAG, this.digest);
  }
}

function rows(page: v1.RangePage): readonly KeyRecord[] {
  const { keys, records } = page;
  if (keys.length !== records.length) {
    throw invalidArgument('page', `${keys.length} keys and ${records.length} records`);
  }
  return keys.map((key, index) => {
    const record = records[index] as Uint8Array;
    if (!isHead(record)) {
      throw invalidArgument(`page.records[${index}]`, `${record.length} bytes are no record`);
    }
    return new KeyRecord(key, record);
  });
}

function requireLimit(limit: number): number {
  if (limit >= 1 && limit <= MAX_SCAN_LIMIT) return limit;
  throw invalidArgument('limit', `${limit}, it must be 1 to ${MAX_SCAN_LIMIT}`);
}

function requireBitmap(bytes: Uint8Array, field: string): void {
  if (bytes.length === BITMAP_BYTES) return;
  throw invalidArgument(
    field,
    `${bytes.length} bytes, the bitmap of partitions has ${BITMAP_BYTES}`,
  );
}
