import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hash32 } from '../../src/core/hash.js';
import { compareRecords, headerOf } from '../../src/core/record.js';
import { encodeVersion } from '../../src/core/version.js';
import type { ReadAnswer, ReplicaFailure } from '../../src/io/peer.js';
import { choose } from '../../src/maintenance/mend.js';
import { bytes, recordOf, START_WALL_MS } from '../replica/fixtures.js';

const KEY = bytes('key');
const KEY_HASH = hash32(KEY);
const DOWN: ReplicaFailure = { kind: 'unreachable', code: 'UNAVAILABLE', message: 'down' };

const fenceAt = (atMs: number) =>
  encodeVersion({ wallMs: START_WALL_MS + atMs, logical: 0xffff, writerHi: 0, writerLo: 0 });

function found(atMs: number, fenceMs?: number): ReadAnswer {
  const record = recordOf(KEY, atMs);
  const fence = fenceMs === undefined ? {} : { fence: fenceAt(fenceMs) };
  return { kind: 'found', header: headerOf(record), record, ...fence };
}

function absent(fenceMs?: number): ReadAnswer {
  return { kind: 'absent', ...(fenceMs === undefined ? {} : { fence: fenceAt(fenceMs) }) };
}

const chosen = (answers: readonly ReadAnswer[], needed: number) =>
  choose(answers, needed, KEY_HASH);

describe('what stands in the place of a record that cannot be read', () => {
  test('is the newest of enough others, whatever the order in which they answer', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { minLength: 2, maxLength: 5 }), (stamps) => {
        const newest = recordOf(KEY, Math.max(...stamps));
        const record = chosen(
          stamps.map((atMs) => found(atMs)),
          2,
        )?.record;
        expect(record !== undefined && compareRecords(record, newest)).toBe(0);
      }),
      { seed: 4, numRuns: 50 },
    );
  });

  test('waits for as many as it takes: a failure is no answer, nor is a record that fails its checksum', () => {
    const damaged = Buffer.from(recordOf(KEY, 9));
    damaged.writeUInt8(damaged.readUInt8(30) ^ 1, 30);
    const lie: ReadAnswer = { kind: 'found', header: headerOf(damaged), record: damaged };
    for (const other of [DOWN, lie]) expect(chosen([found(1), other], 2)).toBeUndefined();
    expect(chosen([found(1), DOWN], 1)?.record).toEqual(recordOf(KEY, 1));
    expect(chosen([], 1)).toBeUndefined();
  });

  test('is nothing when all others have nothing', () => {
    expect(chosen([absent(), absent(5)], 2)).toEqual({ record: undefined });
  });

  test('is nothing that a fence has passed where there is nothing, unless its holder has committed the fence', () => {
    expect(chosen([found(4), absent(5)], 2)).toEqual({ record: undefined });
    expect(chosen([found(4, 3), absent(5)], 2)).toEqual({ record: undefined });
    expect(chosen([found(4, 5), absent(5)], 2)?.record).toEqual(recordOf(KEY, 4));
    expect(chosen([found(6), absent(5)], 2)?.record).toEqual(recordOf(KEY, 6));
    expect(chosen([found(4), found(3, 5)], 2)?.record).toEqual(recordOf(KEY, 4));
  });
});
