import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { storeErrorOf } from '../../src/io/level-error.js';
import { levelStoreOpener, openLevelStore } from '../../src/io/level-store.js';
import { StoreError } from '../../src/io/store.js';

const KEY = Buffer.from('key');
const VALUE = Buffer.from('value');

const keyOf = (i: number) => Buffer.from(`k${String(i).padStart(5, '0')}`);

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

  test('is made with the folders above it', async () => {
    const deep = join(folder, 'a', 'b', 'c');
    const store = await openLevelStore(deep);
    await store.close();
    expect(await readdir(deep)).toContain('CURRENT');
  });

  test.runIf(process.platform === 'linux')(
    'that the file system will not make is an error, not a wait for ever',
    async () => {
      await expect(openLevelStore('/proc/quorate/data')).rejects.toMatchObject({
        name: 'StoreError',
        message: expect.stringContaining('/proc/quorate') as string,
      });
    },
  );

  test('has no room where nothing can be written', async () => {
    const opener = levelStoreOpener(join(folder, 'removed'));
    const store = await opener.open();
    expect(await opener.hasRoom()).toBe(true);
    await rm(join(folder, 'removed'), { recursive: true });
    expect(await opener.hasRoom()).toBe(false);
    await store.close();
  });

  test('whose cursor passes over a damaged block says so at its close, and one that stops before does not', async () => {
    const opener = levelStoreOpener(folder);
    const store = await opener.open();
    const batch = store.batch();
    for (let i = 0; i < 2_000; i++) batch.put(keyOf(i), Buffer.alloc(200, i));
    await batch.commit({ sync: true });
    await store.close();
    // Opening turns the log into a table.
    await (await opener.open()).close();
    const table = join(folder, (await readdir(folder)).find((name) => name.endsWith('.ldb')) ?? '');
    const content = await readFile(table);
    content.fill(0xff, content.length >> 1, (content.length >> 1) + 40);
    await writeFile(table, content);

    const damaged = await opener.open();
    const walk = async (count: number, reverse: boolean) => {
      const cursor = damaged.cursor({ gte: keyOf(0), lt: Buffer.from('l'), reverse });
      let seen = 0;
      while (seen < count) seen += (await cursor.next(100)).length;
      await cursor.close();
    };
    for (const reverse of [false, true]) {
      await expect(walk(300, reverse)).resolves.toBeUndefined();
      await expect(walk(1_700, reverse)).rejects.toMatchObject({ reason: 'corrupt' });
    }
    await damaged.close();
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
