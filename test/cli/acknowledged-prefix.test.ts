import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AcknowledgedPrefix } from '../../cli/acknowledged-prefix.js';

test('the prefix is the longest run of done records from the first, in whatever order they are done', () => {
  fc.assert(
    fc.property(
      fc.nat(30).chain((count) =>
        fc.shuffledSubarray(
          Array.from({ length: count }, (_, index) => index),
          { minLength: count },
        ),
      ),
      (order) => {
        const prefix = new AcknowledgedPrefix(5, 50);
        const done = new Set<number>();
        for (const index of order) {
          prefix.done(index + 5, (index + 6) * 10);
          done.add(index);
          let expected = 0;
          while (done.has(expected)) expected++;
          expect(prefix.records).toBe(expected + 5);
          expect(prefix.byte).toBe((expected + 5) * 10);
        }
      },
    ),
    { seed: 5, numRuns: 200 },
  );
});
