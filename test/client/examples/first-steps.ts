// Usage: node dist/test/client/examples/first-steps.js ENDPOINTS
import { connect } from 'quorate';

await using kv = await connect(process.argv[2] ?? '127.0.0.1:7101');

await kv.put('user/1', 'Ada'); // on disk on a majority
console.log(await kv.get('user/1')); // Ada: a majority sees what a majority has

await kv.put('user/2', 'Grace', { consistency: 'ALL' }); // on disk on every replica
console.log(await kv.get('user/2', { consistency: 'ONE' })); // Grace: then any one of them will do

for await (const { keyText, value } of kv.scan({ prefix: 'user/' })) console.log(keyText, value);

await kv.delete('user/1');
console.log(await kv.get('user/1')); // undefined: absence is a value, not an error
