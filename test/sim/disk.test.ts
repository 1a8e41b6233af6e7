import { describe, expect, test } from 'vitest';
import { StoreError, type Store } from '../../src/io/store.js';
import { describeStore } from '../contract/store-contract.js';
import { SimDisk, type DiskUser } from './disk.js';
import { createStream } from './seed.js';

/** Everything takes one turn: what a disk does and not how long it takes. */
const AT_ONCE: DiskUser = { alive: true, post: (_, action) => setImmediate(action) };

const ALL = { gte: Uint8Array.of(0), lt: Uint8Array.of(0xff) };

function newDisk(seed = 1): SimDisk {
  return new SimDisk(createStream(seed, 'disk'), { syncMs: 1, readMs: 1, walkMs: 1, openMs: 1 });
}

describeStore(
  'the simulated store',
  () => newDisk().opener(AT_ONCE).open(),
  async () => {},
);

function put(store: Store, key: string, sync: boolean): Promise<void> {
  return store.batch().put(Buffer.from(key), Buffer.from('1')).commit({ sync });
}

function keysOn(disk: SimDisk): string {
  return disk
    .entries(ALL)
    .map(([key]) => Buffer.from(key).toString())
    .join('');
}

describe('a simulated disk', () => {
  test('keeps what was synced, and of the rest a prefix, when the power fails', async () => {
    const left = new Set<string>();
    for (let seed = 1; seed <= 40; seed++) {
      const disk = newDisk(seed);
      const store = await disk.opener(AT_ONCE).open();
      await put(store, 'a', true);
      await put(store, 'b', false);
      await put(store, 'c', false);
      void put(store, 'd', true);
      disk.crash(true);
      left.add(keysOn(disk));
    }
    expect([...left].sort()).toEqual(['a', 'ab', 'abc', 'abcd']);
  });

  test('loses nothing that was answered when only the process dies', async () => {
    const left = new Set<string>();
    for (let seed = 1; seed <= 20; seed++) {
      const disk = newDisk(seed);
      const store = await disk.opener(AT_ONCE).open();
      await put(store, 'a', false);
      void put(store, 'b', true);
      disk.crash(false);
      left.add(keysOn(disk));
    }
    expect([...left].sort()).toEqual(['a', 'ab']);
  });

  test('takes a batch whole or not at all', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const disk = newDisk(seed);
      const store = await disk.opener(AT_ONCE).open();
      const batch = store.batch();
      for (const key of ['a', 'b', 'c']) batch.put(Buffer.from(key), Buffer.from('1'));
      void batch.commit({ sync: true });
      disk.crash(true);
      expect(['', 'abc']).toContain(keysOn(disk));
    }
  });

  test('takes nothing after a failed commit until it is opened again, and then it is there or not', async () => {
    const left = new Set<string>();
    for (let seed = 1; seed <= 20; seed++) {
      const disk = newDisk(seed);
      const opener = disk.opener(AT_ONCE);
      const store = await opener.open();
      disk.failureChance = 1;
      await expect(put(store, 'a', true)).rejects.toThrow(StoreError);
      disk.failureChance = 0;
      await expect(put(store, 'b', true)).rejects.toThrow(StoreError);
      expect(await store.get(Buffer.from('a'))).toBeUndefined();
      await store.close();
      await opener.open();
      left.add(keysOn(disk));
    }
    expect([...left].sort()).toEqual(['', 'a']);
  });

  test('is open once at a time, is let go of by a crash, and says when it is full', async () => {
    const disk = newDisk();
    const opener = disk.opener(AT_ONCE);
    const store = await opener.open();
    await expect(opener.open()).rejects.toMatchObject({ reason: 'locked' });
    disk.full = true;
    await expect(put(store, 'a', true)).rejects.toMatchObject({ reason: 'full' });
    expect(await opener.hasRoom()).toBe(false);
    disk.crash(false);
    await expect(opener.open()).rejects.toMatchObject({ reason: 'full' });
    disk.full = false;
    await opener.open();
  });

  test('flips one bit of one value, and knows which until the value is written again', async () => {
    const disk = newDisk();
    const store = await disk.opener(AT_ONCE).open();
    await put(store, 'a', true);
    expect(Buffer.from(disk.flipBit(() => true)?.[0] ?? []).toString()).toBe('a');
    expect(Buffer.from((await store.get(Buffer.from('a'))) ?? []).toString()).not.toBe('1');
    expect(disk.flippedKeys()).toHaveLength(1);
    expect(disk.flipBit(() => true)).toBeUndefined();
    await put(store, 'a', true);
    expect(disk.flippedKeys()).toHaveLength(0);
  });

  test('can be put back to what it was', async () => {
    const disk = newDisk();
    const store = await disk.opener(AT_ONCE).open();
    await put(store, 'a', true);
    const backup = disk.backup();
    await put(store, 'b', true);
    disk.crash(false);
    disk.restore(backup);
    expect(keysOn(disk)).toBe('a');
    disk.restore();
    expect(keysOn(disk)).toBe('');
  });
});
