import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  compareIncarnations,
  INCARNATION_BYTES,
  INCARNATION_CHANCE_BYTES,
  incarnationAfter,
} from '../../src/core/incarnation.js';

const wallMs = fc.integer({ min: 0, max: 2 ** 47 });
const chance = fc.uint8Array({
  minLength: INCARNATION_CHANCE_BYTES,
  maxLength: INCARNATION_CHANCE_BYTES,
});

test('a life is later than the one before it, wherever the clock has gone', () => {
  fc.assert(
    fc.property(wallMs, chance, wallMs, chance, (firstMs, a, secondMs, b) => {
      const first = incarnationAfter(undefined, firstMs, a);
      const second = incarnationAfter(first, secondMs, b);
      expect(second).toHaveLength(INCARNATION_BYTES);
      expect(compareIncarnations(second, first)).toBeGreaterThan(0);
      expect(compareIncarnations(first, second)).toBeLessThan(0);
      expect(compareIncarnations(first, first)).toBe(0);
    }),
    { seed: 3 },
  );
});
