import { isLocal, neededReplicas, type Consistency } from '../core/consistency.js';
import { invalidArgument, KvError } from '../core/errors.js';
import { checkExpiry } from '../core/expiry.js';
import { decodeExpectation } from '../core/expectation.js';
import { admitsClientStamp } from '../core/hlc.js';
import {
  checkKey,
  checkValue,
  MAX_RETRY_AGE_MS,
  MAX_SCAN_LIMIT,
  type Limits,
} from '../core/limits.js';
import { decodeRecord, isIntact, isPlainRecord } from '../core/record.js';
import { countSlots, type Slots } from '../core/slots.js';
import { VERSION_BYTES, type Version } from '../core/version.js';
import type { NodeScan } from '../io/link.js';
import type { Operation } from './operation.js';
import type { Route } from './routes.js';

/** A key may be given as `lt`, or the first key after the longest one. */
const EXTRA_BOUND_BYTES = 1;

/** Which replicas count for a request, and how many of them it needs. */
export interface Level {
  readonly needed: number;
  readonly counted: Slots;
}

/** What is wrong with a get, or undefined. */
export function checkGet(operation: Operation, limits: Limits): KvError | undefined {
  const { minVersion } = operation;
  if (minVersion.length !== 0 && minVersion.length !== VERSION_BYTES) {
    return invalidArgument(
      'minVersion',
      `${minVersion.length} bytes, a version has ${VERSION_BYTES}`,
    );
  }
  return checkKey(operation.key, limits) ?? checkLevel(operation.level, operation.zone);
}

/** What is wrong with a question for the outcome of a request, or undefined. */
export function checkOutcome(operation: Operation, limits: Limits): KvError | undefined {
  if (operation.level !== 'LINEARIZABLE') {
    return invalidArgument('consistency', 'only LINEARIZABLE requests can be asked about');
  }
  if (operation.minVersion.length !== VERSION_BYTES) {
    return invalidArgument('minVersion', 'must be the id of the request that is asked about');
  }
  return checkKey(operation.key, limits);
}

/** What is wrong with a put, or its stamp. Whether the stamp may be taken now is {@link checkStamp}'s to say. */
export function checkPut(operation: Operation, keyHash: number, limits: Limits): KvError | Version {
  const bad = checkKey(operation.key, limits) ?? checkLevel(operation.level, operation.zone);
  if (bad !== undefined) return bad;
  const { record } = operation;
  const fields = decodeRecord(record);
  if (fields === undefined) return invalidArgument('record', 'is not a record');
  if (!isPlainRecord(record)) {
    return invalidArgument('record', 'carries what only a LINEARIZABLE round may add');
  }
  const tooLarge = checkValue(fields.value.length, limits);
  if (tooLarge !== undefined) return tooLarge;
  if (fields.expiresAtMs !== undefined) {
    if (fields.tombstone) return invalidArgument('expiresAtMs', 'does not go with a delete');
    const outOfBounds = checkExpiry(fields.version, fields.expiresAtMs);
    if (outOfBounds !== undefined) return outOfBounds;
  }
  const misplaced = checkExpectation(operation);
  if (misplaced !== undefined) return misplaced;
  if (!isIntact(keyHash, record)) return invalidArgument('record', 'fails its checksum');
  return fields.version;
}

/** CLOCK_DRIFT when a client's stamp is too far from this node's clock. */
export function checkStamp(
  version: Version,
  wallMs: number,
  maxDriftMs: number,
): KvError | undefined {
  if (admitsClientStamp(version, wallMs, maxDriftMs)) return undefined;
  const aheadMs = version.wallMs - wallMs;
  return new KvError(
    'CLOCK_DRIFT',
    aheadMs > 0
      ? `the stamp is ${aheadMs} ms ahead of the clock of this node, the limit is ${maxDriftMs}`
      : `the stamp is ${-aheadMs} ms behind the clock of this node, the limit is ${maxDriftMs + MAX_RETRY_AGE_MS}`,
  );
}

/** What is wrong with a scan, apart from its token. */
export function checkScan(request: NodeScan, limits: Limits): KvError | undefined {
  const { gte, lt, limit } = request;
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_SCAN_LIMIT) {
    return invalidArgument('limit', `${limit}, must be 1 to ${MAX_SCAN_LIMIT}`);
  }
  for (const [field, bound] of [
    ['gte', gte],
    ['lt', lt],
  ] as const) {
    const most = limits.maxKeyBytes + EXTRA_BOUND_BYTES;
    if (bound.length > most) {
      return invalidArgument(field, `${bound.length} bytes, the limit is ${most}`);
    }
  }
  if (request.level === 'LINEARIZABLE') {
    return new KvError('NOT_SUPPORTED', 'a scan of many keys is not LINEARIZABLE');
  }
  return checkLevel(request.level, request.zone);
}

function checkExpectation({ expect, level }: Operation): KvError | undefined {
  if (expect.length === 0) return undefined;
  if (level !== 'LINEARIZABLE') {
    return invalidArgument('expect', `only goes with LINEARIZABLE, not with ${level}`);
  }
  return decodeExpectation(expect) === undefined
    ? invalidArgument('expect', 'is no expectation')
    : undefined;
}

function checkLevel(level: Consistency, zone: string): KvError | undefined {
  if (isLocal(level) && zone === '') {
    return invalidArgument('zone', `must be named for ${level}`);
  }
  return undefined;
}

/** The replicas that count for the level, or why the key cannot be served at it by any number of healthy ones. */
export function levelOn(route: Route, level: Consistency, zone: string): Level | KvError {
  const local = isLocal(level);
  const counted = local ? route.inZone(zone) : route.all;
  const replicas = countSlots(counted);
  if (local && replicas === 0) {
    return invalidArgument('zone', `no replica of the key is in zone ${JSON.stringify(zone)}`);
  }
  const needed = neededReplicas(level, replicas);
  if (needed > replicas) {
    return invalidArgument(
      'consistency',
      `${level} asks for ${needed} replicas, the limit is the ${replicas} that a key has`,
    );
  }
  return { needed, counted };
}
