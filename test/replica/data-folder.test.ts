import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { levelStoreOpener } from '../../src/io/level-store.js';
import { memoryStoreOpener } from '../../src/io/memory-store.js';
import { StoreError, type StoreOpener } from '../../src/io/store.js';
import { closeDataFolder, FOLDER_FORMAT, openDataFolder } from '../../src/replica/data-folder.js';
import { recordKey } from '../../src/replica/layout.js';
import { FORMAT_KEY, IDENTITY_KEY, sealNumber } from '../../src/replica/meta.js';
import { FenceTable } from '../../src/replica/fence-table.js';
import { scanPage } from '../../src/replica/range-scan.js';
import { seededRandom } from '../seeded-random.js';
import { createVirtualTime } from '../virtual-time.js';
import { bytes, IDENTITY, recordOf, scanOf } from './fixtures.js';

const random = seededRandom(5);

const claim = (opener: StoreOpener, identity = IDENTITY) =>
  openDataFolder(opener, {
    identity,
    clock: createVirtualTime().clock,
    random,
    trustFolder: false,
  });

const put = async (opener: StoreOpener, key: Uint8Array, value: Uint8Array) => {
  const store = await opener.open();
  await store.batch().put(key, value).commit({ sync: true });
  await store.close();
};

const keyOf = (i: number) => bytes(`k${String(i).padStart(5, '0')}`);

describe('a data folder', () => {
  let disk: StoreOpener;

  beforeEach(async () => {
    disk = memoryStoreOpener();
    await closeDataFolder(await claim(disk), true);
  });

  test('is claimed when it is empty, and keeps its incarnation', async () => {
    const fresh = await claim(memoryStoreOpener());
    expect(fresh).toMatchObject({ stoppedCleanly: true, commitCounter: 0, clockBoundMs: 0 });
    const first = await claim(disk);
    await closeDataFolder(first, true);
    const second = await claim(disk);
    expect(first.incarnation).toHaveLength(8);
    expect(second.incarnation).toEqual(first.incarnation);
    expect(Uint8Array.from(fresh.incarnation)).not.toEqual(Uint8Array.from(first.incarnation));
  });

  test('knows after a stop whether it was a clean one', async () => {
    const clean = await claim(disk);
    expect(clean.stoppedCleanly).toBe(true);
    // A crash: closed without the mark.
    await closeDataFolder(clean, false);
    const crashed = await claim(disk);
    expect(crashed.stoppedCleanly).toBe(false);
    await closeDataFolder(crashed, true);
    expect((await claim(disk)).stoppedCleanly).toBe(true);
  });

  test('of another cluster is refused, and both names are said', async () => {
    await expect(
      claim(disk, { ...IDENTITY, clusterId: 'c-2', clusterName: 'towns' }),
    ).rejects.toMatchObject({
      code: 'WRONG_CLUSTER',
      outcome: 'none',
      message: expect.stringMatching(/'cities'.*'towns'/) as unknown,
    });
    await expect(claim(disk, { ...IDENTITY, clusterId: 'c-2' })).rejects.toMatchObject({
      code: 'WRONG_CLUSTER',
      message: expect.stringContaining('another member list') as unknown,
    });
  });

  test('of another node is refused, and both names are said', async () => {
    await expect(claim(disk, { ...IDENTITY, nodeId: 'n2' })).rejects.toMatchObject({
      code: 'WRONG_CLUSTER',
      message: expect.stringMatching(/'n1'.*'n2'/) as unknown,
    });
  });

  test('is still the node it was after it has refused others', async () => {
    await expect(claim(disk, { ...IDENTITY, nodeId: 'n2' })).rejects.toThrow();
    expect((await claim(disk)).stoppedCleanly).toBe(true);
  });

  test('of an unknown format is refused, and both formats are said', async () => {
    await put(disk, FORMAT_KEY, sealNumber(FORMAT_KEY, FOLDER_FORMAT + 1));
    await expect(claim(disk)).rejects.toMatchObject({
      code: 'INCOMPATIBLE',
      message: expect.stringMatching(
        new RegExp(`format ${FOLDER_FORMAT + 1}.*format ${FOLDER_FORMAT}`),
      ) as unknown,
    });
  });

  test("that holds another program's database is refused, and left as it is", async () => {
    const foreign = memoryStoreOpener();
    await put(foreign, Buffer.from('somebody'), Buffer.from('else'));
    await expect(claim(foreign)).rejects.toMatchObject({ code: 'INCOMPATIBLE' });
    const store = await foreign.open();
    const cursor = store.cursor({ gte: Buffer.alloc(0), lt: Buffer.alloc(3, 0xff) });
    expect(await cursor.next(10)).toHaveLength(1);
  });

  test('with a flipped bit in its identity is refused', async () => {
    const store = await disk.open();
    const sealed = Buffer.from((await store.get(IDENTITY_KEY)) ?? []);
    await store.close();
    sealed.writeUInt8(sealed.readUInt8(9) ^ 4, 9);
    await put(disk, IDENTITY_KEY, sealed);
    await expect(claim(disk)).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringContaining("'identity' fails its checksum") as unknown,
    });
  });

  test('that is open already is refused, and can be opened once it is closed', async () => {
    const folder = await claim(disk);
    await expect(claim(disk)).rejects.toMatchObject({ code: 'LOCKED' });
    await closeDataFolder(folder, true);
    await closeDataFolder(await claim(disk), true);
  });

  test.each([
    ['full', 'the disk is full'],
    ['read-only', 'cannot be written'],
    ['corrupt', 'is damaged'],
    ['failed', 'the disk failed'],
  ] as const)('on a disk that is %s says so', async (reason, words) => {
    const sick: StoreOpener = {
      ...memoryStoreOpener(),
      open: () => Promise.reject(new StoreError(reason, 'LevelDB says no')),
      hasRoom: async () => false,
    };
    await expect(claim(sick)).rejects.toMatchObject({
      code: 'STORE_FAILED',
      node: 'n1',
      message: expect.stringMatching(new RegExp(`${words}.*LevelDB says no`)) as unknown,
    });
  });
});

describe('a data folder in LevelDB', () => {
  let path = '';

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'quorate-folder-'));
  });

  afterEach(() => rm(path, { recursive: true, force: true }));

  test('is locked, kept and recognised', async () => {
    const opener = levelStoreOpener(path);
    const folder = await claim(opener);
    await expect(claim(levelStoreOpener(path))).rejects.toMatchObject({ code: 'LOCKED' });
    await closeDataFolder(folder, true);
    const again = await claim(opener);
    expect(Buffer.compare(again.incarnation, folder.incarnation)).toBe(0);
    expect(again.stoppedCleanly).toBe(true);
    await closeDataFolder(again, true);
  });

  test('with a damaged block can be opened, and a page that would leave its keys out is refused', async () => {
    const opener = levelStoreOpener(path);
    const folder = await claim(opener);
    const batch = folder.store.batch();
    for (let i = 0; i < 2_000; i++) batch.put(recordKey(keyOf(i)), recordOf(keyOf(i), i));
    await batch.commit({ sync: true });
    await closeDataFolder(folder, true);
    // Opening turns the log into a table.
    await closeDataFolder(await claim(opener), true);
    const tables = (await readdir(path)).filter((name) => name.endsWith('.ldb')).sort();
    const table = join(path, tables[0] ?? '');
    const content = await readFile(table);
    content.fill(0xff, content.length >> 1, (content.length >> 1) + 40);
    await writeFile(table, content);

    const damaged = await claim(opener);
    const scan = (limit: number) =>
      scanPage(
        damaged.store,
        scanOf({ limit }),
        new FenceTable(),
        createVirtualTime().clock,
        Infinity,
      );
    expect(await scan(100)).toMatchObject({ kind: 'page' });
    expect(await scan(1_900)).toMatchObject({ kind: 'refused', code: 'STORE_FAILED' });
    await closeDataFolder(damaged, true);
  });
});
