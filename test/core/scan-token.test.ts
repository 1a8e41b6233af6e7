import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeScanToken, encodeScanToken } from '../../src/core/scan-token.js';

const keys = fc.uint8Array({ minLength: 1, maxLength: 20 });
const bounds = fc.uint8Array({ maxLength: 6 });
const scopes = fc.record({
  clusterId: fc.constantFrom('alpha', 'beta', ''),
  gte: bounds,
  lt: bounds,
  reverse: fc.boolean(),
});

test('a token gives its key back to the scope it was made for', () => {
  fc.assert(
    fc.property(scopes, keys, (scope, key) => {
      expect(decodeScanToken(scope, encodeScanToken(scope, key))).toEqual(key);
    }),
    { seed: 12 },
  );
});

test('a token is refused by every other scope', () => {
  fc.assert(
    fc.property(scopes, scopes, keys, (scope, other, key) => {
      const same = JSON.stringify(scope) === JSON.stringify(other);
      fc.pre(!same);
      expect(decodeScanToken(other, encodeScanToken(scope, key))).toBeUndefined();
    }),
    { seed: 13 },
  );
});

test('a token that was changed, cut or made up is refused', () => {
  fc.assert(
    fc.property(scopes, keys, fc.nat(), fc.integer({ min: 1, max: 255 }), (scope, key, at, by) => {
      const token = encodeScanToken(scope, key);
      const changed = Uint8Array.from(token);
      const place = at % token.length;
      changed[place] = (changed[place] as number) ^ by;
      expect(decodeScanToken(scope, changed)).toBeUndefined();
      expect(decodeScanToken(scope, token.subarray(0, at % token.length))).toBeUndefined();
      expect(decodeScanToken(scope, key)).toBeUndefined();
    }),
    { seed: 14 },
  );
});
