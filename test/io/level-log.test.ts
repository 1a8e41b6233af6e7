import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { crc32c } from '../../src/io/crc32c.js';
import { inspectLog } from '../../src/io/level-log.js';
import { levelStoreOpener } from '../../src/io/level-store.js';
import { seededRandom } from '../seeded-random.js';

const SEED = { seed: 4, numRuns: 300 };

/** The bytes that RFC 3720, appendix B.4, gives with their checksums. */
test.each([
  ['32 zeros', new Uint8Array(32), 0x8a9136aa],
  ['32 ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ['ascending bytes', Uint8Array.from({ length: 32 }, (_, i) => i), 0x46dd794e],
  ['descending bytes', Uint8Array.from({ length: 32 }, (_, i) => 31 - i), 0x113fdb5c],
  ['nothing', new Uint8Array(0), 0],
])('the CRC32C of %s is the one of the standard', (_, bytes, crc) => {
  expect(crc32c(bytes)).toBe(crc);
});

describe('the log of a LevelDB', () => {
  let folder = '';
  let logFile = '';
  let log: Buffer;
  /** Where batches end: at each of these a log may stop without being torn. */
  const ends = new Set<number>([0]);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'quorate-log-'));
    const random = seededRandom(7);
    const store = await levelStoreOpener(folder).open();
    const name = (await readdir(folder)).find((file) => file.endsWith('.log')) ?? '';
    logFile = join(folder, name);
    // Small batches, some that cross blocks, and one of several blocks.
    for (let i = 0; i < 60; i++) {
      const bytes = i === 30 ? 80_000 : i % 7 === 0 ? 9_000 : 40 + i;
      await store
        .batch()
        .put(Buffer.from(`k${i}`), random.bytes(bytes))
        .commit({ sync: true });
      ends.add((await readFile(logFile)).length);
    }
    log = await readFile(logFile);
    // As a crash leaves it: a closed one is the same, byte for byte.
    await store.close();
  });

  afterAll(() => rm(folder, { recursive: true, force: true }));

  test('is intact as LevelDB wrote it, and empty', () => {
    expect(log.length).toBeGreaterThan(4 * 32_768);
    expect(inspectLog(log)).toBe('intact');
    expect(inspectLog(new Uint8Array(0))).toBe('intact');
  });

  test('is damaged by any one flipped bit, wherever it is', () => {
    fc.assert(
      fc.property(fc.nat(log.length - 1), fc.nat(7), (at, bit) => {
        const flipped = Buffer.from(log);
        flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << bit), at);
        // The unused end of a block is no part of any record.
        if (isUnused(log, at)) expect(inspectLog(flipped)).toBe('intact');
        else expect(inspectLog(flipped)).toBe('damaged');
      }),
      SEED,
    );
  });

  test('is damaged by a flipped bit in its last record too, the length included', () => {
    const lastAt = [...ends].sort((a, b) => a - b).at(-2) ?? 0;
    for (let at = lastAt; at < log.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const flipped = Buffer.from(log);
        flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << bit), at);
        expect(inspectLog(flipped), `bit ${bit} of byte ${at}`).toBe('damaged');
      }
    }
  });

  test('is no worse than torn when it ends anywhere, with or without zeros behind', () => {
    fc.assert(
      fc.property(fc.nat(log.length), fc.nat(3), (end, zeroSectors) => {
        const cut = log.subarray(0, end);
        expect(inspectLog(cut)).toBe(ends.has(end) ? 'intact' : 'torn');
        if (zeroSectors === 0) return;
        // The file was made longer, and the sectors behind the last that was written never were.
        const written = Math.floor(end / 512) * 512;
        const extended = Buffer.alloc(written + 512 * zeroSectors);
        log.copy(extended, 0, 0, written);
        expect(inspectLog(extended)).toBe('torn');
      }),
      SEED,
    );
  });

  test('is damaged when a piece in its middle is missing or was overwritten', () => {
    fc.assert(
      fc.property(fc.nat(log.length - 40_000), fc.integer({ min: 8, max: 5_000 }), (at, count) => {
        const zeroed = Buffer.from(log);
        zeroed.fill(0, at, at + count);
        expect(inspectLog(zeroed)).toBe('damaged');
        expect(inspectLog(Buffer.concat([log.subarray(0, at), log.subarray(at + count)]))).toBe(
          'damaged',
        );
      }),
      SEED,
    );
  });

  describe('in a folder', () => {
    let copy = '';
    const opener = () => levelStoreOpener(copy);
    const copied = () => join(copy, logFile.slice(folder.length + 1));

    beforeAll(async () => {
      copy = await mkdtemp(join(tmpdir(), 'quorate-log-'));
    });

    afterAll(() => rm(copy, { recursive: true, force: true }));

    const begin = async () => {
      await rm(copy, { recursive: true, force: true });
      await cp(folder, copy, { recursive: true });
    };

    test('is verified before it is opened: torn is intact, and so is no folder at all', async () => {
      await begin();
      expect(await opener().verify()).toBe('intact');
      await truncate(copied(), log.length - 3);
      expect(await opener().verify()).toBe('intact');
      await rm(copy, { recursive: true });
      expect(await opener().verify()).toBe('intact');
    });

    test('that is damaged stays so when it has been opened, until the damage is accepted', async () => {
      await begin();
      const damaged = Buffer.from(log);
      damaged.writeUInt8(damaged.readUInt8(5_000) ^ 1, 5_000);
      await writeFile(copied(), damaged);
      expect(await opener().verify()).toBe('damaged');
      // LevelDB opens it without a word, and the log is gone.
      await (await opener().open()).close();
      expect(await opener().verify()).toBe('damaged');
      await opener().acceptDamage();
      expect(await opener().verify()).toBe('intact');
    });

    test('may be torn only if it is the last one', async () => {
      await begin();
      await truncate(copied(), log.length - 3);
      await writeFile(join(copy, '000999.log'), '');
      expect(await opener().verify()).toBe('intact');
      await writeFile(join(copy, '000999.log'), log.subarray(0, [...ends][1]));
      expect(await opener().verify()).toBe('damaged');
    });
  });
});

/** Whether the byte lies in what is left of a block and too short for a header. */
function isUnused(log: Buffer, at: number): boolean {
  const blockStart = at - (at % 32_768);
  let next = blockStart;
  while (next + 7 <= Math.min(blockStart + 32_768, log.length)) {
    next += 7 + log.readUInt16LE(next + 4);
    if (at < next) return false;
  }
  return true;
}
