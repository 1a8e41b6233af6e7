import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkExpiry, expiredAnswer, expiryAfter, isExpired } from '../../src/core/expiry.js';
import { hash32 } from '../../src/core/hash.js';
import { MAX_TTL_MS } from '../../src/core/limits.js';
import {
  changedOf,
  compareRecords,
  decodeRecord,
  encodeRecord,
  expiryOf,
  HEADER_BYTES,
  headerOf,
  headOf,
  isHead,
  isIntact,
  type RecordFields,
} from '../../src/core/record.js';
import {
  compareVersions,
  MAX_WALL_MS,
  VERSION_BYTES,
  type Version,
} from '../../src/core/version.js';
import { keys, LAW, recordFields } from './arbitraries.js';

const KEY = Buffer.from('k');
const moments = fc.integer({ min: 0, max: MAX_WALL_MS });

describe('a record with an expiry', () => {
  const expiring = fc
    .tuple(recordFields, moments)
    .map(([fields, expiresAtMs]): RecordFields => ({ ...fields, expiresAtMs }));

  test('is a tombstone from the millisecond of its expiry on, and others never are', () => {
    fc.assert(
      fc.property(keys, recordFields, moments, (key, fields, nowMs) => {
        const record = encodeRecord(key, fields);
        const { expiresAtMs } = fields;
        expect(isExpired(record, nowMs)).toBe(expiresAtMs !== undefined && expiresAtMs <= nowMs);
        if (expiresAtMs === undefined) return;
        expect(isExpired(record, expiresAtMs)).toBe(true);
        expect(isExpired(record, expiresAtMs - 1)).toBe(false);
      }),
      LAW,
    );
  });

  test('says in its head what it says in whole: which version users see, and when it expires', () => {
    fc.assert(
      fc.property(keys, recordFields, moments, (key, fields, nowMs) => {
        const record = encodeRecord(key, fields);
        const head = headOf(record);
        expect(headOf(head)).toBe(head);
        expect(head.length).toBeLessThanOrEqual(HEADER_BYTES + 6 + VERSION_BYTES);
        expect(changedOf(head)).toEqual(fields.changed ?? fields.version);
        expect(isHead(head) && isHead(record)).toBe(true);
        expect(isHead(head.subarray(0, -1))).toBe(false);
        expect(expiryOf(head)).toBe(fields.expiresAtMs);
        expect(isExpired(head, nowMs)).toBe(isExpired(record, nowMs));
        expect(compareRecords(head, record)).toBe(0);
      }),
      LAW,
    );
  });

  test('beats and loses to others by its version alone, whenever it expires', () => {
    fc.assert(
      fc.property(recordFields, recordFields, moments, (a, b, expiresAtMs) => {
        fc.pre(compareVersions(a.version, b.version) !== 0);
        const other = encodeRecord(KEY, b);
        const order = Math.sign(compareRecords(encodeRecord(KEY, a), other));
        const dated = encodeRecord(KEY, { ...a, expiresAtMs });
        expect(Math.sign(compareRecords(dated, other))).toBe(order);
      }),
      LAW,
    );
  });

  test('is answered, once expired, as a sound tombstone of the same version and the same change', () => {
    fc.assert(
      fc.property(keys, expiring, (key, fields) => {
        const answer = expiredAnswer(key, encodeRecord(key, fields));
        expect(isIntact(hash32(key), answer)).toBe(true);
        const { version, changed } = fields;
        expect(decodeRecord(answer)).toEqual({
          version,
          tombstone: true,
          leased: false,
          changed,
          value: new Uint8Array(0),
        });
      }),
      LAW,
    );
  });

  test('is answered by the very bytes of a delete under its stamp', () => {
    const version: Version = { wallMs: 5, logical: 1, writerHi: 2, writerLo: 3 };
    const value = Buffer.from('v');
    const record = encodeRecord(KEY, { version, tombstone: false, expiresAtMs: 9, value });
    const deleted = encodeRecord(KEY, { version, tombstone: true, value });
    expect(expiredAnswer(KEY, record)).toEqual(deleted);
    expect(headerOf(deleted)).toEqual(deleted);
  });
});

function at(wallMs: number): Version {
  return { wallMs, logical: 0, writerHi: 0, writerLo: 0 };
}

describe('an expiry', () => {
  test('counts from the stamp', () => {
    expect(expiryAfter(at(1_000), 30)).toBe(1_030);
  });

  test('is 1 ms to 3,650 days after the stamp; else the bound is named', () => {
    expect(checkExpiry(at(1_000), 1_001)).toBeUndefined();
    expect(checkExpiry(at(1_000), 1_000 + MAX_TTL_MS)).toBeUndefined();
    const problems = [1_000, 400, 1_001 + MAX_TTL_MS].map((expiresAtMs) =>
      checkExpiry(at(1_000), expiresAtMs),
    );
    expect(problems.map((problem) => [problem?.code, problem?.message])).toEqual([
      ['INVALID_ARGUMENT', 'expiresAtMs: has passed, 0 ms before the stamp of the write'],
      ['INVALID_ARGUMENT', 'expiresAtMs: has passed, 600 ms before the stamp of the write'],
      [
        'INVALID_ARGUMENT',
        'expiresAtMs: 315360000001 ms after the stamp of the write, the limit is 315360000000',
      ],
    ]);
    expect(checkExpiry(at(MAX_WALL_MS), MAX_WALL_MS + 1)?.code).toBe('INVALID_ARGUMENT');
  });
});
