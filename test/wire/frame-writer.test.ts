import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { FrameWriter } from '../../src/wire/frame-writer.js';
import { v1 } from '../../src/wire/messages.js';

// Lengths on both sides of where the length of a length changes.
const bytes = fc
  .oneof(
    fc.nat(40),
    fc.constantFrom(126, 127, 128, 129, 16_380, 16_383, 16_384, 16_385),
    fc.nat(70_000),
  )
  .chain((length) => fc.nat(255).map((byte) => new Uint8Array(length).fill(byte)));
const number = fc.oneof(
  fc.constantFrom(0, 1, 127, 128, 16_383, 16_384, 2 ** 21 - 1, 2 ** 21, 2 ** 28 - 1, 2 ** 28),
  fc.constantFrom(2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1),
  fc.nat(),
);
const small = fc.nat(40);
const text = fc.string({ unit: 'binary', maxLength: 200 });

const call: fc.Arbitrary<v1.Call.$Properties> = fc.record(
  {
    id: number,
    kind: small,
    timeoutMs: number,
    key: bytes,
    record: bytes,
    version: bytes,
    consistency: small,
    receipt: fc.boolean(),
    zone: text,
    traceparent: bytes,
    body: bytes,
    placementVersion: number,
    fence: bytes,
    expect: bytes,
    above: bytes,
  },
  { requiredKeys: [] },
);

const answer: fc.Arbitrary<v1.Answer.$Properties> = fc.record(
  {
    id: number,
    code: small,
    outcome: small,
    record: bytes,
    header: bytes,
    message: text,
    body: bytes,
    receipt: fc.record({ coordinator: text, needed: small }, { requiredKeys: [] }),
    fence: bytes,
    version: bytes,
    result: number,
  },
  { requiredKeys: [] },
);

describe('a frame', () => {
  test('of calls is what the generated encoder makes of them, whatever room it had', () => {
    fc.assert(
      fc.property(fc.array(call, { maxLength: 5 }), fc.nat(2_000), (calls, roomBytes) => {
        const frame = new FrameWriter(roomBytes);
        for (const one of calls) frame.call(one);
        expect(frame.empty).toBe(calls.length === 0);
        const generated = v1.CallFrame.encode({ calls }).finish();
        expect(Buffer.compare(frame.finish(), generated)).toBe(0);
      }),
      { numRuns: 300, seed: 1 },
    );
  });

  test('of answers is what the generated encoder makes of them, with the counter of commits', () => {
    const counter = fc.oneof(number, fc.maxSafeNat());
    fc.assert(
      fc.property(fc.array(answer, { maxLength: 5 }), counter, (answers, commitCounter) => {
        const frame = new FrameWriter();
        for (const one of answers) frame.answer(one);
        frame.commitCounter(commitCounter);
        const decoded = v1.AnswerFrame.decode(frame.finish());
        expect(decoded.commitCounter).toBe(commitCounter);
        const only = new FrameWriter();
        // A body that is written into its place is the same to a reader.
        for (const { body, ...rest } of answers) {
          const late = body && {
            length: body.length,
            writeTo: (out: Uint8Array, at: number) => out.set(body, at),
          };
          only.answer({ ...rest, ...(late ? { body: late } : {}) });
        }
        const generated = v1.AnswerFrame.encode({ answers }).finish();
        expect(Buffer.compare(only.finish(), generated)).toBe(0);
      }),
      { numRuns: 300, seed: 2 },
    );
  });
});
