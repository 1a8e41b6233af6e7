import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { levelStoreOpener, openLevelStore, storeErrorOf } from '../../src/io/level-store.js';
import { StoreError } from '../../src/io/store.js';

const KEY = Buffer.from('key');
const VALUE = Buffer.from('value');

describe('the folder of a LevelDB store', () => {
  let folder = '';

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'quorate-level-'));
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  test('keeps what was committed when it is opened again', async () => {
    const opener = levelStoreOpener(folder);
    expect(await opener.hasRoom()).toBe(true);
    const store = await opener.open();
    await store.batch().put(KEY, VALUE).commit({ sync: true });
    await store.close();
    const again = await opener.open();
    expect(await again.get(KEY)).toEqual(VALUE);
    await again.close();
  });

  test('has no room where nothing can be written', async () => {
    const opener = levelStoreOpener(join(folder, 'removed'));
    const store = await opener.open();
    expect(await opener.hasRoom()).toBe(true);
    await rm(join(folder, 'removed'), { recursive: true });
    expect(await opener.hasRoom()).toBe(false);
    await store.close();
  });

  test('is opened by one at a time', async () => {
    const store = await openLevelStore(folder);
    await expect(openLevelStore(folder)).rejects.toMatchObject({ reason: 'locked' });
    await store.close();
  });

  test('that has lost the end of its list of files is corrupt', async () => {
    const store = await openLevelStore(folder);
    await store.batch().put(KEY, VALUE).commit({ sync: true });
    await store.close();
    await truncate(join(folder, 'CURRENT'), 3);
    await expect(openLevelStore(folder)).rejects.toMatchObject({ reason: 'corrupt' });
  });

  test('that is a file cannot be opened, and the error says where', async () => {
    const path = join(folder, 'file');
    await writeFile(path, '');
    const failure = await openLevelStore(path).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(StoreError);
    expect((failure as StoreError).message).toContain(path);
  });
});

describe('the reason of a store error', () => {
  test.each([
    ['full', 'IO error: data/000003.log: No space left on device'],
    ['full', "ENOSPC: no space left on device, mkdir 'data'"],
    ['full', 'IO error: data/000003.log: Disk quota exceeded'],
    ['read-only', 'IO error: data/LOCK: Read-only file system'],
    ['read-only', 'IO error: data/LOCK: Permission denied'],
    ['corrupt', 'Corruption: bad block contents'],
    ['failed', 'IO error: data/000003.log: Input/output error'],
  ])('is %s for "%s"', (reason, message) => {
    const wrapped = new Error('Database is not open', { cause: new Error(message) });
    const error = storeErrorOf(wrapped, 'cannot open data');
    expect(error.reason).toBe(reason);
    expect(error.message).toContain(message);
    expect(error.cause).toBe(wrapped);
  });

  test('is given once: a StoreError stays as it is', () => {
    const error = new StoreError('full', 'no room');
    expect(storeErrorOf(error, 'again')).toBe(error);
  });
});
