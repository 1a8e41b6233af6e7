import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readResumePoint, removeResumePoint, writeResumePoint } from '../../cli/resume-point.js';

const input = { path: 'cities.json', bytes: 1_000, modifiedMs: 5 };
const point = { input, plan: '--key {a}', records: 7, byte: 70, rejected: 1 };

describe('a resume point', () => {
  let folder: string;
  let file: string;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'quorate-'));
    file = join(folder, 'cities.json.quorate-resume');
  });

  afterEach(() => rmSync(folder, { recursive: true }));

  test('says where to go on, until it is removed', () => {
    expect(readResumePoint(file, input, point.plan)).toBeUndefined();
    writeResumePoint(file, point);
    expect(readResumePoint(file, input, point.plan)).toMatchObject(point);
    removeResumePoint(file);
    expect(readResumePoint(file, input, point.plan)).toBeUndefined();
  });

  test('is refused for an input that has changed, and for other options', () => {
    writeResumePoint(file, point);
    const longer = { ...input, bytes: 1_001 };
    expect(() => readResumePoint(file, longer, point.plan)).toThrow(/has changed since/);
    expect(() => readResumePoint(file, input, '--key {b}')).toThrow(/--key \{a\}; now --key \{b\}/);
  });

  test.each(['', 'x', '{}', '{"format":2}', JSON.stringify({ ...point, format: 1, records: -1 })])(
    'is refused when the file holds %j',
    (text) => {
      writeFileSync(file, text);
      expect(() => readResumePoint(file, input, point.plan)).toThrow(/is no resume point/);
    },
  );
});
