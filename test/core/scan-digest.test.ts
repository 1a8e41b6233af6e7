import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PARTITIONS } from '../../src/core/placement.js';
import { encodeRecord, headOf } from '../../src/core/record.js';
import { areDigestsOf, digestOfRecords } from '../../src/core/scan-digest.js';
import { mergePages, type MergePage } from '../../src/core/scan-merge.js';
import { ZERO_VERSION } from '../../src/core/version.js';

const KEYS = ['a', 'b', 'c', 'd'].map((name) => Buffer.from(name));

/** By key: its version, 0 for none, -1 for a record that the node cannot read; and how many keys it has looked at. */
const node = fc.record({
  held: fc.array(fc.constantFrom(1, 1, 1, 1, 1, 1, 0, -1, 2), { minLength: 4, maxLength: 4 }),
  looked: fc.constantFrom(2, 4, 4, 4),
});

function pageOf({ held, looked }: { held: readonly number[]; looked: number }): MergePage {
  const seen = KEYS.slice(0, looked).map((key, i) => ({ key, version: held[i] as number }));
  const last = KEYS[looked - 1] as Uint8Array;
  return {
    entries: seen
      .filter(({ version }) => version > 0)
      .map(({ key, version }) => {
        const wallMs = version;
        const fields = { version: { ...ZERO_VERSION, wallMs }, tombstone: false, value: key };
        return { key, record: encodeRecord(key, fields) };
      }),
    corrupt: seen.filter(({ version }) => version === -1).map(({ key }) => key),
    checked: true,
    ...(looked === KEYS.length ? {} : { scannedTo: last }),
  };
}

test('digests of others stand for a page when a merge of all pages would find nothing but that page', () => {
  let agreements = 0;
  fc.assert(
    fc.property(
      node,
      fc.array(node, { maxLength: 2 }),
      fc.boolean(),
      (own, others, wholeRecords) => {
        const page = pageOf(own);
        const pages = others.map(pageOf);
        const heads = pages.map((other) => ({
          ...other,
          entries: other.entries.map(({ key, record }) => ({ key, record: headOf(record) })),
        }));
        const digests = pages.map(({ entries, ...rest }) => ({
          ...rest,
          entries: [],
          digest: digestOfRecords(entries),
        }));
        const assigned = Array.from({ length: PARTITIONS }, () =>
          [0, 1, 2].slice(0, 1 + others.length),
        );
        const merged = mergePages([page, ...heads], assigned, false, wholeRecords);
        const isAgreed =
          merged.keys.every(({ agreed }) => agreed) &&
          pages.every(({ scannedTo }) => scannedTo === page.scannedTo) &&
          page.corrupt.length === 0;
        expect(areDigestsOf(page, digests)).toBe(isAgreed);
        // Of heads, whose values are not there, the digest is the same.
        expect(heads.map(({ entries }) => digestOfRecords(entries))).toEqual(
          digests.map(({ digest }) => digest),
        );
        if (!isAgreed) return;
        agreements++;
        expect(merged.scannedTo).toBe(page.scannedTo);
        expect(merged.keys.every(({ whole }) => whole === wholeRecords)).toBe(true);
        expect(merged.keys.map(({ key, newest }) => ({ key, record: newest }))).toEqual(
          page.entries,
        );
      },
    ),
    { seed: 23, numRuns: 300 },
  );
  expect(agreements).toBeGreaterThan(50);
});

test('a page without a digest stands for nothing', () => {
  const page = pageOf({ held: [1, 1, 1, 1], looked: 4 });
  expect(areDigestsOf(page, [page])).toBe(false);
});
