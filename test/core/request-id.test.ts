import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatRequestId, parseRequestId } from '../../src/core/request-id.js';
import { versions } from './arbitraries.js';

const text = '01a204b392e8-0000-0424f10091728777@';

describe('the id of a request', () => {
  test('reads back what was written, whatever the key, and is one plain word', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 40 }), versions, (key, version) => {
        const id = formatRequestId({ key, version });
        expect(id).toMatch(/^[\w@%.~:/-]+$/);
        expect(parseRequestId(id)).toEqual({ key: Buffer.from(key), version });
      }),
      { seed: 5 },
    );
  });

  test('shows what can be read of a key', () => {
    const { version } = parseRequestId(`${text}x`) ?? {};
    if (version === undefined) throw new Error('not read');
    expect(formatRequestId({ key: Buffer.from('user/4 2é'), version })).toBe(
      `${text}user/4%202%C3%A9`,
    );
  });

  test.each(['', 'x', text, `${text}a b`, `${text}%2`, `0${text}k`, 'k@k'])(
    'is not made of %j',
    (other) => {
      expect(parseRequestId(other)).toBeUndefined();
    },
  );
});
