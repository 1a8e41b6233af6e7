// Usage: node dist/test/client/examples/expiry.js ENDPOINTS
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'quorate';

await using kv = await connect(process.argv[2] ?? '127.0.0.1:7101');

// The time counts from the stamp of the write, so that a retry of it ends at the same moment.
const { version, expiresAtMs = 0 } = await kv.put('session/1', 'Ada', { ttlMs: 500 });
console.log(`Ada for ${expiresAtMs - version.wallMs} ms`);

while ((await kv.get('session/1')) !== undefined) await sleep(20);
console.log(await kv.get('session/1'));

// What is written later stays, whatever the expiry of what it replaces.
await kv.put('session/1', 'Edsger', { ttlMs: 10_000 });
await kv.put('session/1', 'Grace');
console.log(await kv.get('session/1'));
