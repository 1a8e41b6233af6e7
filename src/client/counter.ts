import { invalidArgument, KvError } from '../core/errors.js';
import { decodeText, type Codec } from './codec.js';
import type { Key, Kv } from './kv.js';
import type { Counter } from './linearizable.js';
import { checkInteger } from './request-options.js';

const { MAX_SAFE_INTEGER, MIN_SAFE_INTEGER } = Number;

/** Values are whole numbers, as decimal digits. */
export const counterCodec: Codec<number> = {
  name: 'counter',
  encode: (sum) => Buffer.from(String(sum)),
  decode(bytes) {
    const text = decodeText(bytes) ?? '';
    const sum = /^-?\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(sum)) return sum;
    throw new KvError('INVALID_ARGUMENT', 'The key holds something else than a counter.');
  },
};

/** A counter on top of compare-and-set. */
export function counterOf(kv: Kv<number>, key: Key): Counter {
  return {
    async get(options = {}) {
      return (await kv.get(key, { ...options, consistency: 'LINEARIZABLE' })) ?? 0;
    },
    async add(delta = 1, options = {}) {
      checkInteger('delta', delta, MIN_SAFE_INTEGER, MAX_SAFE_INTEGER);
      const { value = 0 } = await kv.atomic(key, (sum) => addTo(sum, delta), options);
      return value;
    },
  };
}

function addTo(sum: number | undefined, delta: number): number | undefined {
  // Adding nothing to what is not there leaves it so.
  if (sum === undefined && delta === 0) return undefined;
  const next = (sum ?? 0) + delta;
  if (Number.isSafeInteger(next)) return next;
  throw invalidArgument('delta', `${delta} more than ${sum} is more than a number can count`);
}
