import fc from 'fast-check';
import { encodeLedger, type AnsweredRequest } from '../../src/core/ledger.js';
import type { RecordFields } from '../../src/core/record.js';
import { MAX_LOGICAL, MAX_WALL_MS, type Version } from '../../src/core/version.js';

/** Every law runs on the same cases each time; a failure names the smallest case that breaks it. */
export const LAW = { seed: 20_140_712, numRuns: 300 } as const;

/** Mostly small and extreme numbers, so that ties and carries are common. */
function upTo(max: number): fc.Arbitrary<number> {
  return fc.oneof(
    fc.constantFrom(0, 1, 0xff, max - 1, max),
    fc.integer({ min: 0, max: Math.min(max, 3) }),
    fc.integer({ min: 0, max }),
  );
}

export const versions: fc.Arbitrary<Version> = fc.record({
  wallMs: fc.oneof(upTo(MAX_WALL_MS), fc.constantFrom(0xffff_ffff, 0x1_0000_0000)),
  logical: upTo(MAX_LOGICAL),
  writerHi: upTo(0xffff_ffff),
  writerLo: upTo(0xffff_ffff),
});

/** Keys of few different bytes: prefixes, neighbours and the ends of the range come often. */
export const keys: fc.Arbitrary<Uint8Array> = fc.uint8Array({ maxLength: 6 }).chain((bytes) =>
  fc.constantFrom(
    bytes,
    bytes.map((byte) => (byte < 128 ? 0 : 255)),
  ),
);

const answeredRequests: fc.Arbitrary<AnsweredRequest> = fc.record({
  id: versions,
  result: fc.integer({ min: 0, max: 255 }),
  version: versions,
});

const ledgers: fc.Arbitrary<Uint8Array> = fc
  .tuple(versions, fc.array(answeredRequests, { maxLength: 4 }))
  .map(([floor, answered]) => new Uint8Array(encodeLedger(floor, answered)));

/** Every combination of optional fields. */
export const recordFields: fc.Arbitrary<RecordFields> = fc
  .record(
    {
      version: versions,
      tombstone: fc.boolean(),
      value: fc.uint8Array({ maxLength: 80 }),
      expiresAtMs: upTo(MAX_WALL_MS),
      changed: versions,
      ledger: ledgers,
      leased: fc.boolean(),
    },
    { requiredKeys: ['version', 'tombstone', 'leased', 'value'] },
  )
  .map((fields) => (fields.tombstone ? { ...fields, value: new Uint8Array(0) } : fields));
