import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareKeys } from '../../src/core/key-range.js';
import {
  ALL_RECORDS,
  metaKey,
  recordKey,
  recordRange,
  userKeyOf,
  WHOLE_STORE,
} from '../../src/replica/layout.js';

const key = fc.uint8Array({ minLength: 1, maxLength: 6 });

test('records lie in the order of their user keys, inside their family', () => {
  fc.assert(
    fc.property(key, key, (a, b) => {
      expect(Math.sign(compareKeys(recordKey(a), recordKey(b)))).toBe(Math.sign(compareKeys(a, b)));
      expect(Uint8Array.from(userKeyOf(recordKey(a)))).toEqual(a);
      expect(compareKeys(recordKey(a), ALL_RECORDS.gte)).toBeGreaterThan(0);
      expect(compareKeys(recordKey(a), ALL_RECORDS.lt)).toBeLessThan(0);
    }),
    { seed: 3, numRuns: 200 },
  );
});

test('no meta entry lies among the records, and the whole store holds both', () => {
  expect(compareKeys(metaKey('zzz'), ALL_RECORDS.gte)).toBeLessThan(0);
  expect(compareKeys(metaKey(''), WHOLE_STORE.gte)).toBeGreaterThan(0);
  expect(compareKeys(ALL_RECORDS.lt, WHOLE_STORE.lt)).toBeLessThan(0);
});

test('an empty upper bound means to the last record', () => {
  const open = recordRange(Buffer.from('a'), new Uint8Array(0));
  expect(compareKeys(recordKey(new Uint8Array(8).fill(0xff)), open.lt)).toBeLessThan(0);
  expect(recordRange(Buffer.from('a'), Buffer.from('b')).lt).toEqual(recordKey(Buffer.from('b')));
});
