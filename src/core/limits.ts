import { invalidArgument, type KvError } from './errors.js';

/** The bounds that node and SDK check before anything is sent or stored. All sizes are bytes. */
export interface Limits {
  readonly maxKeyBytes: number;
  readonly maxValueBytes: number;
  readonly maxFrameBytes: number;
}

export const DEFAULT_LIMITS: Limits = {
  maxKeyBytes: 4_096,
  maxValueBytes: 1_048_576,
  maxFrameBytes: 4_194_304,
};

/** Frames are cut at this size, larger only for a single large record, so that no call waits long behind others. */
export const FRAME_CUT_BYTES = 256 * 1024;

/** How far a client's stamp may be from its coordinator's clock, and a node from the median of its peers. */
export const DEFAULT_MAX_DRIFT_MS = 500;

/** A replica takes a coordinator's new write up to this many times `maxDriftMs` ahead of its own clock. */
export const REPLICA_DRIFT_FACTOR = 3;

export const DEFAULT_TIMEOUT_MS = 5_000;

/**
 * The longest that a stamped record is sent again, counted from its stamp. A coordinator takes stamps up to that much
 * behind its clock, and a fence stays behind the clock by more: so a retry is either taken as what it was or refused, and
 * never finds that the tombstone which shadowed it has been dropped.
 */
export const MAX_RETRY_AGE_MS = 60_000;

/** Never above {@link MAX_RETRY_AGE_MS}: no request outlives the time in which its stamp is admitted. */
export const MAX_TIMEOUT_MS = 60_000;
export const MAX_SCAN_LIMIT = 10_000;

/** Ten years of 365 days: what is to stay longer does not expire. */
export const MAX_TTL_MS = 3_650 * 86_400_000;

/** Undefined when the key is within bounds. */
export function checkKey(key: Uint8Array, limits: Limits): KvError | undefined {
  if (key.length === 0) return invalidArgument('key', 'must not be empty');
  if (key.length > limits.maxKeyBytes) {
    return invalidArgument('key', `${key.length} bytes, the limit is ${limits.maxKeyBytes}`);
  }
  return undefined;
}

/** Undefined when the value is within bounds. */
export function checkValue(valueBytes: number, limits: Limits): KvError | undefined {
  return valueBytes > limits.maxValueBytes
    ? invalidArgument('value', `${valueBytes} bytes, the limit is ${limits.maxValueBytes}`)
    : undefined;
}
