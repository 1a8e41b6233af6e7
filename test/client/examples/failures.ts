// Usage: node dist/test/client/examples/failures.js ENDPOINTS
import { connect, KvError, type Version } from 'quorate';

await using kv = await connect(process.argv[2] ?? '127.0.0.1:7101');

// Everything that goes wrong is a KvError: what happened, whether it may have taken effect, what to do about it.
try {
  await kv.put('k', 'v', { consistency: 'LOCAL_QUORUM', zone: 'moon' });
} catch (error) {
  if (!(error instanceof KvError)) throw error;
  console.log(error.code, error.outcome, error.advice !== '');
}

// A signal ends an operation early. Was it written? `unknown` says that it may have been.
const controller = new AbortController();
const put = kv.put('order/1', 'placed', { signal: controller.signal });
controller.abort('the user left');
const failure = await put.catch((error: unknown) => error as KvError);
console.log(failure instanceof KvError && [failure.code, failure.outcome, failure.cause]);

// Retries need no thought: a write is stamped once, so however often it is sent it applies once. The same holds for a
// retry of your own, if it gives the version again.
const { version }: { version: Version } = await kv.put('order/2', 'placed');
await kv.put('order/2', 'placed', { version });
console.log((await kv.getEntry('order/2'))?.version.wallMs === version.wallMs);
