import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { encodeLedger, MAX_REMEMBERED } from '../../src/core/ledger.js';
import {
  compareRecords,
  decodeRecord,
  DIGEST_BYTES,
  encodeRecord,
  formatDigest,
  HEADER_BYTES,
  headerOf,
  isIntact,
  isPlainRecord,
  isTombstone,
  versionOf,
  type RecordFields,
} from '../../src/core/record.js';
import { compareVersions, ZERO_VERSION, type Version } from '../../src/core/version.js';
import { keys, LAW, recordFields } from './arbitraries.js';
import { expectGolden } from './golden.js';

const KEY = Buffer.from('city/NL/Utrecht');
const KEY_HASH = hash32(KEY);

/** Records of one key with few different versions and values, as a cloned process would make them: ties are common. */
const rivals = fc
  .record({ wallMs: fc.integer({ min: 1, max: 2 }), value: fc.uint8Array({ maxLength: 1 }) })
  .chain(({ wallMs, value }) =>
    fc
      .boolean()
      .map((tombstone) =>
        encodeRecord(KEY, { version: { ...ZERO_VERSION, wallMs }, tombstone, value }),
      ),
  );

function version(wallMs: number): Version {
  return { wallMs, logical: 0x0102, writerHi: 0xa1b2c3d4, writerLo: 0x05060708 };
}

function winner(a: Uint8Array, b: Uint8Array): Uint8Array {
  return compareRecords(a, b) >= 0 ? a : b;
}

describe('a record', () => {
  test('comes back from its bytes with every combination of fields', () => {
    fc.assert(
      fc.property(keys, recordFields, (key, fields) => {
        const record = encodeRecord(key, fields);
        const decoded = decodeRecord(record) as RecordFields;
        const { value, ledger, leased = false } = decoded;
        const listed = ledger === undefined ? {} : { ledger: new Uint8Array(ledger) };
        const found = { ...decoded, ...listed, leased, value: new Uint8Array(value) };
        expect(found).toEqual(fields);
        expect(isIntact(hash32(key), record)).toBe(true);
        expect(encodeRecord(key, decoded)).toEqual(record);
      }),
      LAW,
    );
  });

  test('says the same in its header as in full', () => {
    fc.assert(
      fc.property(keys, recordFields, (key, fields) => {
        const header = headerOf(encodeRecord(key, fields));
        expect(header).toHaveLength(HEADER_BYTES);
        expect(headerOf(header)).toBe(header);
        expect(versionOf(header)).toEqual(fields.version);
        expect(isTombstone(header)).toBe(fields.tombstone);
        expect(isPlainRecord(header)).toBe(
          fields.changed === undefined && fields.ledger === undefined && fields.leased !== true,
        );
        expect(formatDigest(header)).toBe(
          Buffer.from(header.slice(0, DIGEST_BYTES)).toString('hex'),
        );
      }),
      LAW,
    );
  });

  test('has room for as many answered requests as its ledger may list', () => {
    const request = { id: ZERO_VERSION, result: 1, version: ZERO_VERSION };
    const answered = Array.from({ length: MAX_REMEMBERED }, () => request);
    const ledger = encodeLedger(ZERO_VERSION, answered);
    const value = Buffer.from('v');
    const record = encodeRecord(KEY, { version: ZERO_VERSION, tombstone: false, ledger, value });
    expect(decodeRecord(record)?.ledger).toEqual(Buffer.from(ledger));
    expect(decodeRecord(record)?.value).toEqual(value);
  });

  test('shows any flipped bit, any lost tail and any added byte', () => {
    fc.assert(
      fc.property(recordFields, (fields) => {
        const record = encodeRecord(KEY, fields);
        for (let bit = 0; bit < record.length * 8; bit++) {
          const damaged = Buffer.from(record);
          damaged[bit >>> 3] = (damaged[bit >>> 3] as number) ^ (1 << (bit & 7));
          if (isIntact(KEY_HASH, damaged)) expect.fail(`bit ${bit} flipped unseen`);
        }
        for (let length = 0; length < record.length; length++) {
          if (isIntact(KEY_HASH, record.subarray(0, length))) expect.fail(`cut at ${length}`);
        }
        expect(isIntact(KEY_HASH, Buffer.concat([record, Buffer.alloc(1)]))).toBe(false);
      }),
      { ...LAW, numRuns: 50 },
    );
  });

  test('shows that it has been moved under another key', () => {
    fc.assert(
      fc.property(keys, keys, recordFields, (key, other, fields) => {
        fc.pre(Buffer.compare(key, other) !== 0);
        expect(isIntact(hash32(other), encodeRecord(key, fields))).toBe(false);
      }),
      LAW,
    );
  });
});

describe('bytes from anywhere', () => {
  test('are decoded or refused, never thrown at', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 200 }),
        fc.integer({ min: 0, max: 15 }),
        (bytes, flags) => {
          if (bytes.length > DIGEST_BYTES) bytes[DIGEST_BYTES] = flags;
          const decoded = decodeRecord(bytes);
          if (decoded !== undefined) {
            // What is accepted has one encoding: nothing is dropped or added.
            expect(encodeRecord(KEY, decoded).subarray(DIGEST_BYTES)).toEqual(
              Buffer.from(bytes.subarray(DIGEST_BYTES)),
            );
          }
          expect(isIntact(KEY_HASH, bytes)).toBe(false);
        },
      ),
      { ...LAW, numRuns: 2_000 },
    );
  });

  test('are refused with a flag that this release does not know', () => {
    const record = encodeRecord(KEY, {
      version: ZERO_VERSION,
      tombstone: false,
      value: Buffer.from('v'),
    });
    for (const flag of [32, 64, 128]) {
      const later = Buffer.from(record);
      later[DIGEST_BYTES] = flag;
      expect(decodeRecord(later)).toBeUndefined();
    }
  });

  test('are refused as a tombstone with a value', () => {
    const record = encodeRecord(KEY, { version: ZERO_VERSION, tombstone: true, value: KEY });
    expect(decodeRecord(record)?.value).toHaveLength(0);
    expect(decodeRecord(Buffer.concat([record, KEY]))).toBeUndefined();
  });
});

describe('the merge rule', () => {
  test('is commutative, associative and idempotent, so the order of arrival does not matter', () => {
    fc.assert(
      fc.property(rivals, rivals, rivals, (a, b, c) => {
        expect(winner(a, b)).toEqual(winner(b, a));
        expect(winner(winner(a, b), c)).toEqual(winner(a, winner(b, c)));
        expect(winner(a, a)).toEqual(a);
        expect(compareRecords(a, b) === 0).toBe(Buffer.compare(a, b) === 0);
      }),
      LAW,
    );
  });

  test('decides by headers as by whole records', () => {
    fc.assert(
      fc.property(rivals, rivals, (a, b) => {
        expect(compareRecords(headerOf(a), b)).toBe(compareRecords(a, b));
        expect(compareRecords(a, headerOf(b))).toBe(compareRecords(a, b));
      }),
      LAW,
    );
  });

  test('takes the higher version whatever else differs', () => {
    fc.assert(
      fc.property(recordFields, recordFields, (a, b) => {
        const order = compareVersions(a.version, b.version);
        fc.pre(order !== 0);
        expect(Math.sign(compareRecords(encodeRecord(KEY, a), encodeRecord(KEY, b)))).toBe(
          Math.sign(order),
        );
      }),
      LAW,
    );
  });

  test('takes the tombstone of two records with one version', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), (value) => {
        const stamp = version(7);
        const put = encodeRecord(KEY, { version: stamp, tombstone: false, value });
        const del = encodeRecord(KEY, {
          version: stamp,
          tombstone: true,
          value: new Uint8Array(0),
        });
        expect(compareRecords(del, put)).toBeGreaterThan(0);
      }),
      LAW,
    );
  });
});

test('the format of records on disk is what it has always been', () => {
  const plain = { version: version(1_700_000_000_000), tombstone: false };
  const ledger = encodeLedger(version(1_600_000_000_000), [
    { id: version(1_650_000_000_000), result: 3, version: version(1_660_000_000_000) },
    { id: version(1_670_000_000_000), result: 255, version: ZERO_VERSION },
  ]);
  const changed = version(1_690_000_000_000);
  const expiresAtMs = 2 ** 48 - 2;
  const samples: Record<string, RecordFields> = {
    'a value': { ...plain, value: Buffer.from('Utrecht') },
    'an empty value': { ...plain, value: Buffer.alloc(0) },
    'a tombstone': { ...plain, tombstone: true, value: Buffer.alloc(0) },
    'with an expiry': { ...plain, expiresAtMs, value: Buffer.from('v') },
    'with a changed version': { ...plain, changed, value: Buffer.from('v') },
    'with a ledger': { ...plain, ledger, value: Buffer.from('v') },
    'with everything': { ...plain, expiresAtMs, changed, ledger, value: Buffer.from('v') },
    'the largest version': {
      version: {
        wallMs: 2 ** 48 - 1,
        logical: 65_535,
        writerHi: 2 ** 32 - 1,
        writerLo: 2 ** 32 - 1,
      },
      tombstone: false,
      value: Buffer.from('v'),
    },
  };
  expectGolden(
    'records.txt',
    Object.entries(samples).map(
      ([name, fields]) => `${name}: ${Buffer.from(encodeRecord(KEY, fields)).toString('hex')}`,
    ),
  );
});
