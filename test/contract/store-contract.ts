import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { compareKeys } from '../../src/core/key-range.js';
import { StoreError, type Store, type StoreEntry, type StoreRange } from '../../src/io/store.js';

/** The longest range of keys that the suite uses. */
const ALL = { gte: Buffer.alloc(0), lt: Buffer.alloc(8, 0xff) };

/** What every store promises. `open` gives a fresh, empty one each time; `dispose` removes what it left. */
export function describeStore(
  name: string,
  open: () => Promise<Store>,
  dispose: () => Promise<void>,
): void {
  describe(name, () => {
    let store: Store;

    beforeEach(async () => {
      store = await open();
    });

    afterEach(async () => {
      await store.close();
      await dispose();
    });

    const put = (...keys: string[]) => {
      const batch = store.batch();
      for (const key of keys) batch.put(bytes(key), bytes(`value of ${key}`));
      return batch.commit({ sync: true });
    };

    const scan = async (range: StoreRange, count = 3) => {
      const cursor = store.cursor(range);
      const entries: StoreEntry[] = [];
      try {
        for (;;) {
          const some = await cursor.next(count);
          if (some.length === 0) return entries;
          expect(some.length).toBeLessThanOrEqual(count);
          entries.push(...some);
        }
      } finally {
        await cursor.close();
      }
    };

    const keysOf = async (range: StoreRange) => (await scan(range)).map(([key]) => text(key));

    test('what was put is read back, and what was not is undefined', async () => {
      await put('a');
      expect(text(await store.get(bytes('a')))).toBe('value of a');
      expect(await store.get(bytes('b'))).toBeUndefined();
    });

    test('a later put replaces the value, and a delete removes the key', async () => {
      await put('a', 'b');
      await store.batch().put(bytes('a'), bytes('new')).del(bytes('b')).commit({ sync: true });
      expect(text(await store.get(bytes('a')))).toBe('new');
      expect(await store.get(bytes('b'))).toBeUndefined();
    });

    test('getMany answers in the order of its keys, repeated and absent ones included', async () => {
      await put('a', 'b');
      const values = await store.getMany(['b', 'none', 'a', 'b'].map(bytes));
      expect(values.map((value) => value && text(value))).toEqual([
        'value of b',
        undefined,
        'value of a',
        'value of b',
      ]);
      expect(await store.getMany([])).toEqual([]);
    });

    test('within a batch the last word on a key counts', async () => {
      await store
        .batch()
        .put(bytes('a'), bytes('1'))
        .del(bytes('a'))
        .put(bytes('a'), bytes('2'))
        .put(bytes('b'), bytes('1'))
        .del(bytes('b'))
        .commit({ sync: false });
      expect(await keysOf(ALL)).toEqual(['a']);
      expect(text(await store.get(bytes('a')))).toBe('2');
    });

    test('a batch shows nothing before it is committed, and nothing ever when it is discarded', async () => {
      const batch = store.batch().put(bytes('a'), bytes('1')).del(bytes('b'));
      expect(batch.length).toBe(2);
      expect(await store.get(bytes('a'))).toBeUndefined();
      await batch.discard();
      expect(await keysOf(ALL)).toEqual([]);
    });

    test('an empty batch commits', async () => {
      const batch = store.batch();
      expect(batch.length).toBe(0);
      await batch.commit({ sync: true });
      expect(await keysOf(ALL)).toEqual([]);
    });

    test('bytes may be changed by the caller once the commit is done', async () => {
      const key = bytes('a');
      const value = bytes('1');
      await store.batch().put(key, value).commit({ sync: true });
      key.fill(0);
      value.fill(0);
      const read = await store.get(bytes('a'));
      expect(text(read)).toBe('1');
      read?.fill(0);
      expect(text(await store.get(bytes('a')))).toBe('1');
    });

    test('a range holds its lower bound, not its upper one, and reads the same backwards', async () => {
      await put('a', 'b', 'ba', 'c', 'd');
      const range = { gte: bytes('b'), lt: bytes('d') };
      expect(await keysOf(range)).toEqual(['b', 'ba', 'c']);
      expect(await keysOf({ ...range, reverse: true })).toEqual(['c', 'ba', 'b']);
      expect(await keysOf({ gte: bytes('bb'), lt: bytes('bz') })).toEqual([]);
      expect(await keysOf({ gte: bytes('d'), lt: bytes('b') })).toEqual([]);
    });

    test('a cursor without values gives keys with empty values', async () => {
      await put('a', 'b');
      const entries = await scan({ ...ALL, values: false });
      expect(entries.map(([key]) => text(key))).toEqual(['a', 'b']);
      expect(entries.every(([, value]) => value.length === 0)).toBe(true);
    });

    test('a cursor sees the moment it was made, whatever is committed afterwards', async () => {
      await put('a', 'b', 'c');
      const cursor = store.cursor(ALL);
      await store
        .batch()
        .del(bytes('b'))
        .put(bytes('c'), bytes('new'))
        .put(bytes('d'), bytes('new'))
        .commit({ sync: true });
      const entries: StoreEntry[] = [];
      for (let some = await cursor.next(2); some.length > 0; some = await cursor.next(2)) {
        entries.push(...some);
      }
      await cursor.close();
      expect(entries.map(([key, value]) => [text(key), text(value)])).toEqual(
        ['a', 'b', 'c'].map((key) => [key, `value of ${key}`]),
      );
      expect(await keysOf(ALL)).toEqual(['a', 'c', 'd']);
    });

    test('a cursor gives keys that are no text among those that are, each once, of one moment', async () => {
      const keys = ['61', '6180', '62', '62efbfbd', '63', 'c3a9', 'eda080', 'f0908080', 'ff'];
      const first = store.batch();
      for (const key of keys) first.put(Buffer.from(key, 'hex'), bytes('old'));
      await first.commit({ sync: true });
      for (const count of [1, 2, 100]) {
        for (const reverse of [false, true]) {
          const cursor = store.cursor({ gte: bytes('a'), lt: Buffer.from('ffff', 'hex'), reverse });
          await store.batch().put(Buffer.from('ff00', 'hex'), bytes('new')).commit({ sync: true });
          const seen: string[] = [];
          for (let some = await cursor.next(count); some.length > 0;) {
            expect(some.length).toBeLessThanOrEqual(count);
            for (const [key, value] of some) {
              seen.push(Buffer.from(key).toString('hex'));
              expect(text(value)).toBe('old');
            }
            some = await cursor.next(count);
          }
          await cursor.close();
          await store.batch().del(Buffer.from('ff00', 'hex')).commit({ sync: true });
          expect(seen).toEqual(reverse ? keys.toReversed() : keys);
        }
      }
    });

    test('a cursor at its end stays there', async () => {
      await put('a');
      const cursor = store.cursor(ALL);
      expect(await cursor.next(5)).toHaveLength(1);
      expect(await cursor.next(5)).toHaveLength(0);
      expect(await cursor.next(5)).toHaveLength(0);
      await cursor.close();
    });

    test('values may be empty or large', async () => {
      const large = Buffer.alloc(1_200_000, 7);
      await store
        .batch()
        .put(bytes('empty'), Buffer.alloc(0))
        .put(bytes('large'), large)
        .commit({ sync: true });
      expect(await store.get(bytes('empty'))).toHaveLength(0);
      expect(Buffer.compare((await store.get(bytes('large'))) as Uint8Array, large)).toBe(0);
      expect(await scan(ALL)).toHaveLength(2);
    });

    test('sizeBytes grows with what is stored', async () => {
      const before = await store.sizeBytes();
      await store.batch().put(bytes('large'), Buffer.alloc(100_000, 7)).commit({ sync: true });
      expect(await store.sizeBytes()).toBeGreaterThanOrEqual(before + 100_000);
    });

    test('a closed store refuses everything with a StoreError; closing twice is harmless', async () => {
      await put('a');
      const cursor = store.cursor(ALL);
      const batch = store.batch().put(bytes('b'), bytes('1'));
      await store.close();
      await store.close();
      await expect(store.get(bytes('a'))).rejects.toThrow(StoreError);
      await expect(store.getMany([bytes('a')])).rejects.toThrow(StoreError);
      await expect(cursor.next(1)).rejects.toThrow(StoreError);
      await expect(batch.commit({ sync: true })).rejects.toThrow(StoreError);
      expect(() => store.batch()).toThrow(StoreError);
      expect(() => store.cursor(ALL)).toThrow(StoreError);
    });

    test('any history of batches leaves what a sorted map would hold, in the order of bytes', async () => {
      const key = fc.uint8Array({ minLength: 1, maxLength: 3 });
      const change = fc.record({ key, value: fc.option(fc.uint8Array({ maxLength: 4 })) });
      const history = fc.array(fc.array(change, { maxLength: 8 }), { maxLength: 6 });
      await fc.assert(
        fc.asyncProperty(history, key, key, fc.boolean(), async (batches, a, b, reverse) => {
          const model = new Map<string, StoreEntry>();
          for (const [oldKey] of await scan(ALL)) {
            await store.batch().del(oldKey).commit({ sync: false });
          }
          for (const changes of batches) {
            const batch = store.batch();
            for (const { key: at, value } of changes) {
              if (value === null) {
                batch.del(at);
                model.delete(hex(at));
              } else {
                batch.put(at, value);
                model.set(hex(at), [at, value]);
              }
            }
            await batch.commit({ sync: false });
          }
          const [gte, lt] = compareKeys(a, b) <= 0 ? [a, b] : [b, a];
          const expected = [...model.values()]
            .filter(([at]) => compareKeys(at, gte) >= 0 && compareKeys(at, lt) < 0)
            .sort(([x], [y]) => compareKeys(x, y));
          if (reverse) expected.reverse();
          const found = await scan({ gte, lt, reverse });
          expect(found.map(([at, value]) => [hex(at), hex(value)])).toEqual(
            expected.map(([at, value]) => [hex(at), hex(value)]),
          );
        }),
        { seed: 7, numRuns: 40 },
      );
    });
  });
}

function bytes(value: string): Buffer {
  return Buffer.from(value, 'utf8');
}

function text(value: Uint8Array | undefined): string | undefined {
  return value === undefined ? undefined : Buffer.from(value).toString('utf8');
}

function hex(value: Uint8Array): string {
  return Buffer.from(value).toString('hex');
}
