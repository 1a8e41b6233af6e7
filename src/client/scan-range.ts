import { invalidArgument } from '../core/errors.js';
import { prefixEnd } from '../core/key-range.js';
import { MAX_SCAN_LIMIT } from '../core/limits.js';
import { keyBytes } from './keys.js';
import type { ScanOptions } from './kv.js';
import { checkFlag, checkInteger } from './request-options.js';
import type { ScanRange } from './scan.js';

const DEFAULT_PAGE_SIZE = 1_000;
const NO_BYTES = new Uint8Array(0);

/** The range of a scan under `ownPrefix`. Throws INVALID_ARGUMENT for what contradicts itself or is out of bounds. */
export function rangeOf(ownPrefix: Uint8Array, options: ScanOptions): ScanRange {
  const { prefix, gte, lt, reverse, limit, keysOnly, pageSize } = options;
  if (prefix !== undefined && (gte !== undefined || lt !== undefined)) {
    throw invalidArgument('prefix', 'goes alone: gte and lt say the same in another way');
  }
  const from = keyBytes(
    ownPrefix,
    prefix ?? gte ?? NO_BYTES,
    prefix === undefined ? 'gte' : 'prefix',
  );
  const to =
    lt === undefined
      ? prefixEnd(prefix === undefined ? ownPrefix : from)
      : keyBytes(ownPrefix, lt, 'lt');
  return {
    gte: from,
    lt: to ?? NO_BYTES,
    reverse: reverse === undefined ? false : checkFlag('reverse', reverse),
    limit:
      limit === undefined ? Infinity : checkInteger('limit', limit, 1, Number.MAX_SAFE_INTEGER),
    keysOnly: keysOnly === undefined ? false : checkFlag('keysOnly', keysOnly),
    pageSize:
      pageSize === undefined
        ? DEFAULT_PAGE_SIZE
        : checkInteger('pageSize', pageSize, 1, MAX_SCAN_LIMIT),
  };
}
