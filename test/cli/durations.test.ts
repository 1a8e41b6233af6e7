import { describe, expect, test } from 'vitest';
import { formatBytes, formatDuration, formatMs, parseDurationMs } from '../../cli/durations.js';

describe('durations', () => {
  test.each([
    ['500ms', 500],
    ['5s', 5_000],
    ['1.5m', 90_000],
    ['2h', 7_200_000],
    ['7d', 604_800_000],
    ['0s', 0],
  ])('read %s', (text, durationMs) => {
    expect(parseDurationMs(text)).toBe(durationMs);
  });

  test.each(['5', '', 's', '-5s', '5 s', '1e3s', '5w', '5sec'])('refuse %j', (text) => {
    expect(parseDurationMs(text)).toBeUndefined();
  });

  test('are said to people in two units at most', () => {
    expect([0, 999, 1_000, 59_600, 61_000, 3_600_000, 180_000_000].map(formatDuration)).toEqual([
      '0 ms',
      '999 ms',
      '1 s',
      '1 min',
      '1 min 1 s',
      '1 h',
      '2 d 2 h',
    ]);
  });
});

test('sizes are said to people in binary units', () => {
  expect([0, 1_023, 1_024, 5_000_000, 2 ** 41].map(formatBytes)).toEqual([
    '0 B',
    '1023 B',
    '1.0 KiB',
    '4.8 MiB',
    '2.0 TiB',
  ]);
});

test('milliseconds are said to a tenth, and nothing is below 0 by less', () => {
  expect([0.44, -800, -0.04, -0].map(formatMs)).toEqual([
    '0.4 ms',
    '-800.0 ms',
    '0.0 ms',
    '0.0 ms',
  ]);
});
