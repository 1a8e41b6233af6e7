import { describe, expect, test } from 'vitest';
import { ERROR_CODES, KvError, type ErrorCode } from '../../src/core/errors.js';

describe('an error', () => {
  test('of every code says what a person can do, in whole sentences', () => {
    for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
      const error = new KvError(code, 'it failed');
      expect(error.advice, code).toMatch(/^[A-Z].*\.$/);
      expect(error.retryable).toBe(ERROR_CODES[code].retryable);
    }
  });

  test('tells that nothing happened unless it was made to say that something may have', () => {
    expect(new KvError('NO_QUORUM', 'x').outcome).toBe('none');
    expect(new KvError('NO_QUORUM', 'x', { outcome: 'unknown' }).outcome).toBe('unknown');
  });

  test('keeps its cause, its node and how far it got', () => {
    const cause = new Error('disk');
    const receipt = { coordinator: 'n1', needed: 2, answered: 1, replicas: [] };
    const error = new KvError('STORE_FAILED', 'x', { cause, node: 'n2', receipt });
    expect(error).toMatchObject({ name: 'KvError', cause, node: 'n2', receipt });
    expect(error).toBeInstanceOf(Error);
  });
});
