import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeExpectation, encodeExpectation } from '../../src/core/expectation.js';
import { ANSWERED, floorOf, MAX_REMEMBERED } from '../../src/core/ledger.js';
import { decide, type Change, type Expectation } from '../../src/core/linear-decision.js';
import { MAX_RETRY_AGE_MS } from '../../src/core/limits.js';
import { decodeRecord, encodeRecord, versionOf } from '../../src/core/record.js';
import { ZERO_VERSION, type Version } from '../../src/core/version.js';
import { answeredIn } from './answered-in.js';

const KEY = Buffer.from('k');
const at = (wallMs: number, logical = 0): Version => ({
  wallMs,
  logical,
  writerHi: 0,
  writerLo: 7,
});

/** One key on which rounds are run one after another, each in full. */
class Register {
  record: Uint8Array | undefined;
  nowMs = 1_000;

  run(id: Version, change: Change): { code: number | 'forgotten'; version: Version | undefined } {
    // The law of ballots: above the id of their request.
    this.nowMs = Math.max(this.nowMs, id.wallMs) + 1;
    const decision = decide(
      { key: KEY, id, change },
      { record: this.record, fence: ZERO_VERSION, ballot: at(this.nowMs), nowMs: this.nowMs },
    );
    if (decision.kind === 'forgotten') return { code: 'forgotten', version: undefined };
    this.record = decision.record;
    const { code, version } = decision.result;
    return { code: change.kind === 'outcome' && code === 0 ? 'forgotten' : code, version };
  }

  /** A plain write, as any replica takes it. */
  plain(value: string): void {
    this.nowMs++;
    this.record = encodeRecord(KEY, {
      version: at(this.nowMs),
      tombstone: false,
      value: Buffer.from(value),
    });
  }

  get value(): string | undefined {
    const fields = this.record === undefined ? undefined : decodeRecord(this.record);
    if (fields === undefined || fields.tombstone) return undefined;
    return Buffer.from(fields.value).toString();
  }

  get changed(): Version {
    const fields = decodeRecord(this.record as Uint8Array);
    return fields?.changed ?? (fields?.version as Version);
  }
}

function write(value: string | undefined, expected?: Expectation): Change {
  const next = value === undefined ? {} : { value: Buffer.from(value) };
  return { kind: 'write', next, ...(expected === undefined ? {} : { expect: expected }) };
}

describe('a round of a key', () => {
  test('puts, deletes and compares, and answers with the version of what it found or made', () => {
    const register = new Register();
    expect(register.run(at(1), write('a', { kind: 'absent' }))).toEqual({
      code: ANSWERED.applied,
      version: at(1_001),
    });
    expect(register.run(at(2), write('b', { kind: 'absent' }))).toEqual({
      code: ANSWERED.lost,
      version: at(1_001),
    });
    expect(register.value).toBe('a');
    const found = { kind: 'version', version: register.changed } as const;
    expect(register.run(at(3), write('b', found)).code).toBe(ANSWERED.applied);
    expect(register.run(at(4), write('c', found)).code).toBe(ANSWERED.lost);
    const value = { kind: 'value', value: Buffer.from('b') } as const;
    expect(register.run(at(5), write(undefined, value)).code).toBe(ANSWERED.applied);
    expect(register.value).toBeUndefined();
    expect(register.run(at(6), write('d', { kind: 'absent' })).code).toBe(ANSWERED.applied);
  });

  test('that only says again what is there keeps the version that users see, and its ballot wins', () => {
    const register = new Register();
    register.run(at(1), write('a'));
    const seen = register.changed;
    register.run(at(2), { kind: 'read' });
    register.run(at(3), write('b', { kind: 'absent' }));
    expect(register.changed).toEqual(seen);
    expect(versionOf(register.record as Uint8Array)).toEqual(at(register.nowMs));
    expect(register.value).toBe('a');
  });

  test('finds nothing past the expiry, and says so with a tombstone', () => {
    const register = new Register();
    register.run(at(1), {
      kind: 'write',
      next: { value: Buffer.from('a'), expiresAtMs: 1_500 },
    });
    expect(register.run(at(2), write('b', { kind: 'absent' })).code).toBe(ANSWERED.lost);
    expect(decodeRecord(register.record as Uint8Array)?.expiresAtMs).toBe(1_500);
    register.nowMs = 1_499;
    register.run(at(3), { kind: 'read' });
    expect(register.value).toBeUndefined();
    expect(register.run(at(4), write('b', { kind: 'absent' })).code).toBe(ANSWERED.applied);
  });

  test('whose outcome was asked for before it came never takes effect', () => {
    const register = new Register();
    register.run(at(1), write('a'));
    expect(register.run(at(2), { kind: 'outcome' }).code).toBe(ANSWERED.never);
    expect(register.run(at(2), write('b')).code).toBe(ANSWERED.never);
    expect(register.value).toBe('a');
    expect(register.run(at(1), { kind: 'outcome' })).toEqual({
      code: ANSWERED.applied,
      version: at(1_001),
    });
  });

  test('takes a request below a plain write for one that may have been forgotten', () => {
    const register = new Register();
    register.run(at(1), write('a'));
    register.plain('p');
    expect(register.run(at(1), write('a')).code).toBe('forgotten');
    expect(register.run(at(register.nowMs, 1), write('b')).code).toBe(ANSWERED.applied);
    expect(register.run(at(1), write('a')).code).toBe('forgotten');
  });

  test('remembers a bounded number of requests, and none that nobody sends again', () => {
    const register = new Register();
    for (let i = 1; i <= 3 * MAX_REMEMBERED; i++) register.run(at(i), write(`v${i}`));
    const ledger = decodeRecord(register.record as Uint8Array)?.ledger as Uint8Array;
    expect(answeredIn(ledger)).toHaveLength(MAX_REMEMBERED);
    expect(floorOf(ledger)).toEqual(at(2 * MAX_REMEMBERED));
    register.nowMs += 2 * MAX_RETRY_AGE_MS;
    register.run(at(register.nowMs), write('last'));
    const later = decodeRecord(register.record as Uint8Array)?.ledger as Uint8Array;
    expect(answeredIn(later)).toHaveLength(1);
  });

  test('applies a request once, however often and in whatever order it is sent', () => {
    const change = fc.oneof(
      fc.constant('plain' as const),
      fc.record({ id: fc.integer({ min: 1, max: 30 }), asks: fc.boolean() }),
    );
    fc.assert(
      fc.property(fc.array(change, { maxLength: 300 }), (steps) => {
        const register = new Register();
        const answers = new Map<number, unknown>();
        const applied = new Map<number, number>();
        for (const [i, step] of steps.entries()) {
          if (step === 'plain') {
            register.plain(`p${i}`);
            continue;
          }
          const { id, asks } = step;
          const stamp = at(1_000 + id * 5);
          const before = register.value;
          const answer = register.run(stamp, asks ? { kind: 'outcome' } : write(`w${id}.${i}`));
          if (register.value !== before) applied.set(id, (applied.get(id) ?? 0) + 1);
          if (answer.code === 'forgotten') continue;
          const first = answers.get(id) ?? answer.code;
          answers.set(id, first);
          expect(answer.code).toBe(first);
        }
        for (const times of applied.values()) expect(times).toBe(1);
      }),
      { seed: 5, numRuns: 300 },
    );
  });
});

test('an expectation travels as bytes, and bytes that are none are refused', () => {
  const expectations: Expectation[] = [
    { kind: 'version', version: at(5, 6) },
    { kind: 'value', value: Buffer.from('v') },
    { kind: 'value', value: Buffer.alloc(0) },
    { kind: 'absent' },
  ];
  for (const expectation of expectations) {
    expect(decodeExpectation(encodeExpectation(expectation))).toEqual(expectation);
  }
  for (const bytes of [[], [0], [1, 2], [3, 0], [4]]) {
    expect(decodeExpectation(Uint8Array.from(bytes))).toBeUndefined();
  }
});
