import fc from 'fast-check';
import { expect, test } from 'vitest';
import { v1 } from '../../src/wire/messages.js';
import { nodePageBody, replicaPageBody } from '../../src/wire/range-codec.js';
import { written } from './written.js';

// Lengths on both sides of where the length of a length changes.
const bytes = fc
  .oneof(fc.nat(40), fc.constantFrom(127, 128, 16_383, 16_384))
  .chain((length) => fc.nat(255).map((byte) => new Uint8Array(length).fill(byte)));
const entries = fc.array(fc.record({ key: bytes, record: bytes }), { maxLength: 8 });

test('a page is what the generated encoder makes of it', () => {
  fc.assert(
    fc.property(
      entries,
      bytes,
      fc.array(bytes, { maxLength: 4 }),
      bytes,
      bytes,
      (rows, to, unread, token, digest) => {
        const columns = {
          keys: rows.map(({ key }) => key),
          records: rows.map(({ record }) => record),
        };
        const ofReplica = v1.RangePage.encode({
          ...columns,
          scannedTo: to,
          corrupt: unread,
          digest,
        }).finish();
        expect(
          Buffer.compare(
            written(
              replicaPageBody({
                kind: 'page',
                entries: rows,
                corrupt: unread,
                scannedTo: to,
                digest,
              }),
            ),
            ofReplica,
          ),
        ).toBe(0);
        const ofNode = v1.RangePage.encode({ ...columns, token }).finish();
        expect(
          Buffer.compare(written(nodePageBody({ kind: 'page', entries: rows, token })), ofNode),
        ).toBe(0);
      },
    ),
    { seed: 17, numRuns: 200 },
  );
});
