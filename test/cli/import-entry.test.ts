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
    expect(told(entryOf({ key, valueField: undefined, ttlMs: undefined }, record))).toBe(
      `u/1.1 = ${record.json}`,
    );
  });

  test('is stored as one field of it, text bare and the rest as JSON', () => {
    expect(told(entryOf({ key, valueField: ['name'], ttlMs: undefined }, record))).toBe(
      'u/1.1 = Ada',
    );
    expect(told(entryOf({ key, valueField: ['more'], ttlMs: undefined }, record))).toBe(
      'u/1.1 = {"a":1}',
    );
    expect(told(entryOf({ key, valueField: ['more', 'a'], ttlMs: undefined }, record))).toBe(
      'u/1.1 = 1',
    );
    expect(told(entryOf({ key, valueField: ['x'], ttlMs: undefined }, record))).toBe(
      'has no field "x"',
    );
  });

  test('without a template must be an entry of an export', () => {
    const plan = { key: undefined, valueField: undefined, ttlMs: undefined };
    expect(told(entryOf(plan, read('{"key":"a","value":"b"}')))).toBe('a = b');
    expect(told(entryOf(plan, read('{"key":1,"value":"b"}')))).toMatch(/^has no "key"/);
    expect(told(entryOf(plan, read('[]')))).toMatch(/^has no "key"/);
    expect(told(entryOf(plan, read('{"key":"a"}')))).toMatch(/^has no "value"/);
  });

  test.each([
    ['{"key":"a","value":"b"}', undefined],
    ['{"key":"a","value":"b","expiresAt":"","ttl":null}', undefined],
    ['{"key":"a","value":"b","expiresAt":"1970-01-01T00:00:01.005Z"}', { expiresAtMs: 1_005 }],
    ['{"key":"a","value":"b","expiresAt":"1970-01-01T01:00+01:00"}', { expiresAtMs: 0 }],
    ['{"key":"a","value":"b","ttl":"30s"}', { ttlMs: 30_000 }],
  ])('%s lives as it says', (json, life) => {
    const entries = { key: undefined, valueField: undefined };
    expect(entryOf({ ...entries, ttlMs: undefined }, read(json))).toMatchObject({ ok: true, life });
    // What --ttl says is for those that say nothing.
    expect(entryOf({ ...entries, ttlMs: 7 }, read(json))).toMatchObject({
      ok: true,
      life: life ?? { ttlMs: 7 },
    });
  });

  test.each([
    ['{"key":"a","value":"b","expiresAt":1005}', /^has an "expiresAt" that is no ISO 8601 time/],
    ['{"key":"a","value":"b","expiresAt":"2026-11-22T18:00:00"}', /with its zone/],
    ['{"key":"a","value":"b","expiresAt":"2026-99-22T18:00:00Z"}', /^has an "expiresAt"/],
    ['{"key":"a","value":"b","ttl":30}', /^has a "ttl" that is not a duration of 1ms to 3650d/],
    ['{"key":"a","value":"b","ttl":"1s","expiresAt":"1970-01-01T00:00Z"}', /^has both/],
  ])('%s is rejected', (json, reason) => {
    const plan = { key: undefined, valueField: undefined, ttlMs: undefined };
    expect(told(entryOf(plan, read(json)))).toMatch(reason);
  });

  test('is the entry that was exported, whatever its bytes', () => {
    const bytes = fc.uint8Array({ maxLength: 20 });
    fc.assert(
      fc.property(bytes, bytes, (keyBytes, valueBytes) => {
        const line = exportedEntry(keyBytes, valueBytes, 'v', undefined);
        const entry = entryOf(
          { key: undefined, valueField: undefined, ttlMs: undefined },
          read(line),
        );
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
    { key: undefined, valueField: undefined, ttlMs: undefined },
    { key, valueField: undefined, ttlMs: undefined },
    { key, valueField: ['b'], ttlMs: undefined },
    { key, valueField: ['b'], ttlMs: 30_000 },
    { key: undefined, valueField: undefined, ttlMs: 30_000 },
  ];
  expect(new Set(plans.map(planText)).size).toBe(5);
});
