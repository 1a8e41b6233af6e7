import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { healed, parseDelayMs, parseSkewMs, partitionCuts, withCut } from '../../cluster/faults.js';
import { NO_FAULT_SETTINGS } from '../../src/wire/reports.js';

describe('a network partition', () => {
  test('both ways: each end neither sends nor hears', () => {
    expect(Object.fromEntries(partitionCuts(['n1'], ['n2', 'n3'], false))).toEqual({
      n1: { dropTo: ['n2', 'n3'], dropFrom: ['n2', 'n3'] },
      n2: { dropTo: ['n1'], dropFrom: ['n1'] },
      n3: { dropTo: ['n1'], dropFrom: ['n1'] },
    });
  });

  test('one way: the isolated node hears nothing, and is heard', () => {
    expect(Object.fromEntries(partitionCuts(['n1'], ['n2', 'n3'], true))).toEqual({
      n1: { dropTo: [], dropFrom: ['n2', 'n3'] },
      n2: { dropTo: ['n1'], dropFrom: [] },
      n3: { dropTo: ['n1'], dropFrom: [] },
    });
  });

  test('adds to the faults that are there, and healing leaves only the skew', () => {
    const before = { ...NO_FAULT_SETTINGS, dropTo: ['n2'], delayMs: 5, skewMs: -700 };
    const after = withCut(before, { dropTo: ['n2', 'n3'], dropFrom: ['n2'] });
    expect(after).toEqual({ ...before, dropTo: ['n2', 'n3'], dropFrom: ['n2'] });
    expect(healed(after)).toEqual({ ...NO_FAULT_SETTINGS, skewMs: -700 });
  });

  test('law: what one end does not send, the other does not hear', () => {
    const groups = fc.integer({ min: 0, max: 511 }).map((bits) => {
      const ids = Array.from({ length: 9 }, (_, index) => `n${index + 1}`);
      const inFirst = (index: number): boolean => (bits & (1 << index)) !== 0;
      return {
        first: ids.filter((_, index) => inFirst(index)),
        second: ids.filter((_, index) => !inFirst(index)),
      };
    });
    fc.assert(
      fc.property(groups, fc.boolean(), ({ first, second }, oneWay) => {
        const cuts = partitionCuts(first, second, oneWay);
        for (const [id, { dropTo, dropFrom }] of cuts) {
          for (const other of dropTo) expect(cuts.get(other)?.dropFrom).toContain(id);
          for (const other of dropFrom) expect(cuts.get(other)?.dropTo).toContain(id);
        }
      }),
      { seed: 7, numRuns: 100 },
    );
  });
});

describe('amounts', () => {
  test.each([
    ['+800ms', 800],
    ['-2s', -2_000],
    ['1.5s', 1_500],
    ['0ms', 0],
    ['-0ms', 0],
    ['0', 0],
    ['24h', 86_400_000],
  ])('a skew of %s is %d ms', (text, skewMs) => {
    expect(parseSkewMs(text)).toBe(skewMs);
  });

  test.each(['', '+', '800', '--5ms', '5 parsecs', '25h', '1e3ms'])(
    'a skew of "%s" is a usage error',
    (text) => {
      expect(() => parseSkewMs(text)).toThrow(expect.objectContaining({ exitCode: 2 }));
    },
  );

  test.each([
    ['50ms', 50],
    ['60s', 60_000],
    ['0', 0],
  ])('a delay of %s is %d ms', (text, delayMs) => {
    expect(parseDelayMs(text)).toBe(delayMs);
  });

  test.each(['', '-50ms', '50', '61s'])('a delay of "%s" is a usage error', (text) => {
    expect(() => parseDelayMs(text)).toThrow(expect.objectContaining({ exitCode: 2 }));
  });
});
