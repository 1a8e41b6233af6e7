import { expect, test } from 'vitest';
import { FenceTable } from '../../src/replica/fence-table.js';
import { Promises } from '../../src/replica/promises.js';
import { CommitRound } from '../../src/replica/commit-round.js';
import { userKeyOf } from '../../src/replica/layout.js';
import { applyCall, bytes, recordOf } from './fixtures.js';

test('keys whose hashes are equal are different keys', () => {
  const names = ['a', 'b', 'ab', 'a', 'b', 'ab'];
  const round = new CommitRound(names.length);
  const calls = names.map((name, at) => ({
    ...applyCall(bytes(name), recordOf(bytes(name), at)),
    keyHash: 0xffff_fff0,
  }));
  const first = calls.map((call, slot) => round.add(call, slot) !== undefined);
  expect(first).toEqual([true, true, true, false, false, false]);
  const winners = round.decide(new FenceTable(), new Promises());
  expect(winners.map((held) => userKeyOf(held.storeKey).toString())).toEqual(['a', 'b', 'ab']);
  expect(round.answer()).toEqual({ applied: 3, kept: 3 });
  const kinds = calls.map((call) => call.answers[0]?.kind);
  expect(kinds.join(' ')).toBe('kept kept kept applied applied applied');
});
