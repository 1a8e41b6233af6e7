import { KvError } from '../src/core/errors.js';
import type { Kv } from '../src/index.js';
import { note } from './output.js';
import type { Settings } from './settings.js';

/** Connects as the global options say, for as long as `use` runs. Values are bytes. */
export async function withKv<T>(
  settings: Settings,
  use: (kv: Kv<Uint8Array>) => Promise<T>,
): Promise<T> {
  const { endpoints, consistency, timeoutMs, zone } = settings;
  if (zone === undefined && consistency?.startsWith('LOCAL_') === true) {
    throw new KvError('INVALID_ARGUMENT', `zone: --consistency ${consistency} needs --zone`);
  }
  // Only now: what needs no cluster (help, completion) should not wait for gRPC to load.
  const { bytesCodec, connect } = await import('../src/index.js');
  const kv = await connect({
    endpoints,
    timeoutMs,
    connectTimeoutMs: timeoutMs,
    codec: bytesCodec,
    ...(consistency !== undefined && { consistency }),
    ...(zone !== undefined && { zone }),
  });
  try {
    return await use(kv);
  } finally {
    for (const { endpoint, message } of kv.cluster().refused) {
      note(`warning: ${endpoint} was not used: ${message}`);
    }
    await kv.close();
  }
}
