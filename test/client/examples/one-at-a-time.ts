// Usage: node dist/test/client/examples/one-at-a-time.js ENDPOINTS
import { connect } from 'quorate';

await using kv = await connect(process.argv[2] ?? '127.0.0.1:7101');
await kv.delete('stock/7', { consistency: 'LINEARIZABLE' });

// Compare-and-set: written only if the key holds what is expected. Losing is a value that says what is there.
await kv.cas('stock/7', { expect: 'absent' }, '3');
const swap = await kv.cas('stock/7', { expect: { value: '4' } }, '5');
console.log(swap.swapped, !swap.swapped && swap.found?.value);

// Read, change, compare-and-set, and again while others are faster: nobody's change is lost.
await Promise.all([1, 2, 3].map(() => kv.atomic('stock/7', (left) => `${Number(left ?? 0) - 1}`)));
console.log(await kv.get('stock/7', { consistency: 'LINEARIZABLE' }));

// What became of a write can be asked for, also when it ended without an answer: the error names the same id.
console.log((await kv.outcome(swap.requestId)).result);

// A lock, with a fencing token: whatever it protects keeps the highest token that it has seen and refuses lower ones. Then a
// holder that was paused for longer than its lock lived can do no harm.
const lock = await kv.lock('reports', { ttlMs: 5_000 });
lock.signal.addEventListener('abort', () => console.log('lost: stop working'));
await kv.atomic('report', (last) => {
  if (last !== undefined && last > lock.token) throw new Error('a later holder was here');
  return lock.token;
});
console.log(lock.held, await lock.release());
