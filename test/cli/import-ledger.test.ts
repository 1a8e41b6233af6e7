import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { DuplicateKeys, ImportLedger } from '../../cli/import-ledger.js';

function begin(ledger: ImportLedger, ...indexes: number[]): void {
  for (const index of indexes) {
    ledger.begin(index, { line: index + 1, endByte: (index + 1) * 10, text: `text ${index}` });
  }
}

describe('the ledger of an import', () => {
  let folder: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'quorate-'));
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  const open = () =>
    new ImportLedger({
      input: { path: 'x', bytes: 9, modifiedMs: 1 },
      plan: 'p',
      resumeFile: join(folder, 'resume'),
      rejectsFile: join(folder, 'rejects'),
      isRestart: false,
    });

  test('goes on after the records that are done without a gap, and keeps what was rejected', () => {
    const first = open();
    begin(first, 0, 1, 2, 3);
    first.recordStored(0);
    first.recordStored(3);
    first.recordRejected(1, 'bad');
    first.save();
    first.close();

    const second = open();
    expect([second.resumedAfter, second.byte, second.rejected]).toEqual([2, 20, 1]);
    begin(second, 2, 3);
    second.recordRejected(2, 'worse');
    second.recordStored(3);
    second.finish();
    second.close();

    expect(second.records).toBe(4);
    expect([second.stored, second.rejected]).toEqual([1, 2]);
    expect(existsSync(join(folder, 'resume'))).toBe(false);
    expect(readFileSync(join(folder, 'rejects'), 'utf8')).toBe(
      '{"line":2,"reason":"bad","text":"text 1"}\n{"line":3,"reason":"worse","text":"text 2"}\n',
    );
  });

  test('counts a record once that is rejected by both runs, because the first left it beyond a gap', () => {
    const first = open();
    begin(first, 0, 1, 2);
    first.recordStored(0);
    first.recordRejected(2, 'bad');
    expect(first.rejected).toBe(1);
    first.save();
    expect(first.isSaved).toBe(true);
    first.close();

    const second = open();
    expect([second.resumedAfter, second.rejected]).toEqual([1, 0]);
    begin(second, 1, 2);
    second.recordStored(1);
    second.recordRejected(2, 'bad');
    expect(second.rejected).toBe(1);
    second.close();
  });

  test('writes no resume point before anything is done', () => {
    const ledger = open();
    begin(ledger, 0, 1);
    ledger.recordStored(1);
    ledger.save();
    ledger.close();
    expect(existsSync(join(folder, 'resume'))).toBe(false);
  });
});

describe('keys that come again', () => {
  test('are counted, and the first of them named', () => {
    const keys = new DuplicateKeys();
    ['a', 'b', 'a', 'a', 'c', 'b'].forEach((key, at) => keys.see(Buffer.from(key), at + 1));
    expect(keys.count).toBe(3);
    expect(keys.first).toEqual([
      { line: 3, key: 'a' },
      { line: 4, key: 'a' },
      { line: 6, key: 'b' },
    ]);
    expect(keys.isFull).toBe(false);
  });

  test('may be more than were counted when there are too many to remember', () => {
    const keys = new DuplicateKeys(2);
    for (const key of ['a', 'b', 'c', 'c', 'a']) keys.see(Buffer.from(key), 1);
    expect([keys.count, keys.isFull]).toEqual([1, true]);
  });

  test('are none in fifty thousand different keys', () => {
    const keys = new DuplicateKeys();
    for (let i = 0; i < 50_000; i++) keys.see(Buffer.from(`user${i}`), i);
    expect(keys.count).toBe(0);
  });
});
