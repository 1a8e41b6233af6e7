import { expect, test } from 'vitest';
import { ChosenRecords } from '../../src/coordinator/chosen-records.js';
import { bytes } from './fixture.js';

const KEY_BYTES = 4_096;
const BOUND_BYTES = 16 * 1024 * 1024;

test('what was chosen last is kept within bounds, keys counted, and the oldest goes', () => {
  const chosen = new ChosenRecords();
  const record = bytes('small');
  const keys = Array.from({ length: 6_000 }, (_, i) => `${i}`.padEnd(KEY_BYTES, '.'));
  for (const key of keys) chosen.keep(key, record, 1);
  const kept = keys.map((key) => chosen.take(key) !== undefined);
  const count = kept.filter((is) => is).length;
  expect(count).toBe(Math.floor(BOUND_BYTES / (KEY_BYTES + record.length)));
  expect(kept.lastIndexOf(false)).toBe(keys.length - count - 1);

  const short = Array.from({ length: 20_000 }, (_, i) => `${i}`);
  for (const key of short) chosen.keep(key, record, 1);
  expect(short.filter((key) => chosen.take(key) !== undefined)).toEqual(short.slice(-16_384));
});
