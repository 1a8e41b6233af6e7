// Usage: node dist/test/client/examples/first-steps.js ENDPOINTS
import { connect } from 'quorate';

await using kv = await connect(process.argv[2] ?? '127.0.0.1:7101');

await kv.put('greeting', 'hello');
console.log(await kv.get('greeting')); // hello

await kv.delete('greeting');
console.log(await kv.get('greeting')); // undefined: absence is a value, not an error
