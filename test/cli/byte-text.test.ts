import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytesToDisplay, bytesToJson, hexToBytes, jsonToBytes } from '../../cli/byte-text.js';

const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.string({ unit: 'binary' }).map((text) => new Uint8Array(Buffer.from(text))),
);

describe('bytes in JSON', () => {
  test('come back as they were, through the text of JSON', () => {
    fc.assert(
      fc.property(bytes, (value) => {
        const text = JSON.stringify(bytesToJson(value));
        expect(Buffer.from(jsonToBytes(JSON.parse(text)) ?? [])).toEqual(Buffer.from(value));
      }),
      { seed: 3, numRuns: 500 },
    );
  });

  test('are text when they are UTF-8, and base64 when they are not', () => {
    expect(bytesToJson(Buffer.from('Zürich'))).toBe('Zürich');
    expect(bytesToJson(Uint8Array.of(0xff))).toEqual({ base64: '/w==' });
  });

  test.each([
    1,
    null,
    [],
    {},
    { base64: 'x' },
    { base64: '_w==' },
    { base64: '', more: 1 },
    '\ud800',
  ])('are not %j', (value) => {
    expect(jsonToBytes(value)).toBeUndefined();
  });
});

describe('bytes for people', () => {
  test('never steer a terminal', () => {
    fc.assert(
      fc.property(bytes, (value) => {
        // oxlint-disable-next-line no-control-regex
        expect(bytesToDisplay(value)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
      }),
      { seed: 4, numRuns: 500 },
    );
    expect(bytesToDisplay(Buffer.from('a\u001b[2J\nb'))).toBe('a\\u001b[2J\\nb');
    expect(bytesToDisplay(Uint8Array.of(0xff, 1))).toBe('0xff01');
  });
});

describe('hexadecimal keys', () => {
  test('are an even number of digits, with or without 0x', () => {
    expect(hexToBytes('0xff01')).toEqual(Buffer.from([255, 1]));
    expect(hexToBytes('FF')).toEqual(Buffer.from([255]));
    expect(hexToBytes('f')).toBeUndefined();
    expect(hexToBytes('zz')).toBeUndefined();
  });
});
