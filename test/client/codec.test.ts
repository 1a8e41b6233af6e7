import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytesCodec, jsonCodec, textCodec } from '../../src/client/codec.js';

const SEED = 20_260_103;

describe('codecs', () => {
  test('give back what they were given', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (value) => {
        expect(bytesCodec.decode(bytesCodec.encode(value))).toEqual(value);
      }),
      { seed: SEED },
    );
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (value) => {
        expect(textCodec.decode(textCodec.encode(value))).toBe(value);
      }),
      { seed: SEED },
    );
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(jsonCodec.decode(jsonCodec.encode(value))).toEqual(
          JSON.parse(JSON.stringify(value)),
        );
      }),
      { seed: SEED },
    );
  });

  test('of text refuses bytes that are not UTF-8, and names the codec that reads them', () => {
    expect(() => textCodec.decode(Uint8Array.of(0xff, 0xfe))).toThrow(/bytesCodec/);
    expect(() => jsonCodec.decode(Uint8Array.of(0xff))).toThrow(/bytesCodec/);
    expect(() => jsonCodec.decode(Buffer.from('{'))).toThrow(/not JSON/);
  });

  test('of text keep a byte order mark, since it was written', () => {
    expect(textCodec.decode(textCodec.encode('\u{feff}x'))).toBe('\u{feff}x');
  });

  test('of text refuse half a surrogate pair: different texts would become the same bytes', () => {
    expect(() => textCodec.encode('\ud800')).toThrow(/surrogate/);
    expect(() => textCodec.encode('a\udfff')).toThrow(/surrogate/);
    expect(textCodec.decode(textCodec.encode('\u{1f600}'))).toBe('\u{1f600}');
  });

  test('refuse values that they have no bytes for', () => {
    expect(() => jsonCodec.encode(undefined)).toThrow(/no JSON form/);
    expect(() => textCodec.encode(7 as unknown as string)).toThrow(/must be a string, got number/);
    expect(() => bytesCodec.encode('x' as unknown as Uint8Array)).toThrow(/must be a Uint8Array/);
  });

  test('of bytes give bytes that outlive the frame they came in', () => {
    const frame = Uint8Array.of(1, 2, 3);
    const decoded = bytesCodec.decode(frame);
    frame[0] = 9;
    expect(decoded[0]).toBe(1);
  });
});
