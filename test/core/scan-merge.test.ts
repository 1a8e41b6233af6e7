import fc from 'fast-check';
import { expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { compareKeys } from '../../src/core/key-range.js';
import { PARTITIONS, partitionOf } from '../../src/core/placement.js';
import { compareRecords, encodeRecord, headerOf } from '../../src/core/record.js';
import { mergePages, type MergePage } from '../../src/core/scan-merge.js';
import { ZERO_VERSION } from '../../src/core/version.js';

const KEYS = Array.from({ length: 12 }, (_, i) => Buffer.from(`key-${String(i).padStart(2, '0')}`));

function recordOf(key: Uint8Array, version: number): Uint8Array {
  return encodeRecord(key, {
    version: { ...ZERO_VERSION, wallMs: version },
    tombstone: version === 3,
    value: Buffer.from(`v${version}`),
  });
}

interface Node {
  /** By key: its version, 0 for none, -1 for a record that the node cannot read. */
  readonly held: readonly number[];
  /** How many keys it has looked at; all when larger than there are. */
  readonly looked: number;
}

const scans = fc.record({
  nodes: fc.array(
    fc.record({
      held: fc.array(fc.integer({ min: -1, max: 4 }), { minLength: 12, maxLength: 12 }),
      looked: fc.integer({ min: 1, max: 16 }),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  copies: fc.integer({ min: 1, max: 3 }),
  reverse: fc.boolean(),
  wholeRecords: fc.boolean(),
});

/** Which nodes answer for a partition: by turns, so that different partitions have different ones. */
function assignedOf(nodes: number, copies: number): number[][] {
  return Array.from({ length: PARTITIONS }, (_, partition) =>
    Array.from({ length: Math.min(copies, nodes) }, (_unused, i) => (partition + i) % nodes),
  );
}

function pageOf(
  node: Node,
  place: number,
  assigned: readonly (readonly number[])[],
  reverse: boolean,
  wholeRecords: boolean,
): MergePage {
  const keys = reverse ? KEYS.toReversed() : KEYS;
  const seen = keys.slice(0, node.looked);
  const entries: { key: Uint8Array; record: Uint8Array }[] = [];
  const corrupt: Uint8Array[] = [];
  for (const key of seen) {
    const answering = assigned[partitionOf(hash32(key))] ?? [];
    const version = node.held[KEYS.indexOf(key)] as number;
    if (!answering.includes(place) || version === 0) continue;
    const record = recordOf(key, version);
    if (version === -1) corrupt.push(key);
    else {
      const whole = wholeRecords && answering[0] === place;
      entries.push({ key, record: whole ? record : headerOf(record) });
    }
  }
  const last = seen.at(-1);
  return node.looked < keys.length && last !== undefined
    ? { entries, corrupt, checked: place === 0, scannedTo: last }
    : { entries, corrupt, checked: place === 0 };
}

test('a merge agrees with its dumb twin: up to the least that any node has come, key by key', () => {
  fc.assert(
    fc.property(scans, ({ nodes, copies, reverse, wholeRecords }) => {
      const assigned = assignedOf(nodes.length, copies);
      const pages = nodes.map((node, place) =>
        pageOf(node, place, assigned, reverse, wholeRecords),
      );
      const merged = mergePages(pages, assigned, reverse, wholeRecords);

      const keys = reverse ? KEYS.toReversed() : KEYS;
      const least = Math.min(...nodes.map(({ looked }) => looked));
      expect(merged.scannedTo).toEqual(least < keys.length ? keys[least - 1] : undefined);
      const expected = keys.slice(0, least).flatMap((key) => {
        const answering = assigned[partitionOf(hash32(key))] as number[];
        const versions = answering.map((place) => nodes[place]?.held[KEYS.indexOf(key)] as number);
        if (versions.every((version) => version === 0)) return [];
        const newest = Math.max(...versions);
        return [
          {
            key: key.toString(),
            newest: newest > 0 ? newest : undefined,
            whole: wholeRecords && newest > 0 && versions[0] === newest,
            agreed: newest > 0 && versions.every((version) => version === newest),
            corrupt: versions.includes(-1),
          },
        ];
      });
      const told = merged.keys.map(({ key, newest, whole, agreed, corrupt }) => ({
        key: Buffer.from(key).toString(),
        newest:
          newest === undefined
            ? undefined
            : [1, 2, 3, 4].find((v) => compareRecords(recordOf(key, v), newest) === 0),
        whole,
        agreed,
        corrupt,
      }));
      expect(told).toEqual(expected);
      for (const { key, newest, whole } of merged.keys) {
        if (whole && newest !== undefined) {
          expect([1, 2, 3, 4].some((v) => compareKeys(recordOf(key, v), newest) === 0)).toBe(true);
        }
      }
    }),
    { seed: 11, numRuns: 500 },
  );
});

test('a whole record that fails its checksum is a key that the node cannot read', () => {
  const key = KEYS[0] as Uint8Array;
  const damaged = Uint8Array.from(recordOf(key, 2));
  damaged[damaged.length - 1] = 0;
  const assigned = assignedOf(1, 1);
  const { keys } = mergePages(
    [{ entries: [{ key, record: damaged }], corrupt: [], checked: false }],
    assigned,
    false,
    true,
  );
  expect(keys).toMatchObject([{ newest: undefined, agreed: false, corrupt: true }]);
});

test('a node is not believed about partitions that it was not asked for', () => {
  const key = KEYS[0] as Uint8Array;
  const assigned = Array.from({ length: PARTITIONS }, () => [0]);
  const stray = { entries: [{ key, record: recordOf(key, 4) }], corrupt: [key], checked: true };
  const nothing = { entries: [], corrupt: [], checked: true };
  const { keys } = mergePages([nothing, stray], assigned, false, true);
  expect(keys).toEqual([]);
});
