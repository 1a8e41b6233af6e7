import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { Waits } from '../../src/maintenance/waits.js';
import { createVirtualTime } from '../virtual-time.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Waits for a moment that comes, on a clock of its own. */
async function waited(): Promise<WeakRef<object>> {
  const time = createVirtualTime(0);
  const clock = { ...time.clock };
  const waits = new Waits(clock, time.timers);
  const moment = waits.until(clock.monotonicMs() + 10);
  await time.advance(10);
  expect(await moment).toBe(false);
  return new WeakRef(clock);
}

test('a wait that is over keeps nothing alive', async () => {
  const clock = await waited();
  await new Promise(setImmediate);
  collectGarbage();
  expect(clock.deref()).toBeUndefined();
});
