import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { entryOf, exportedEntry, planText } from '../../cli/import-entry.js';
import { parseKeyTemplate } from '../../cli/key-template.js';

function read(json: string) {
  return { line: 1, endByte: json.length, value: JSON.parse(json) as unknown, json };
}

function told(entry: ReturnType<typeof entryOf>): string {
  return entry.ok
    ? `${Buffer.from(entry.key).toString()} = ${Buffer.from(entry.value).toString()}`
    : entry.reason;
}

describe('an imported record', () => {
  const key = parseKeyTemplate('u/{id}');
  const record = read('{"id":1.10,"name":"Ada","more":{"a":1}}');

  test('is stored whole, as its own JSON, under the key of the template', () => {
    expect(told(entryOf({ key, valueField: undefined }, record))).toBe(`u/1.1 = ${record.json}`);
  });

  test('is stored as one field of it, text bare and the rest as JSON', () => {
    expect(told(entryOf({ key, valueField: ['name'] }, record))).toBe('u/1.1 = Ada');
    expect(told(entryOf({ key, valueField: ['more'] }, record))).toBe('u/1.1 = {"a":1}');
    expect(told(entryOf({ key, valueField: ['more', 'a'] }, record))).toBe('u/1.1 = 1');
    expect(told(entryOf({ key, valueField: ['x'] }, record))).toBe('has no field "x"');
  });

  test('without a template must be an entry of an export', () => {
    const plan = { key: undefined, valueField: undefined };
    expect(told(entryOf(plan, read('{"key":"a","value":"b"}')))).toBe('a = b');
    expect(told(entryOf(plan, read('{"key":1,"value":"b"}')))).toMatch(/^has no "key"/);
    expect(told(entryOf(plan, read('[]')))).toMatch(/^has no "key"/);
    expect(told(entryOf(plan, read('{"key":"a"}')))).toMatch(/^has no "value"/);
  });

  test('is the entry that was exported, whatever its bytes', () => {
    const bytes = fc.uint8Array({ maxLength: 20 });
    fc.assert(
      fc.property(bytes, bytes, (keyBytes, valueBytes) => {
        const line = exportedEntry(keyBytes, valueBytes, 'v');
        const entry = entryOf({ key: undefined, valueField: undefined }, read(line));
        expect(entry.ok && [...entry.key]).toEqual([...keyBytes]);
        expect(entry.ok && [...entry.value]).toEqual([...valueBytes]);
      }),
      { seed: 6, numRuns: 300 },
    );
  });
});

test('plans that store differently have different texts', () => {
  const key = parseKeyTemplate('{a}');
  const plans = [
    { key: undefined, valueField: undefined },
    { key, valueField: undefined },
    { key, valueField: ['b'] },
  ];
  expect(new Set(plans.map(planText)).size).toBe(3);
});
