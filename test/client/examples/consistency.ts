// Usage: node dist/test/client/examples/consistency.js ENDPOINTS
import { compareVersions, connect } from 'quorate';

// Every request chooses its own level. What it leaves out comes from the connection: here QUORUM reads and ALL writes.
await using kv = await connect({
  endpoints: process.argv[2] ?? '127.0.0.1:7101',
  profile: { read: 'QUORUM', write: 'ALL' },
});

// A receipt tells how a request was reached.
const written = await kv.put('account/7', '120.00', { receipt: true });
console.log(`written to ${written.receipt?.answered} of ${written.receipt?.needed}`);

// Cheap, and still not older than the write above.
const fast = kv.with({ consistency: 'ONE' });
const entry = await fast.getEntry('account/7', { minVersion: written.version });
console.log(entry?.value, entry !== undefined && compareVersions(entry.version, written.version));
