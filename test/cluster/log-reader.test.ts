import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LogReader, mergeLogs, showLogLine } from '../../cluster/log-reader.js';

let folder = '';
let file = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'quorate-log-'));
  file = join(folder, 'n1.log');
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function entry(second: number, msg: string): string {
  const time = new Date(second * 1_000).toISOString();
  return `${JSON.stringify({ level: 'info', time, node: 'n1', msg })}\n`;
}

describe('a line of a log', () => {
  test("pino's JSON is shown as time, node, level, message and fields", () => {
    const line =
      '{"level":"warn","time":"2026-01-02T03:04:05.678Z","node":"n1","peer":"n2","ms":7,"msg":"lost"}';
    expect(showLogLine('n1', line)).toEqual({
      time: '2026-01-02T03:04:05.678Z',
      text: '03:04:05.678Z n1 warn  lost peer="n2" ms=7',
    });
  });

  test.each(['Error: it broke', '    at main.js:1:2', '', '7', '{"a":1}', 'null'])(
    'anything else is shown as it is: "%s"',
    (line) => {
      expect(showLogLine('n1', line)).toEqual({ time: '', text: `n1 ${line}` });
    },
  );
});

describe('reading a log', () => {
  test('gives whole lines as they are written, wherever the writes are cut', () => {
    const reader = new LogReader('n1', file);
    expect(reader.read()).toEqual([]);
    const text = Buffer.from(entry(1, 'grüße') + entry(2, 'b'));
    const shown: string[] = [];
    for (const byte of text) {
      appendFileSync(file, Uint8Array.of(byte));
      shown.push(...reader.read().map((line) => line.text));
    }
    expect(shown).toEqual(['00:00:01.000Z n1 info  grüße', '00:00:02.000Z n1 info  b']);
  });

  test('starts again when the log was put aside', () => {
    writeFileSync(file, entry(1, 'before, and long enough'));
    const reader = new LogReader('n1', file);
    reader.read();
    writeFileSync(file, entry(2, 'after'));
    expect(reader.read().map(({ text }) => text)).toEqual(['00:00:02.000Z n1 info  after']);
  });

  test('a long log is read from near its end, from the start of a line', () => {
    writeFileSync(file, entry(1, 'x'.repeat(3_000)).repeat(1_500));
    appendFileSync(file, entry(2, 'last'));
    const lines = new LogReader('n1', file).read();
    expect(lines.length).toBeGreaterThan(1_000);
    expect(lines.length).toBeLessThan(1_500);
    expect(lines[0]?.text).toContain('00:00:01.000Z n1 info  xxx');
    expect(lines.at(-1)?.text).toBe('00:00:02.000Z n1 info  last');
  });
});

test('several logs become one, oldest first, and a stack trace stays with its line', () => {
  writeFileSync(file, `${entry(1, 'a')}Error: b\n    at c\n${entry(4, 'd')}`);
  const other = join(folder, 'n2.log');
  writeFileSync(other, entry(0, 'e') + entry(1, 'f') + entry(3, 'g'));
  const logs = [new LogReader('n1', file).read(), new LogReader('n2', other).read()];
  expect(mergeLogs(logs).map(({ text }) => text)).toEqual([
    '00:00:00.000Z n2 info  e',
    '00:00:01.000Z n1 info  a',
    'n1 Error: b',
    'n1     at c',
    '00:00:01.000Z n2 info  f',
    '00:00:03.000Z n2 info  g',
    '00:00:04.000Z n1 info  d',
  ]);
});
