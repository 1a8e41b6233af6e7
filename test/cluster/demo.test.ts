import { describe, expect, test } from 'vitest';
import { compare, holdingTable } from '../../cluster/demo-play.js';

const entry = (key: string, value: string) => ({
  key: Buffer.from(key),
  value: Buffer.from(value),
});
const EXPECTED = new Map([
  ['a', 'second'],
  ['b', 'second'],
  ['c', 'first'],
]);

describe('what a node holds', () => {
  test('is up to date, old or missing, each key once', () => {
    const entries = [entry('a', 'first'), entry('c', 'first'), entry('other', 'x')];
    expect(compare('n3', entries, EXPECTED)).toEqual({
      node: 'n3',
      upToDate: 1,
      old: 1,
      missing: 1,
    });
  });

  test('is shown a column a node, without rows of zeros', () => {
    const equal = { upToDate: 1_300, old: 0, missing: 0 };
    expect(holdingTable([{ node: 'n1', ...equal }])).toBe(
      ['                    n1', '     up to date  1,300', ''].join('\n'),
    );
    const behind = { node: 'n2', upToDate: 1, old: 0, missing: 2 };
    expect(holdingTable([{ node: 'n1', ...equal }, behind])).toBe(
      [
        '                    n1     n2',
        '     up to date  1,300      1',
        '     missing         0      2',
        '',
      ].join('\n'),
    );
  });
});
