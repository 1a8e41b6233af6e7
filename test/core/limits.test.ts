import { describe, expect, test } from 'vitest';
import { checkKey, checkValue, DEFAULT_LIMITS } from '../../src/core/limits.js';

describe('limits', () => {
  test('admit keys of 1 to 4,096 bytes and name the bound to others', () => {
    expect(checkKey(Buffer.alloc(1), DEFAULT_LIMITS)).toBeUndefined();
    expect(checkKey(Buffer.alloc(4_096), DEFAULT_LIMITS)).toBeUndefined();
    expect(checkKey(Buffer.alloc(0), DEFAULT_LIMITS)).toMatchObject({
      code: 'INVALID_ARGUMENT',
      outcome: 'none',
      message: 'key: must not be empty',
    });
    expect(checkKey(Buffer.alloc(4_097), DEFAULT_LIMITS)).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: 'key: 4097 bytes, the limit is 4096',
    });
  });

  test('admit values of up to 1 MiB and name the bound to others', () => {
    expect(checkValue(0, DEFAULT_LIMITS)).toBeUndefined();
    expect(checkValue(1_048_576, DEFAULT_LIMITS)).toBeUndefined();
    expect(checkValue(1_048_577, DEFAULT_LIMITS)).toMatchObject({
      code: 'INVALID_ARGUMENT',
      outcome: 'none',
      message: 'value: 1048577 bytes, the limit is 1048576',
    });
  });
});
