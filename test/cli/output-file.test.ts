import { execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { OutputFile } from '../../cli/output-file.js';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'quorate-output-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('a file that is written', () => {
  test('appears whole when it is committed, and not before', async () => {
    const path = join(folder, 'out');
    writeFileSync(path, 'old');
    const file = await OutputFile.open(path);
    await file.write('new');
    expect(readFileSync(path, 'utf8')).toBe('old');
    await file.commit();
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(readdirSync(folder)).toEqual(['out']);
  });

  test('leaves what was there when it is abandoned', async () => {
    const path = join(folder, 'out');
    writeFileSync(path, 'old');
    const file = await OutputFile.open(path);
    await file.write('new');
    await file.abandon();
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(folder)).toEqual(['out']);
  });

  test('through a link replaces what the link names', async () => {
    writeFileSync(join(folder, 'real'), 'old');
    symlinkSync('real', join(folder, 'link'));
    const file = await OutputFile.open(join(folder, 'link'));
    await file.write('new');
    await file.commit();
    expect(lstatSync(join(folder, 'link')).isSymbolicLink()).toBe(true);
    expect(readFileSync(join(folder, 'real'), 'utf8')).toBe('new');
  });

  test.skipIf(process.platform === 'win32')('takes the place of no pipe, no device', async () => {
    const path = join(folder, 'pipe');
    execFileSync('sh', ['-c', 'mkfifo "$0"', path]);
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const file = await OutputFile.open(path);
    await file.write('new');
    await file.commit();
    expect(lstatSync(path).isFIFO()).toBe(true);
    expect(readFileSync(reader, 'utf8')).toBe('new');
    closeSync(reader);
  });

  test('is no folder', async () => {
    await expect(OutputFile.open(folder)).rejects.toThrow('is a directory');
  });
});
