import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KvError } from '../../src/core/errors.js';
import { silentLog } from '../../src/io/log.js';
import { openMemoryStore } from '../../src/io/memory-store.js';
import type { Store, StoreBatch } from '../../src/io/store.js';
import { Hints, type HintBounds } from '../../src/replica/hints.js';
import { ALL_HINTS, hintKey, partsOfHint } from '../../src/replica/layout.js';
import { markOf } from '../../src/replica/owed-keys.js';
import { createVirtualTime, type VirtualTime } from '../virtual-time.js';
import { bytes } from './fixtures.js';

const SAVED_MS = 20;
const RETRIED_MS = 2_000;

interface Keeper {
  readonly hints: Hints;
  readonly time: VirtualTime;
  readonly store: Store;
  /** While true, no batch is committed. */
  fails: boolean;
  batches: number;
  readonly warned: readonly string[];
}

/** Hints over a store in memory. Another keeper over the same store is the next life of the same replica. */
async function keeperOver(store: Store, bounds?: HintBounds): Promise<Keeper> {
  const time = createVirtualTime();
  const warned: string[] = [];
  const keeper = { time, store, fails: false, batches: 0, warned };
  const change = async (fill: (batch: StoreBatch) => void): Promise<void> => {
    const batch = store.batch();
    fill(batch);
    if (keeper.fails) throw new KvError('STORE_FAILED', 'the disk is sick');
    keeper.batches++;
    await batch.commit({ sync: true });
  };
  const hints = new Hints({
    store,
    change,
    timers: time.timers,
    log: { ...silentLog, warn: (_: object, said: string) => void warned.push(said) },
    ...(bounds === undefined ? {} : { bounds }),
  });
  await time.settle();
  return Object.assign(keeper, { hints });
}

/** What is on disk, as `n2 key`. */
async function saved(store: Store): Promise<string[]> {
  const cursor = store.cursor(ALL_HINTS);
  const entries = await cursor.next(10_000);
  await cursor.close();
  return entries.map(([key]) => {
    const { target, userKey } = partsOfHint(key) ?? { target: bytes('nobody'), userKey: key };
    return `${markOf(target)} ${markOf(userKey)}`;
  });
}

function takeAll(hints: Hints, nodeId: string): string[] {
  const marks: string[] = [];
  for (let mark = hints.take(nodeId); mark !== undefined; mark = hints.take(nodeId)) {
    marks.push(mark);
  }
  return marks;
}

describe('hints', () => {
  test('are one mark for a target and key, however often it is missed', async () => {
    const { hints, time, store } = await keeperOver(openMemoryStore());
    for (let i = 0; i < 50; i++) hints.mark('n2', bytes('a'));
    hints.mark('n3', bytes('a'));
    hints.mark('n2', bytes('b'));
    await time.advance(SAVED_MS);
    expect(await saved(store)).toEqual(['n2 a', 'n2 b', 'n3 a']);
    expect(hints.status().owed).toEqual([
      { nodeId: 'n2', keys: 2 },
      { nodeId: 'n3', keys: 1 },
    ]);
  });

  test('survive a crash of their keeper once they are saved, also when they are on their way', async () => {
    const store = openMemoryStore();
    const first = await keeperOver(store);
    first.hints.mark('n2', bytes('sent'));
    first.hints.mark('n2', bytes('waits'));
    await first.time.advance(SAVED_MS);
    expect(first.hints.take('n2')).toBe('sent');
    const second = await keeperOver(store);
    expect(takeAll(second.hints, 'n2').sort()).toEqual(['sent', 'waits']);
  });

  test('leave nothing on disk once they are delivered', async () => {
    const { hints, time, store } = await keeperOver(openMemoryStore());
    for (let i = 0; i < 1_000; i++) hints.mark('n2', bytes(`key ${i}`));
    await time.advance(SAVED_MS);
    for (const mark of takeAll(hints, 'n2')) hints.settle('n2', mark);
    await time.advance(SAVED_MS);
    expect(hints.status()).toEqual({ owed: [], delivered: 1_000, dropped: 0 });
    expect(await saved(store)).toEqual([]);
  });

  test('stay when the key is missed again while it is under way, and go with the next delivery', async () => {
    const { hints, time, store } = await keeperOver(openMemoryStore());
    hints.mark('n2', bytes('a'));
    await time.advance(SAVED_MS);
    hints.take('n2');
    hints.mark('n2', bytes('a'));
    hints.settle('n2', 'a');
    await time.advance(SAVED_MS);
    expect(await saved(store)).toEqual(['n2 a']);
    expect(hints.take('n2')).toBe('a');
    hints.settle('n2', 'a');
    await time.advance(SAVED_MS);
    expect(await saved(store)).toEqual([]);
    expect(hints.status().delivered).toBe(1);
  });

  test('are saved by batches of bounded size, many in one', async () => {
    const keeper = await keeperOver(openMemoryStore());
    for (let i = 0; i < 1_000; i++) keeper.hints.mark('n2', bytes(`key ${i}`));
    await keeper.time.advance(SAVED_MS);
    expect(keeper.batches).toBe(4);
  });

  test('wait in memory while the disk fails, and are saved when it does not', async () => {
    const keeper = await keeperOver(openMemoryStore());
    keeper.fails = true;
    keeper.hints.mark('n2', bytes('a'));
    await keeper.time.advance(RETRIED_MS);
    keeper.hints.mark('n2', bytes('b'));
    keeper.fails = false;
    await keeper.time.advance(RETRIED_MS);
    expect(await saved(keeper.store)).toEqual(['n2 a', 'n2 b']);
  });

  test('that are marked durably are synced before it is said so', async () => {
    const keeper = await keeperOver(openMemoryStore());
    await keeper.hints.markDurably('n2', [bytes('a'), bytes('b')]);
    expect(await saved(keeper.store)).toEqual(['n2 a', 'n2 b']);
    keeper.fails = true;
    await expect(keeper.hints.markDurably('n2', [bytes('c')])).rejects.toBeInstanceOf(KvError);
    expect(keeper.hints.isOwed('n2', bytes('c'))).toBe(true);
  });

  test('are dropped and counted beyond their bounds, on disk too', async () => {
    const store = openMemoryStore();
    const wide = await keeperOver(store);
    for (let i = 0; i < 5; i++) wide.hints.mark('n2', bytes(`${i}`));
    await wide.time.advance(SAVED_MS);

    const narrow = await keeperOver(store, { marksPerTarget: 3, bytes: 4 * 65 + 2 });
    narrow.hints.mark('n3', bytes('long'));
    narrow.hints.mark('n3', bytes('x'));
    await narrow.time.advance(SAVED_MS);
    expect(await saved(store)).toEqual(['n2 0', 'n2 1', 'n2 2', 'n3 x']);
    expect(narrow.hints.status().dropped).toBe(3);
    // Once for each target.
    expect(narrow.warned.map((said) => said.slice(0, 9))).toEqual(['n2 has mi', 'n3 has mi']);
    // A key that is owed already takes no room.
    narrow.hints.mark('n2', bytes('0'));
    expect(narrow.hints.status().dropped).toBe(3);
  });

  test('of a node that is no member go, and are counted', async () => {
    const { hints, time, store } = await keeperOver(openMemoryStore());
    hints.mark('gone', bytes('a'));
    hints.mark('n2', bytes('b'));
    await time.advance(SAVED_MS);
    hints.forsake('gone');
    await time.advance(SAVED_MS);
    expect(await saved(store)).toEqual(['n2 b']);
    expect(hints.status()).toMatchObject({ owed: [{ nodeId: 'n2', keys: 1 }], dropped: 1 });
  });

  test('that nobody wrote are passed over', async () => {
    const store = openMemoryStore();
    const batch = store.batch();
    batch.put(Uint8Array.of(4), new Uint8Array(0));
    batch.put(Uint8Array.of(4, 0, 65), new Uint8Array(0));
    batch.put(Uint8Array.of(4, 9, 65), new Uint8Array(0));
    batch.put(hintKey(bytes('n2'), bytes('a')), new Uint8Array(0));
    await batch.commit({ sync: true });
    const { hints } = await keeperOver(store);
    expect(hints.targets()).toEqual(['n2']);
  });

  test('are saved by a stop', async () => {
    const { hints, store } = await keeperOver(openMemoryStore());
    hints.mark('n2', bytes('a'));
    await hints.stop();
    expect(await saved(store)).toEqual(['n2 a']);
  });

  test('keep any bytes of a key', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 64 }), async (key) => {
        const store = openMemoryStore();
        const first = await keeperOver(store);
        first.hints.mark('n2', key);
        await first.time.advance(SAVED_MS);
        const { hints } = await keeperOver(store);
        expect(hints.take('n2')).toBe(markOf(key));
        expect(hints.isOwed('n2', key)).toBe(true);
      }),
      { seed: 2, numRuns: 50 },
    );
  });

  test('in memory and on disk are the same once saved, and nothing missed since it was taken is lost, whatever happens', async () => {
    const step = fc.record({
      what: fc.constantFrom(
        'mark',
        'durably',
        'take',
        'settle',
        'give back',
        'wait',
        'sick',
        'well',
      ),
      target: fc.constantFrom('n2', 'n3'),
      key: fc.constantFrom('a', 'b', 'c', 'd'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const keeper = await keeperOver(openMemoryStore());
        const { hints, time, store } = keeper;
        /** What must be owed: missed, and not settled since it was taken after that. */
        const owed = new Set<string>();
        const sending = new Map<string, boolean>();
        for (const { what, target, key } of steps) {
          const name = `${target} ${key}`;
          if (what === 'mark' || what === 'durably') {
            owed.add(name);
            if (sending.has(name)) sending.set(name, true);
            if (what === 'mark') hints.mark(target, bytes(key));
            else await hints.markDurably(target, [bytes(key)]).catch(() => {});
          } else if (what === 'take') {
            const mark = hints.take(target);
            if (mark !== undefined) sending.set(`${target} ${mark}`, false);
          } else if (what === 'settle' && sending.has(name)) {
            hints.settle(target, key);
            if (sending.get(name) === false) owed.delete(name);
            sending.delete(name);
          } else if (what === 'give back' && sending.has(name)) {
            hints.giveBack(target, key);
            sending.delete(name);
          } else if (what === 'wait') {
            await time.advance(5);
          } else if (what === 'sick' || what === 'well') {
            keeper.fails = what === 'sick';
          }
          expect(hints.owed).toBe(owed.size);
        }
        keeper.fails = false;
        await time.advance(RETRIED_MS);
        expect(await saved(store)).toEqual([...owed].sort());
      }),
      { seed: 3, numRuns: 300 },
    );
  });
});
