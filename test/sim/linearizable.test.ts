import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { judgeRegister, type RegisterCall } from './check/register.js';

const FOREVER = Number.POSITIVE_INFINITY;

function verdictOf(calls: readonly RegisterCall[], maxStandings?: number): string {
  return judgeRegister(calls, maxStandings).verdict;
}

function write(value: string, call: number, back: number): RegisterCall {
  return done('write', value, call, back);
}

function read(value: string | undefined, call: number, back: number): RegisterCall {
  return done('read', value, call, back);
}

function cas(
  expected: string | undefined,
  value: string,
  swapped: boolean,
  call: number,
  back: number,
): RegisterCall {
  return { ...done('cas', value, call, back), expected, swapped };
}

function done(
  kind: RegisterCall['kind'],
  value: string | undefined,
  call: number,
  back: number,
): RegisterCall {
  const known = back < FOREVER;
  return { kind, value, call, return: back, known, expected: undefined, swapped: false };
}

describe('the judge of linearizability', () => {
  test('takes histories that one order explains', () => {
    expect(verdictOf([])).toBe('linearizable');
    expect(verdictOf([write('a', 1, 2), read('a', 3, 4)])).toBe('linearizable');
    // A write that overlaps two reads takes effect between them.
    expect(verdictOf([write('a', 1, 8), read(undefined, 2, 3), read('a', 4, 5)])).toBe(
      'linearizable',
    );
    // Nobody knows of a write, and it explains a read long afterwards.
    const late = [write('a', 1, FOREVER), write('b', 2, 3), read('b', 4, 5), read('a', 6, 7)];
    expect(verdictOf(late)).toBe('linearizable');
    expect(verdictOf([cas(undefined, 'a', true, 1, 2), cas('a', 'b', true, 1, 2)])).toBe(
      'linearizable',
    );
  });

  test('refuses those that none explains', () => {
    expect(verdictOf([write('a', 1, 2), read(undefined, 3, 4)])).toBe('illegal');
    expect(verdictOf([write('a', 1, 8), read('a', 2, 3), read(undefined, 4, 5)])).toBe('illegal');
    expect(verdictOf([read('a', 1, 2), write('a', 3, 4)])).toBe('illegal');
    const twice = [cas(undefined, 'a', true, 1, 2), cas(undefined, 'b', true, 1, 2)];
    expect(verdictOf(twice)).toBe('illegal');
    expect(verdictOf([write('a', 1, 2), cas('a', 'b', false, 3, 4)])).toBe('illegal');
  });

  test('says when it gives up', () => {
    const calls = Array.from({ length: 10 }, (_, i) => [
      write(`${i}`, 1, 100),
      read(`${i}`, 2, 101),
    ]);
    const all = [...calls.flat(), read('none', 102, 103)];
    expect(verdictOf(all, 100)).toBe('undecided');
    expect(verdictOf(all)).toBe('illegal');
  });

  test('decides where dozens of writes were never answered, seen later or not', () => {
    const open = Array.from({ length: 40 }, (_, i) => write(`open ${i}`, i, FOREVER));
    const swaps = Array.from({ length: 40 }, (_, i) => ({
      ...cas(i === 0 ? 'k49' : `swap ${i - 1}`, `swap ${i}`, false, 50 + i, FOREVER),
    }));
    const known = Array.from({ length: 50 }, (_, i) => [
      write(`k${i}`, 100 + 4 * i, 101 + 4 * i),
      read(`k${i}`, 102 + 4 * i, 103 + 4 * i),
    ]).flat();
    const calls = [...open, ...swaps, ...known];
    // The last swap was seen, so each before it took place; after that the writes, one after another.
    const seen = [
      read('swap 39', 400, 401),
      ...open.map(({ value }, i) => read(value, 500 + 2 * i, 501 + 2 * i)),
    ];
    expect(verdictOf([...calls, ...seen])).toBe('linearizable');
    expect(verdictOf([...calls, ...seen, read('k0', 900, 901)])).toBe('illegal');
    expect(verdictOf([...calls, ...seen, read('open 3', 900, 901)])).toBe('illegal');
    expect(verdictOf([...calls, ...seen, read('swap 7', 900, 901)])).toBe('illegal');
    // Seen before it began.
    expect(verdictOf([write('a', 5, FOREVER), read('a', 1, 2)])).toBe('illegal');
  });

  test('judges as trying out every order does', () => {
    const value = fc.constantFrom('0', '1', '2', '3', undefined, undefined);
    const call = fc.record({
      kind: fc.constantFrom('read' as const, 'write' as const, 'cas' as const),
      seen: value,
      expected: value,
      isGone: fc.integer({ max: 3 }).map((drawn) => drawn === 0),
      swapped: fc.boolean(),
      start: fc.integer({ min: 0, max: 12 }),
      length: fc.integer({ min: 1, max: 8 }),
      isOpen: fc.boolean(),
    });
    const verdicts = new Map<string, number>();
    fc.assert(
      fc.property(fc.array(call, { maxLength: 8 }), (drawn) => {
        const calls = drawn.map(
          ({ kind, seen, expected, isGone, swapped, start, length, isOpen }, i): RegisterCall => {
            const known = kind === 'read' || !isOpen;
            return {
              kind,
              // No two write the same.
              value: kind === 'read' ? seen : isGone ? undefined : `${i}`,
              expected,
              swapped,
              call: start,
              known,
              return: known ? start + length : FOREVER,
            };
          },
        );
        const verdict = verdictOf(calls);
        verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
        expect(verdict).toBe(tryEveryOrder(calls, undefined) ? 'linearizable' : 'illegal');
      }),
      { seed: 11, numRuns: 3_000 },
    );
    expect(verdicts.get('linearizable')).toBeGreaterThan(100);
    expect(verdicts.get('illegal')).toBeGreaterThan(100);
  });

  test('judges a long history with many clients quickly', () => {
    const calls: RegisterCall[] = [];
    let value: string | undefined;
    for (let i = 0; i < 4_000; i++) {
      // Eight operations overlap at any time; each takes effect in the order of its number.
      if (i % 3 === 0) {
        value = `${i}`;
        calls.push(write(value, i, i + 8));
      } else calls.push(read(value, i, i + 8));
    }
    expect(verdictOf(calls)).toBe('linearizable');
    calls.push(read('0', 5_000, 5_001));
    expect(verdictOf(calls)).toBe('illegal');
  });
});

/** The deliberately dumb twin: takes any call that may be first, and goes on with the rest. */
function tryEveryOrder(left: readonly RegisterCall[], state: string | undefined): boolean {
  if (left.every(({ known }) => !known)) return true;
  const firstReturn = Math.min(...left.map((call) => call.return));
  return left.some((call, i) => {
    if (call.call > firstReturn) return false;
    const rest = left.filter((_, j) => j !== i);
    switch (call.kind) {
      case 'read':
        return call.value === state && tryEveryOrder(rest, state);
      case 'write':
        return tryEveryOrder(rest, call.value);
      case 'cas': {
        const swaps = call.expected === state;
        if (call.known && swaps !== call.swapped) return false;
        return tryEveryOrder(rest, swaps ? call.value : state);
      }
    }
  });
}
