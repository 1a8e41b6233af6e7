import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { exitCodeOf } from '../../cli/exit-code.js';
import { CommandFailure, errorLines, errorView, usageError } from '../../cli/failure.js';
import { KvError, type ErrorCode } from '../../src/core/errors.js';

describe('exit codes', () => {
  test.each([
    ['INVALID_ARGUMENT', 2],
    ['NO_QUORUM', 5],
    ['UNAVAILABLE', 5],
    ['QUARANTINED', 5],
    ['TIMED_OUT', 6],
    ['WRONG_CLUSTER', 7],
    ['INCOMPATIBLE', 7],
    ['STORE_FAILED', 1],
    ['INTERNAL', 1],
  ] as const satisfies readonly (readonly [ErrorCode, number])[])('of %s is %d', (code, exit) => {
    expect(exitCodeOf(new KvError(code, 'x'))).toBe(exit);
  });

  test('of a failure of the command are its own, of anything else 1', () => {
    expect(exitCodeOf(usageError('x'))).toBe(2);
    expect(exitCodeOf(new CommandFailure(8, 'DIFFERS', 'x'))).toBe(8);
    expect(exitCodeOf(new TypeError('x'))).toBe(1);
  });
});

describe('an error', () => {
  const error = new KvError('NO_QUORUM', 'QUORUM needs 2 of 3 replicas, 1 answered', {
    outcome: 'unknown',
    receipt: {
      coordinator: 'n1',
      needed: 2,
      answered: 1,
      replicas: [
        { node: 'n1', result: 'ok' },
        { node: 'n2', result: 'unreachable', reason: 'down' },
      ],
    },
  });

  test('says to people what happened, whether it may have taken effect, and what to try', () => {
    expect(errorLines(errorView(error))).toEqual([
      'error: QUORUM needs 2 of 3 replicas, 1 answered [NO_QUORUM]',
      '  It may have taken effect, or may still.',
      '  n1  ok',
      '  n2  unreachable  (down)',
      `  ${error.advice}`,
    ]);
  });

  test('that can be tried again says so where it had no effect', () => {
    const { advice } = new KvError('OVERLOADED', 'x');
    expect(errorLines(errorView(new KvError('OVERLOADED', 'too much at once')))).toEqual([
      'error: too much at once [OVERLOADED]',
      '  It had no effect.',
      `  ${advice}`,
    ]);
  });

  test('of the system names the file, not the call', () => {
    const failure = failureOf(() => readFileSync('/no/such/file'));
    expect(errorLines(errorView(failure))[0]).toBe(
      'error: /no/such/file: no such file or directory [ENOENT]',
    );
  });

  test('says the same to machines', () => {
    expect(errorView(error)).toEqual({
      code: 'NO_QUORUM',
      message: error.message,
      outcome: 'unknown',
      retryable: true,
      advice: error.advice,
      receipt: {
        coordinator: 'n1',
        needed: 2,
        answered: 1,
        replicas: [
          { node: 'n1', result: 'ok' },
          { node: 'n2', result: 'unreachable', reason: 'down' },
        ],
      },
    });
  });
});

function failureOf(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}
