import { expect, test } from 'vitest';
import { memoryStoreOpener } from '../../src/io/memory-store.js';

test('a disk in memory keeps what was committed, and is opened by one at a time', async () => {
  const disk = memoryStoreOpener();
  expect(await disk.hasRoom()).toBe(true);
  const store = await disk.open();
  await store.batch().put(Buffer.from('a'), Buffer.from('1')).commit({ sync: true });
  await expect(disk.open()).rejects.toMatchObject({ reason: 'locked' });
  await store.close();
  const again = await disk.open();
  expect(Buffer.from((await again.get(Buffer.from('a'))) ?? []).toString()).toBe('1');
  await again.close();
});
