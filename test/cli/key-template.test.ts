import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseKeyTemplate, renderKey } from '../../cli/key-template.js';

function keyOf(template: string, record: unknown): string {
  const rendered = renderKey(parseKeyTemplate(template), record);
  return rendered.ok ? rendered.key : `rejected: ${rendered.reason}`;
}

describe('a key template', () => {
  const city = { name: 'Vila', lat: '42.5', lng: '1.5', country: 'AD', area: { code: 7 } };

  test('puts fields where their names stand', () => {
    expect(keyOf('city/{country}/{name}/{lat},{lng}', city)).toBe('city/AD/Vila/42.5,1.5');
  });

  test('follows dots into fields of fields, unless a field has the whole name', () => {
    expect(keyOf('{area.code}', city)).toBe('7');
    expect(keyOf('{area.code}', { ...city, 'area.code': 'whole' })).toBe('whole');
  });

  test('writes braces that are doubled', () => {
    expect(keyOf('{{{name}}}', city)).toBe('{Vila}');
  });

  test('rejects a record that lacks a field, or whose field is no part of a key, saying which', () => {
    expect(keyOf('{nmae}', city)).toBe('rejected: has no field "nmae"');
    expect(keyOf('{area.x}', city)).toBe('rejected: has no field "area.x"');
    expect(keyOf('{area}', city)).toBe('rejected: field "area" is an object, not part of a key');
    expect(keyOf('{a}', { a: null })).toBe('rejected: field "a" is null, not part of a key');
    expect(keyOf('{a}', 'text')).toBe('rejected: has no field "a"');
    expect(keyOf('{toString}', {})).toBe('rejected: has no field "toString"');
  });

  test('rejects a number whose last digits JSON.parse has lost', () => {
    expect(keyOf('{id}', JSON.parse('{"id":12345678901234567890}'))).toBe(
      'rejected: field "id" is a number too large to be exact',
    );
    expect(keyOf('{id}', { id: 1.5 })).toBe('1.5');
    expect(keyOf('{id}', { id: true })).toBe('true');
  });

  test.each(['{', 'a}', '{}', '{a', 'no fields', ''])(
    'refuses %j before anything is read',
    (text) => {
      expect(() => parseKeyTemplate(text)).toThrow(/^--key/);
    },
  );

  test('is the text itself for what doubled braces escape', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const escaped = text.replaceAll('{', '{{').replaceAll('}', '}}');
        expect(keyOf(`{f}/${escaped}`, { f: 'x' })).toBe(`x/${text}`);
      }),
      { seed: 1, numRuns: 300 },
    );
  });
});
