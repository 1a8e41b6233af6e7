import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AimdWindow } from '../../src/core/aimd-window.js';

function grown(window: AimdWindow, answers: number): number {
  for (let i = 0; i < answers; i++) window.grow();
  return window.size;
}

describe('a window', () => {
  test('doubles with every window of good answers, until the first sign of too much', () => {
    const window = new AimdWindow(16, 512);
    expect(grown(window, 16)).toBe(32);
    expect(grown(window, 32)).toBe(64);
    window.cut(1, 2);
    expect(window.size).toBe(32);
    // From now on it grows by its least size with every window.
    expect(grown(window, 32)).toBeLessThanOrEqual(48);
    expect(window.size).toBeGreaterThan(44);
  });

  test('halves once for everything that was under way, and again for what was sent after that', () => {
    const window = new AimdWindow(16, 512);
    grown(window, 1_000);
    window.cut(10, 20);
    for (let sent = 11; sent < 20; sent++) window.cut(sent, 30);
    expect(window.size).toBe(256);
    window.cut(20, 40);
    expect(window.size).toBe(128);
  });

  test('begins anew with a new connection', () => {
    const window = new AimdWindow(16, 512);
    grown(window, 1_000);
    window.cut(0, 100);
    window.reset();
    expect(window.size).toBe(16);
    expect(grown(window, 16)).toBe(32);
  });

  test('is never outside its bounds', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('grow', 'cut'), { maxLength: 2_000 }), (signs) => {
        const window = new AimdWindow(16, 64);
        signs.forEach((sign, atMs) => {
          if (sign === 'grow') window.grow();
          else window.cut(atMs, atMs);
          expect(window.size).toBeGreaterThanOrEqual(16);
          expect(window.size).toBeLessThanOrEqual(64);
        });
      }),
      { seed: 1, numRuns: 50 },
    );
  });
});
