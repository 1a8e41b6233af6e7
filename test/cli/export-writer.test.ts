import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { createExportWriter, type ExportPlan } from '../../cli/export-writer.js';
import { entryOf } from '../../cli/import-entry.js';
import { readRecords, type RecordFormat } from '../../cli/record-reader.js';
import type { Entry } from '../../src/index.js';

function entry(
  key: Uint8Array | string,
  value: Uint8Array | string,
  expiresAtMs?: number,
): Entry<Uint8Array> {
  const keyBytes = Buffer.from(key as string);
  return {
    key: keyBytes,
    keyText: keyBytes.toString(),
    value: Buffer.from(value as string),
    version: { wallMs: 1, logical: 2, writerHi: 3, writerLo: 4 },
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
  };
}

function write(plan: Partial<ExportPlan>, entries: readonly Entry<Uint8Array>[]): string {
  const writer = createExportWriter({
    format: 'jsonl',
    valuesOnly: false,
    columns: undefined,
    ...plan,
  });
  return entries.map((one) => writer.entry(one)).join('') + writer.end();
}

async function readBack(text: string, format: RecordFormat): Promise<string[]> {
  async function* chunks() {
    yield Buffer.from(text);
  }
  const found: string[] = [];
  for await (const batch of readRecords(chunks(), format)) {
    for (const record of batch) {
      const plan = { key: undefined, valueField: undefined, ttlMs: undefined };
      const read = entryOf(plan, record);
      found.push(
        read.ok
          ? `${Buffer.from(read.key).toString('hex')}=${Buffer.from(read.value).toString('hex')} ${JSON.stringify(read.life)}`
          : read.reason,
      );
    }
  }
  return found;
}

describe('an export', () => {
  const bytes = fc.uint8Array({ maxLength: 12 });
  const expiry = fc.option(fc.integer({ min: 1, max: 2 ** 47 }), { nil: undefined });
  const text = fc
    .string({ unit: 'grapheme', maxLength: 12 })
    .map((value) => new Uint8Array(Buffer.from(value)));

  test.each(['jsonl', 'json', 'csv'] as const)('as %s is read back as it was', async (format) => {
    const content = format === 'csv' ? text : bytes;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(content, content, expiry)), async (all) => {
        const entries = all.map(([key, value, expiresAtMs]) => entry(key, value, expiresAtMs));
        expect(await readBack(write({ format }, entries), format)).toEqual(
          entries.map(
            ({ key, value, expiresAtMs }) =>
              `${Buffer.from(key).toString('hex')}=${Buffer.from(value).toString('hex')} ${JSON.stringify(expiresAtMs && { expiresAtMs })}`,
          ),
        );
      }),
      { seed: 8, numRuns: 60 },
    );
  });

  test('of values alone gives the records back, a line each', () => {
    const entries = [entry('a', '{"x": 1.10,\n"y":"é"}'), entry('b', '[2]')];
    expect(write({ valuesOnly: true }, entries)).toBe('{"x":1.10,"y":"é"}\n[2]\n');
    expect(write({ valuesOnly: true, format: 'json' }, entries)).toBe(
      '[\n{"x":1.10,"y":"é"},\n[2]\n]\n',
    );
  });

  test('of values as CSV has the columns of the first record, or those that were named', () => {
    const entries = [entry('a', '{"x":1,"y":"p,q"}'), entry('b', '{"y":null}')];
    const plan = { valuesOnly: true, format: 'csv' } as const;
    expect(write(plan, entries)).toBe('x,y\n1,"p,q"\n,\n');
    expect(write({ ...plan, columns: ['y', 'x', 'z'] }, entries)).toBe('y,x,z\n"p,q",1,\n,,\n');
  });

  test.each([
    [{ valuesOnly: true }, entry('k', 'text'), 'is not JSON'],
    [{ valuesOnly: true }, entry('k', Uint8Array.of(255)), 'is not JSON'],
    [{ valuesOnly: true, format: 'csv' }, entry('k', '[1]'), 'is no JSON object'],
    [{ format: 'csv' }, entry('k', Uint8Array.of(255)), 'is not text'],
    [{ valuesOnly: true, format: 'csv', columns: ['a'] }, entry('k', '{"b":1}'), 'has a field "b"'],
  ] as const)('%j fails rather than lose what it cannot say', (plan, one, problem) => {
    expect(() => write(plan, [one])).toThrow(`the value of k ${problem}`);
  });

  test('of nothing is an empty file of its format', () => {
    expect(write({}, [])).toBe('');
    expect(write({ format: 'json' }, [])).toBe('[]\n');
    expect(write({ format: 'csv' }, [])).toBe('key,value,version,expiresAt\n');
  });
});
