import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  compareBytesAt,
  compareVersions,
  encodeVersion,
  formatVersion,
  parseVersion,
  readVersion,
  readWallMs,
  VERSION_BYTES,
  ZERO_VERSION,
} from '../../src/core/version.js';
import { LAW, versions } from './arbitraries.js';

describe('versions', () => {
  test('come back from their bytes as they were', () => {
    fc.assert(
      fc.property(versions, (version) => {
        const bytes = encodeVersion(version);
        expect(bytes).toHaveLength(VERSION_BYTES);
        expect(readVersion(bytes, 0)).toEqual(version);
        expect(readWallMs(bytes, 0)).toBe(version.wallMs);
      }),
      LAW,
    );
  });

  test('come back from their text as they were, and only from the exact text', () => {
    fc.assert(
      fc.property(versions, (version) => {
        const text = formatVersion(version);
        expect(text).toHaveLength(34);
        expect(parseVersion(text)).toEqual(version);
        expect(parseVersion(`${text}0`)).toBeUndefined();
        expect(parseVersion(text.slice(1))).toBeUndefined();
        expect(parseVersion(` ${text}`)).toBeUndefined();
      }),
      LAW,
    );
    expect(parseVersion('')).toBeUndefined();
    expect(parseVersion('00000000000G-0000-0000000000000000')).toBeUndefined();
  });

  test('are ordered alike in memory, as bytes and as text', () => {
    fc.assert(
      fc.property(versions, versions, (a, b) => {
        const order = Math.sign(compareVersions(a, b));
        expect(
          Math.sign(compareBytesAt(encodeVersion(a), 0, encodeVersion(b), 0, VERSION_BYTES)),
        ).toBe(order);
        const [textA, textB] = [formatVersion(a), formatVersion(b)];
        expect(textA < textB ? -1 : textA > textB ? 1 : 0).toBe(order);
      }),
      LAW,
    );
  });

  test('are ordered totally', () => {
    fc.assert(
      fc.property(versions, versions, versions, (a, b, c) => {
        expect(Math.sign(compareVersions(a, b))).toBe(0 - Math.sign(compareVersions(b, a)));
        if (compareVersions(a, b) === 0) expect(a).toEqual(b);
        if (compareVersions(a, b) <= 0 && compareVersions(b, c) <= 0) {
          expect(compareVersions(a, c)).toBeLessThanOrEqual(0);
        }
        expect(compareVersions(ZERO_VERSION, a)).toBeLessThanOrEqual(0);
      }),
      LAW,
    );
  });

  test('are ordered by wall, then logical, then writer', () => {
    const ascending = [
      { wallMs: 1, logical: 9, writerHi: 9, writerLo: 9 },
      { wallMs: 2, logical: 0, writerHi: 9, writerLo: 9 },
      { wallMs: 2, logical: 1, writerHi: 0, writerLo: 9 },
      { wallMs: 2, logical: 1, writerHi: 1, writerLo: 0 },
      { wallMs: 2, logical: 1, writerHi: 1, writerLo: 1 },
    ];
    expect([...ascending].reverse().sort(compareVersions)).toEqual(ascending);
  });
});
