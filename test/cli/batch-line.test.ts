import { describe, expect, test } from 'vitest';
import { parseOperation, problemLine, resultLine } from '../../cli/batch-line.js';
import { KvError } from '../../src/core/errors.js';

const version = { wallMs: 1, logical: 2, writerHi: 3, writerLo: 4 };

describe('a line of a batch', () => {
  test('is an operation', () => {
    expect(parseOperation('{"op":"put","key":"a","value":{"base64":"/w=="}}')).toEqual({
      type: 'put',
      key: Buffer.from('a'),
      value: Buffer.from([255]),
    });
    expect(parseOperation('{"op":"get","key":"a"}')).toEqual({
      type: 'get',
      key: Buffer.from('a'),
    });
    expect(parseOperation('{"op":"del","key":"a"}')).toMatchObject({ type: 'delete' });
    expect(parseOperation('{"op":"put","key":"a","value":"b","ttl":"1.5m"}')).toMatchObject({
      type: 'put',
      ttlMs: 90_000,
    });
  });

  test.each([
    ['nope', /^is not JSON/],
    ['[]', /^is no JSON object/],
    ['{"op":"add","key":"a"}', /^op: must be/],
    ['{"op":"toString","key":"a"}', /^op: must be/],
    ['{"op":"get"}', /^key: must be/],
    ['{"op":"put","key":"a"}', /^value: must be/],
    ['{"op":"get","key":"a","value":"b"}', /^value: does not go/],
    ['{"op":"get","key":"a","tll":"1s"}', /^has an unknown field "tll"/],
    ['{"op":"get","key":"a","ttl":"1s"}', /^ttl: does not go with "get"/],
    ['{"op":"put","key":"a","value":"b","ttl":30}', /^ttl: must be a duration of 1ms to 3650d/],
    ['{"op":"put","key":"a","value":"b","ttl":"0s"}', /^ttl: must be/],
  ])('%s is refused, naming the field', (text, problem) => {
    expect(parseOperation(text)).toEqual({ problem: expect.stringMatching(problem) });
  });
});

describe('the answer to a line', () => {
  const get = { type: 'get', key: Buffer.from('a') } as const;

  test('says what was found', () => {
    expect(JSON.parse(resultLine(get, { ok: true, type: 'get', entry: undefined }))).toEqual({
      ok: true,
      op: 'get',
      key: 'a',
      found: false,
    });
  });

  test('says what was written, and what hides it', () => {
    const put = { type: 'put', key: Buffer.from('a'), value: Buffer.from('b') } as const;
    const written = { version, shadowedBy: { ...version, wallMs: 2 } };
    expect(JSON.parse(resultLine(put, { ok: true, type: 'put', written }))).toEqual({
      ok: true,
      op: 'put',
      key: 'a',
      version: '000000000001-0002-0000000300000004',
      writtenAt: '1970-01-01T00:00:00.001Z',
      shadowedBy: '000000000002-0002-0000000300000004',
    });
  });

  test('says what failed, with its outcome', () => {
    const error = new KvError('INVALID_ARGUMENT', 'operations[4].key: must not be empty');
    expect(JSON.parse(resultLine(get, { ok: false, type: 'get', error }))).toMatchObject({
      ok: false,
      op: 'get',
      error: { code: 'INVALID_ARGUMENT', message: 'key: must not be empty', outcome: 'none' },
    });
    expect(JSON.parse(problemLine(3, 'is not JSON'))).toMatchObject({ ok: false, line: 3 });
  });
});
