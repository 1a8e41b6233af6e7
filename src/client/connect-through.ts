import { KvError } from '../core/errors.js';
import { textCodec, type Codec } from './codec.js';
import { parseEndpoints } from './endpoints.js';
import { checkCodec } from './entry.js';
import { Keyspace } from './keyspace.js';
import type { ConnectOptions, Kv } from './kv.js';
import {
  BASE_PROFILE,
  checkObject,
  checkSignal,
  checkTimeout,
  profileWith,
} from './request-options.js';
import { Session, type ClientPorts } from './session.js';

const DEFAULT_CONNECT_TIMEOUT_MS = 5_000;
const NO_PREFIX = new Uint8Array(0);

/** What `connect` does, through given ports: for tests and simulations. */
export async function connectThrough<V = string>(
  options: string | ConnectOptions<V>,
  ports: ClientPorts,
): Promise<Kv<V>> {
  const named: ConnectOptions<V> = typeof options === 'string' ? { endpoints: options } : options;
  checkObject('options', named);
  const { signal } = named;
  const endpoints = parseEndpoints(named.endpoints);
  const profile = profileWith(BASE_PROFILE, named);
  const codec = checkCodec(named.codec ?? (textCodec as unknown as Codec<V>));
  const timeoutMs = checkTimeout(
    'connectTimeoutMs',
    named.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
  );
  if (signal !== undefined && checkSignal(signal).aborted) {
    const cause: unknown = signal.reason;
    throw new KvError('CANCELLED', 'The signal had fired before the call.', { cause });
  }
  const session = new Session(ports);
  await session.open(endpoints, timeoutMs, signal);
  return new Keyspace(session, NO_PREFIX, codec, profile);
}
