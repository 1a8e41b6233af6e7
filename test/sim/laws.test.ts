import { describe, expect, test } from 'vitest';
import { formatVersion } from '../../src/core/version.js';
import type { Evidence, StoredRecord } from './check/evidence.js';
import { checkLinearizable } from './check/linearizable.js';
import { fromJsonLines, toJsonLines, type HistoryEntry } from './history.js';
import { judge } from './run.js';

const REPLICAS = [
  { node: 'n1', zone: 'z1' },
  { node: 'n2', zone: 'z2' },
  { node: 'n3', zone: 'z3' },
];

/** An operation of client `c1` on one key at QUORUM, from `call` to `back`. */
function entry(
  op: HistoryEntry['op'],
  call: number,
  back: number,
  rest: Partial<HistoryEntry> = {},
): HistoryEntry {
  const stamps = op === 'get' || rest.version === undefined ? {} : { stamps: [rest.version] };
  return {
    index: call,
    process: 'c1',
    op,
    key: 'k',
    level: 'QUORUM',
    zone: '',
    status: 'ok',
    callMs: call,
    returnMs: back,
    call,
    return: back,
    ...stamps,
    ...rest,
  };
}

/** The same on a key of rounds. */
function lin(
  op: HistoryEntry['op'],
  call: number,
  back: number,
  rest: Partial<HistoryEntry>,
): HistoryEntry {
  return entry(op, call, back, { level: 'LINEARIZABLE', key: 'lin/0', ...rest });
}

function stored(version: string, value: string | undefined, node = 'n1'): StoredRecord {
  const tombstone = value === undefined;
  return { node, key: 'k', version, digest: `of ${version}`, tombstone, value };
}

/** Three replicas that hold `held` in the end, on whose disks `ever` has been. */
function evidence(
  held: StoredRecord | undefined,
  ever: readonly StoredRecord[],
  rest: Partial<Evidence> = {},
): Evidence {
  return {
    keys: ['k'],
    roundKeys: [],
    replicasOf: () => REPLICAS,
    stored: ever,
    copies: new Map(
      REPLICAS.map(({ node }) => [node, new Map(held === undefined ? [] : [['k', held]])]),
    ),
    dropped: new Map(),
    behindFences: [],
    wrongTrees: [],
    everDamaged: new Set(),
    damaged: new Set(),
    nodeStamps: [],
    clocksSane: true,
    startWallMs: 1_000,
    clockErrorMs: 5,
    forgot: false,
    ...rest,
  };
}

const A = stored('1', 'a');
const B = stored('2', 'b');
const putA = entry('put', 1, 2, { value: 'a', version: '1' });
const putB = entry('put', 3, 4, { value: 'b', version: '2' });
const readA = (call: number, back: number, rest: Partial<HistoryEntry> = {}) =>
  entry('get', call, back, { value: 'a', version: '1', ...rest });
const readB = (call: number, back: number, rest: Partial<HistoryEntry> = {}) =>
  entry('get', call, back, { value: 'b', version: '2', ...rest });

function lawsBroken(history: readonly HistoryEntry[], seen: Evidence): string {
  const letters = judge(history, seen).map(({ law }) => law[1] as string);
  return [...new Set(letters)].sort((a, b) => (a < b ? -1 : 1)).join('');
}

describe('the laws', () => {
  test('hold for a history in which all is well', () => {
    const history = [
      putA,
      readA(2.1, 2.2),
      putB,
      readB(5, 6),
      entry('delete', 7, 8, { version: '3' }),
    ];
    const tombstone = stored('3', undefined);
    expect(judge(history, evidence(tombstone, [A, B, tombstone]))).toEqual([]);
  });

  test('(a) an acknowledged write that is gone is lost, unless something newer is there', () => {
    expect(lawsBroken([putA], evidence(undefined, [A]))).toBe('a');
    expect(lawsBroken([putA, putB], evidence(B, [A, B]))).toBe('');
    expect(lawsBroken([{ ...putA, status: 'unknown' }], evidence(undefined, []))).toBe('');
  });

  test('(a) a write counts as acknowledged only with enough copies on disk at that moment', () => {
    expect(lawsBroken([{ ...putA, holders: 1 }], evidence(A, [A]))).toBe('a');
    expect(lawsBroken([{ ...putA, holders: 1, level: 'ONE' }], evidence(A, [A]))).toBe('');
  });

  test('(b) a QUORUM read sees what was acknowledged before it began, and may miss what was not', () => {
    expect(lawsBroken([putA, putB, readA(5, 6)], evidence(B, [A, B]))).toBe('b');
    expect(lawsBroken([putA, putB, readA(3.5, 6)], evidence(B, [A, B]))).toBe('');
    const unknown = { ...putB, status: 'unknown' as const };
    expect(lawsBroken([putA, unknown, readA(5, 6)], evidence(B, [A, B]))).toBe('');
  });

  test('(b) reads never go backwards, whoever reads', () => {
    const unknown = { ...putB, status: 'unknown' as const };
    const other = { process: 'c2' };
    expect(lawsBroken([putA, unknown, readB(5, 6), readA(7, 8, other)], evidence(B, [A, B]))).toBe(
      'b',
    );
    expect(lawsBroken([putA, unknown, readB(5, 8), readA(7, 9, other)], evidence(B, [A, B]))).toBe(
      '',
    );
  });

  test('(b) what levels owe each other is their arithmetic', () => {
    const one = { level: 'ONE' } as const;
    const all = { level: 'ALL' } as const;
    const seen = evidence(B, [A, B]);
    expect(lawsBroken([putA, putB, readA(5, 6, one)], seen)).toBe('');
    expect(lawsBroken([putA, { ...putB, ...all }, readA(5, 6, one)], seen)).toBe('b');
    expect(lawsBroken([putA, { ...putB, ...one }, readA(5, 6)], seen)).toBe('');
    expect(lawsBroken([putA, { ...putB, ...one }, readA(5, 6, all)], seen)).toBe('b');
    const local = { level: 'LOCAL_QUORUM', zone: 'z1' } as const;
    const elsewhere = { level: 'LOCAL_QUORUM', zone: 'z2' } as const;
    expect(lawsBroken([putA, { ...putB, ...local }, readA(5, 6, local)], seen)).toBe('b');
    expect(lawsBroken([putA, { ...putB, ...local }, readA(5, 6, elsewhere)], seen)).toBe('');
  });

  test('(b) minVersion is kept', () => {
    expect(
      lawsBroken([putA, readA(5, 6, { minVersion: '2', level: 'ONE' })], evidence(A, [A])),
    ).toBe('b');
  });

  test('(b) a scan that misses a key needs a deletion that explains it', () => {
    const scan = entry('scan', 5, 6, { key: '', range: { gte: '', lt: '' }, found: [] });
    expect(lawsBroken([putA, scan], evidence(A, [A]))).toBe('b');
    const deletion = entry('delete', 3, 9, { version: '2', status: 'unknown', stamps: ['2'] });
    expect(lawsBroken([putA, deletion, scan], evidence(A, [A, stored('2', undefined)]))).toBe('');
    // A deletion that reached no disk explains nothing.
    expect(lawsBroken([putA, deletion, scan], evidence(A, [A]))).toBe('b');
    const found = [{ key: 'k', version: '1', value: 'a' }];
    expect(lawsBroken([putA, { ...scan, found }], evidence(A, [A]))).toBe('');
  });

  test('(c) what is read or stored was written, as it is and before', () => {
    expect(lawsBroken([readA(1, 2)], evidence(undefined, []))).toBe('c');
    expect(lawsBroken([putA, readA(3, 4, { value: 'b' })], evidence(A, [A]))).toBe('c');
    const early = readA(0.1, 0.2, { process: 'c2' });
    expect(lawsBroken([early, putA], evidence(A, [A]))).toBe('c');
    expect(lawsBroken([putA], evidence(A, [A, B]))).toBe('c');
    const found = [{ key: 'k', version: '1', value: 'a' }];
    const beside = entry('scan', 5, 6, { key: '', range: { gte: 'l', lt: '' }, found });
    expect(lawsBroken([putA, beside], evidence(A, [A]))).toBe('c');
    // A refill gives up what a fence has passed, with a tombstone under the same version.
    const givenUp = [A, stored('1', undefined)];
    const dropped = new Map([['k', '1']]);
    expect(lawsBroken([putA], evidence(A, givenUp))).toBe('c');
    expect(lawsBroken([putA], evidence(A, givenUp, { dropped, forgot: true }))).toBe('');
  });

  test('(d) replicas are equal in the end, apart from keys that a disk has damaged', () => {
    const copies = new Map([
      ['n1', new Map([['k', A]])],
      ['n2', new Map([['k', A]])],
      ['n3', new Map<string, StoredRecord>()],
    ]);
    expect(lawsBroken([putA], evidence(A, [A], { copies }))).toBe('d');
    expect(lawsBroken([putA], evidence(A, [A], { copies, damaged: new Set(['k']) }))).toBe('');
    const stray = new Map([...evidence(A, [A]).copies, ['n4', new Map([['k', A]])]]);
    expect(lawsBroken([putA], evidence(A, [A], { copies: stray }))).toBe('d');
  });

  test('(e) versions are issued once, grow on each node, and are above what their client knew', () => {
    const again = entry('put', 3, 4, { value: 'a', version: '1' });
    expect(lawsBroken([putA, again], evidence(A, [A]))).toContain('e');
    const nodeStamps = [
      { node: 'n1', disk: 0, version: '5' },
      { node: 'n2', disk: 0, version: '4' },
      { node: 'n1', disk: 0, version: '5' },
    ];
    const onAnother = nodeStamps.map((stamp, at) => ({ ...stamp, disk: at }));
    expect(lawsBroken([putA], evidence(A, [A], { nodeStamps: onAnother }))).toBe('');
    expect(lawsBroken([putA], evidence(A, [A], { nodeStamps }))).toBe('e');
    const low = entry('put', 5, 6, { value: 'c', version: '1.5' });
    const history = [putA, putB, low];
    const ever = [A, B, stored('1.5', 'c')];
    expect(lawsBroken(history, evidence(B, ever))).toBe('e');
    expect(lawsBroken([putA, putB, { ...low, process: 'c2' }], evidence(B, ever))).toBe('');
    expect(lawsBroken(history, evidence(B, ever, { clocksSane: false }))).toBe('');
  });

  test('(f) a write is stored under one version, however often it was stamped', () => {
    const twice = { ...putA, version: '2', stamps: ['1', '2'] };
    expect(lawsBroken([twice], evidence(stored('2', 'a'), [A, stored('2', 'a')]))).toBe('f');
    expect(lawsBroken([twice], evidence(stored('2', 'a'), [stored('2', 'a')]))).toBe('');
  });

  test('(g) what failed with outcome none is nowhere', () => {
    expect(lawsBroken([{ ...putA, status: 'fail' }], evidence(A, [A]))).toBe('g');
    expect(lawsBroken([{ ...putA, status: 'fail' }], evidence(undefined, []))).toBe('');
  });

  test('(h) LINEARIZABLE operations have one order', () => {
    const level = { level: 'LINEARIZABLE' } as const;
    const history = [putA, putB, readB(5, 6), readB(7, 8)].map((one) => ({ ...one, ...level }));
    expect(lawsBroken(history, evidence(B, [A, B]))).toBe('');
    const stale = history.map((one) =>
      one.index === 7 ? { ...one, value: 'a', version: '1' } : one,
    );
    expect(lawsBroken(stale, evidence(B, [A, B]))).toContain('h');
  });

  test('(h) what the checker cannot tell counts neither as kept nor as broken', () => {
    const twice = [lin('put', 1, 4, { value: 'a' }), lin('put', 2, 3, { value: 'b' })];
    const history = [...twice, lin('get', 5, 6, { value: 'a' }), lin('get', 7, 8, { value: 'b' })];
    const letters = (most?: number): string[] =>
      checkLinearizable(history, most).map(({ law }) => law.slice(0, 3));
    expect(letters(1)).toEqual(['(?)']);
    expect(letters()).toEqual(['(h)']);
  });

  test('(h) a value that expires is gone for good, and a lost compare-and-set tells what was there', () => {
    const put = lin('put', 1, 2, { value: 'a', version: '1', ttlMs: 100 });
    const laws = (...more: HistoryEntry[]): string =>
      lawsBroken([put, ...more], evidence(undefined, []));
    const gone = lin('get', 5, 6, { version: '2' });
    const there = (call: number): HistoryEntry =>
      lin('get', call, call + 1, { value: 'a', version: '1' });
    expect(laws(there(3), gone)).toBe('');
    expect(laws(gone, there(7))).toBe('h');
    const lost = (call: number, told: string): HistoryEntry =>
      lin('cas', call, call + 1, {
        value: 'c',
        expected: 'x',
        swapped: false,
        version: '1',
        found: [{ key: 'lin/0', value: told, version: '1' }],
      });
    expect(laws(lost(3, 'a'), gone)).toBe('');
    expect(laws(gone, lost(7, 'a'))).toBe('h');
    expect(laws(lost(3, 'b'))).toBe('h');
  });

  test('(i) what has expired is not read, give or take the error of clocks, and what has not is', () => {
    // Stamped 10 ms after the start, it expires 20 ms later.
    const version = formatVersion({ wallMs: 1_010, logical: 0, writerHi: 0, writerLo: 0 });
    const put = entry('put', 1, 2, { value: 'a', version, ttlMs: 20 });
    const held = { ...stored(version, 'a'), expiresAtMs: 1_030 };
    const seen = evidence(held, [held]);
    const found = (call: number, back: number) => entry('get', call, back, { value: 'a', version });
    const gone = (call: number, back: number) => entry('get', call, back, { version });
    expect(lawsBroken([put, found(3, 34), gone(35, 36)], seen)).toBe('');
    expect(lawsBroken([put, found(34, 60), gone(24, 25)], seen)).toBe('');
    expect(lawsBroken([put, found(35, 36)], seen)).toBe('i');
    expect(lawsBroken([put, gone(23, 24)], seen)).toBe('i');
    const scan = (call: number, back: number) =>
      entry('scan', call, back, { key: '', range: { gte: '', lt: '' }, found: [] });
    expect(lawsBroken([put, scan(24, 25)], seen)).toBe('');
    expect(lawsBroken([put, scan(23, 24)], seen)).toBe('b');
  });

  test('(i) a record expires as long after its stamp as was asked', () => {
    const version = formatVersion({ wallMs: 1_010, logical: 0, writerHi: 0, writerLo: 0 });
    const put = entry('put', 1, 2, { value: 'a', version, ttlMs: 20 });
    const later = { ...stored(version, 'a'), expiresAtMs: 1_031 };
    const never = stored(version, 'a');
    expect(lawsBroken([put], evidence(later, [later]))).toBe('i');
    expect(lawsBroken([put], evidence(never, [never]))).toBe('i');
  });

  test('histories survive being written as JSON lines', () => {
    const history = [
      putA,
      readA(2.1, 2.2),
      { ...putB, status: 'unknown' as const, code: 'TIMED_OUT' as const },
    ];
    expect(fromJsonLines(toJsonLines(history))).toEqual(history);
  });
});
