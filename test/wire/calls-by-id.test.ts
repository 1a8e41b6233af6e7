import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CallsById } from '../../src/wire/calls-by-id.js';

interface Numbered {
  readonly id: number;
}

/** An id: mostly the next one, as channels give them; or any, as nothing keeps the other side from sending. */
const steps = fc.array(
  fc.record({
    id: fc.oneof(
      { weight: 8, arbitrary: fc.constant('next' as const) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 0xffff_ffff }) },
      { weight: 1, arbitrary: fc.integer({ min: 1, max: 40 }).map((n) => n * 65_536) },
    ),
    gone: fc.option(fc.nat(), { nil: undefined, freq: 3 }),
  }),
  { maxLength: 400 },
);

describe('calls by id', () => {
  test('are those of a Map, whatever ids they have, however many there are and whichever go', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff_ff00 }), steps, (first, all) => {
        const calls = new CallsById<Numbered>();
        const model = new Map<number, Numbered>();
        let lastId = first;
        for (const { id, gone } of all) {
          lastId = id === 'next' ? (lastId % 0xffff_ffff) + 1 : id;
          if (!model.has(lastId)) {
            const call = { id: lastId };
            calls.add(call);
            model.set(lastId, call);
          }
          const leaving = gone === undefined ? undefined : [...model.keys()][gone % model.size];
          if (leaving !== undefined) {
            calls.delete(leaving);
            model.delete(leaving);
            expect(calls.get(leaving)).toBeUndefined();
            calls.delete(leaving);
          }
          expect(calls.size).toBe(model.size);
          expect(calls.has(lastId)).toBe(model.has(lastId));
        }
        for (const [id, call] of model) expect(calls.get(id)).toBe(call);
        expect(new Set(calls.list())).toEqual(new Set(model.values()));
        expect(calls.list().length).toBe(model.size);
        calls.clear();
        expect([calls.size, calls.list().length, calls.get(lastId)]).toEqual([0, 0, undefined]);
      }),
      { seed: 7, numRuns: 200 },
    );
  });

  test('are listed in the order in which they came where ids are given in order, those that stay long first', () => {
    const calls = new CallsById<Numbered>();
    for (let id = 1; id <= 5_000; id++) {
      calls.add({ id });
      if (id > 300) calls.delete(id - 290);
    }
    const ids = calls.list().map(({ id }) => id);
    expect(ids).toHaveLength(300);
    expect(ids.filter((id) => id > 10)).toEqual(Array.from({ length: 290 }, (_, i) => 4_711 + i));
  });
});
