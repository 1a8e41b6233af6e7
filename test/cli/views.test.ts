import { describe, expect, test } from 'vitest';
import { sharesOf } from '../../cli/commands/cluster.js';
import { judge } from '../../cli/commands/explain.js';
import { RateMeter } from '../../cli/progress.js';
import { parseEndpoints } from '../../cli/settings.js';
import { createPlacement } from '../../src/core/placement.js';
import type { ExplainedReplica } from '../../src/wire/replica-report.js';

function replica(node: string, rest: Partial<ExplainedReplica>): ExplainedReplica {
  return {
    node,
    result: 'found',
    version: { wallMs: 1, logical: 0, writerHi: 0, writerLo: 0 },
    digest: 'd',
    recordBytes: 1,
    valueBytes: 1,
    tombstone: false,
    expired: false,
    hidden: false,
    reason: '',
    ...rest,
  };
}

function verdictOn(...replicas: ExplainedReplica[]): number | undefined {
  return judge({ partition: 0, replicas, winner: '', why: '' })?.exitCode;
}

describe('the verdict of explain', () => {
  test('is that all is well when all replicas hold the same', () => {
    expect(verdictOn(replica('a', {}), replica('b', {}))).toBeUndefined();
    expect(
      verdictOn(replica('a', { result: 'absent' }), replica('b', { result: 'absent' })),
    ).toBeUndefined();
  });

  test('is 8 when they differ, in version, in bytes or in having it at all', () => {
    const newer = { version: { wallMs: 2, logical: 0, writerHi: 0, writerLo: 0 } };
    expect(verdictOn(replica('a', {}), replica('b', newer))).toBe(8);
    expect(verdictOn(replica('a', {}), replica('b', { digest: 'e' }))).toBe(8);
    expect(verdictOn(replica('a', {}), replica('b', { result: 'absent' }))).toBe(8);
    expect(
      verdictOn(replica('a', { hidden: true }), replica('b', { result: 'absent' })),
    ).toBeUndefined();
  });

  test('is 5 when one did not answer and the others agree', () => {
    const silent = replica('c', { result: 'unreachable', reason: 'down' });
    expect(verdictOn(replica('a', {}), replica('b', {}), silent)).toBe(5);
    expect(verdictOn(replica('a', {}), replica('b', { digest: 'e' }), silent)).toBe(8);
  });
});

test('shares count every partition once a replica, and once at the head of a list', () => {
  const members = ['a', 'b', 'c', 'd'].map((id) => ({ id, address: `${id}:1`, zone: 'z' }));
  const shares = sharesOf(createPlacement(members, 3));
  expect(shares.reduce((sum, { partitions }) => sum + partitions, 0)).toBe(3 * 256);
  expect(shares.reduce((sum, { first }) => sum + first, 0)).toBe(256);
});

describe('progress', () => {
  test('tells rate and time left from what this run did, not what an earlier one had', () => {
    const meter = new RateMeter(
      {
        verb: 'stored',
        items: 'records',
        total: 1_000,
        startDone: 500,
        startItems: 50,
      },
      0,
    );
    meter.update(750, 75);
    expect(meter.line(10_000)).toBe('stored 75 records (75 %), 3/s, 10 s left');
  });

  test('without a total tells no time left', () => {
    const meter = new RateMeter({ verb: 'exported', items: 'keys', total: undefined }, 0);
    meter.update(2_000, 2_000);
    expect(meter.line(2_000)).toBe('exported 2,000 keys, 1,000/s');
  });
});

describe('endpoints', () => {
  test('are HOST:PORT with commas, each once', () => {
    expect(parseEndpoints(' a:1,[::1]:2 ,a:1,')).toEqual(['a:1', '[::1]:2']);
  });

  test.each(['', ',', 'a', 'a:0', 'a:65536', 'a:b', 'http://a:1', '::1:2'])(
    'are refused when one is %j',
    (list) => {
      expect(() => parseEndpoints(list)).toThrow(/^--endpoints/);
    },
  );
});
