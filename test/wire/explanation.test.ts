import { expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { encodeRecord, formatDigest, HEADER_BYTES } from '../../src/core/record.js';
import { explain } from '../../src/wire/explanation.js';

const KEY = Buffer.from('k');
const VERSION = { wallMs: 2_000, logical: 1, writerHi: 0, writerLo: 1 };

test.each([
  ['expires', { expiresAtMs: 9_000 }],
  ['was changed by an earlier version', { changed: { ...VERSION, wallMs: 1_000 } }],
])('a record that %s is not said to be damaged where only its header is known', (_, more) => {
  const value = Buffer.from('v');
  const record = encodeRecord(KEY, { version: VERSION, tombstone: false, value, ...more });
  const header = record.subarray(0, HEADER_BYTES);
  const { replicas } = explain(hash32(KEY), [{ node: 'n1', answer: { kind: 'found', header } }], 0);
  expect(replicas).toMatchObject([
    { node: 'n1', result: 'found', version: VERSION, digest: formatDigest(record) },
  ]);
});
