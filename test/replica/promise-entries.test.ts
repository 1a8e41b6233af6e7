import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { NO_FENCE, type FenceState } from '../../src/core/fence.js';
import { hash32 } from '../../src/core/hash.js';
import { partitionOf, PARTITIONS } from '../../src/core/placement.js';
import { openMemoryStore } from '../../src/io/memory-store.js';
import type { HeldKey } from '../../src/replica/apply.js';
import { promisesKey, recordKey } from '../../src/replica/layout.js';
import { YOUNG_ENTRIES } from '../../src/replica/promise-entries.js';
import { Promises } from '../../src/replica/promises.js';
import { loadPromises, sealPromises } from '../../src/replica/stored-promises.js';
import { bytes, recordOf } from './fixtures.js';
import { atOf, ballotAt, entriesIn, KEYS } from './promise-fixtures.js';

describe('entries of promises', () => {
  test('take no more room than those that are live twice, and a few commits, whoever is given up and for how long', async () => {
    const commit = fc.record({
      made: fc.nat({ max: 40 }),
      /** Of how many in ten nothing becomes. */
      givenUp: fc.constantFrom(0, 1, 1, 1, 1, 1, 1, 9),
    });
    const commits = fc.array(commit, { minLength: 80, maxLength: 100 });
    await fc.assert(
      fc.asyncProperty(commits, fc.nat({ max: 40 }), async (wanted, restartAt) => {
        const store = openMemoryStore();
        let promises = new Promises();
        let underWay: Buffer[] = [];
        let next = 0;
        const write = async (fulfilled: readonly Buffer[]): Promise<void> => {
          const batch = store.batch();
          for (const key of fulfilled) batch.put(recordKey(key), recordOf(key, 10));
          promises.write(batch);
          await batch.commit({ sync: true });
          promises.written();
          for (const key of fulfilled) promises.fulfilled(heldOf(key), recordOf(key, 10));
        };
        const restart = async (): Promise<void> => {
          const { size } = promises;
          promises = new Promises(await loadPromises(store, []));
          expect(promises.size).toBe(size);
        };
        const given: Buffer[] = [];
        for (const [at, { made, givenUp }] of wanted.entries()) {
          given.push(...underWay.filter((_, i) => i % 10 < givenUp));
          const followed = underWay.filter((_, i) => i % 10 >= givenUp);
          underWay = Array.from({ length: made }, () => bytes(`key ${next++}`));
          for (const key of underWay) promises.raise(key, hash32(key), ballotAt(10));
          await write(followed);
          if (at === restartAt) await restart();
        }
        // What is to be written anew goes with the next batch, and what that voids with the one after it.
        const expectRoom = async (young: number): Promise<void> => {
          await write([]);
          await write([]);
          const sizes = (await loadPromises(store, [])).map(({ size }) => size);
          const size = sizes.reduce((sum, one) => sum + one, 0);
          expect(size).toBeLessThanOrEqual(2 * promises.size + young);
          expect(sizes.length).toBeLessThanOrEqual(promises.size);
        };
        await expectRoom(YOUNG_ENTRIES * 40);
        // None is young at a start.
        await restart();
        await expectRoom(0);
        for (let i = 0; i < YOUNG_ENTRIES; i++) {
          promises.raise(bytes(`key ${next}`), hash32(bytes(`key ${next++}`)), ballotAt(10));
          await write([]);
        }
        await write(given.filter((_, i) => i % 10 > 0));
        await expectRoom(YOUNG_ENTRIES);
      }),
      { numRuns: 8, seed: 4 },
    );
  });

  test('that a fence passes while their batch is under way go with the next one', async () => {
    const store = openMemoryStore();
    const promises = new Promises();
    const [key] = KEYS as [Buffer];
    promises.raise(key, hash32(key), ballotAt(10));
    for (const passed of [true, false]) {
      const batch = store.batch();
      promises.write(batch);
      if (passed) promises.drop(partitionOf(hash32(key)), ballotAt(10));
      await batch.commit({ sync: true });
      promises.written();
      expect(await entriesIn(store)).toHaveLength(passed ? 1 : 0);
    }
  });

  test('are at a start the highest of each key, with the doubt of that one', () => {
    const [key] = KEYS as [Buffer];
    const keyHash = hash32(key);
    const entry = (number: number, atMs: number, isInDoubt: boolean) => {
      return { number, size: 1, promises: [{ key, ballot: ballotAt(atMs), isInDoubt }] };
    };
    const risen = new Promises([entry(1, 10, true), entry(2, 20, false)]);
    expect([atOf(risen.of(key, keyHash)), risen.judgeHeld({ key, keyHash })]).toEqual([
      20,
      undefined,
    ]);
    const fallen = new Promises([entry(1, 20, true), entry(2, 10, false)]);
    expect(atOf(fallen.of(key, keyHash))).toBe(20);
    expect(fallen.judgeHeld({ key, keyHash })).toMatchObject({ kind: 'refused' });
    // A round for what is in doubt is due at once.
    expect([risen.unsettled(1).length, fallen.unsettled(1).length]).toEqual([0, 1]);
  });

  test('are all found again where more of them come at once than go into an entry', async () => {
    const store = openMemoryStore();
    const promises = new Promises();
    const keys = Array.from({ length: 2_100 }, (_, i) => bytes(`key ${i}`));
    for (const key of keys) promises.raise(key, hash32(key), ballotAt(10));
    const batch = store.batch();
    promises.write(batch);
    await batch.commit({ sync: true });
    const entries = await loadPromises(store, []);
    expect(entries.map(({ size }) => size)).toEqual([1_024, 1_024, 52]);
    const after = new Promises(entries);
    expect(keys.every((key) => after.of(key, hash32(key)) !== undefined)).toBe(true);
  });

  test('are void, and not taken into memory, where what is held is as high or a fence is', async () => {
    const store = openMemoryStore();
    const [held, fenced, live, damaged] = KEYS as [Buffer, Buffer, Buffer, Buffer];
    const promises = KEYS.map((key) => ({ key, ballot: ballotAt(10) }));
    const broken = Buffer.from(recordOf(damaged, 10));
    broken[broken.length - 1] = 0xff;
    await store
      .batch()
      .put(promisesKey(7), sealPromises(7, promises))
      .put(recordKey(held), recordOf(held, 10))
      .put(recordKey(live), recordOf(live, 9))
      .put(recordKey(damaged), broken)
      .commit({ sync: true });
    const fence = ballotAt(10);
    // What is not committed may yet be released.
    const sealed = { promised: fence, sealed: fence, committed: NO_FENCE };
    const fences: FenceState[] = Array.from({ length: PARTITIONS }, () => sealed);
    fences[partitionOf(hash32(fenced))] = { ...sealed, committed: fence };
    const [entry] = await loadPromises(store, fences);
    expect(entry).toMatchObject({ number: 7, size: 4 });
    expect(entry?.promises.map(({ key }) => Buffer.from(key))).toEqual([live, damaged]);
  });

  test('that fail their checksum are no promises, and said', async () => {
    const store = openMemoryStore();
    const sealed = Buffer.from(sealPromises(1, [{ key: bytes('k'), ballot: ballotAt(10) }]));
    sealed[9] = (sealed[9] as number) ^ 1;
    await store.batch().put(promisesKey(1), sealed).commit({ sync: true });
    await expect(loadPromises(store, [])).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining('a promise of a ballot fails its checksum') as unknown,
    });
  });
});

function heldOf(key: Buffer): HeldKey {
  const keyHash = hash32(key);
  const nothing = { next: undefined, stored: undefined, failure: undefined, winner: undefined };
  return { key, keyHash, storeKey: recordKey(key), ...nothing };
}
