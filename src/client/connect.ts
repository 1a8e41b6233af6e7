import { KvError } from '../core/errors.js';
import { systemClock } from '../io/clock.js';
import { systemRandom } from '../io/random.js';
import { systemTimers } from '../io/timers.js';
import { createGrpcLinker } from '../wire/node-link.js';
import { textCodec, type Codec } from './codec.js';
import { parseEndpoints } from './endpoints.js';
import { checkCodec, Keyspace } from './keyspace.js';
import type { Kv, KvDefaults } from './kv.js';
import {
  BASE_PROFILE,
  checkObject,
  checkSignal,
  checkTimeout,
  profileWith,
} from './request-options.js';
import { Session, type ClientPorts } from './session.js';

/** How to reach a cluster, and what its requests leave out. */
export interface ConnectOptions<V = string> extends KvDefaults {
  /** `host:port` of some of the nodes, as a list or separated by commas. The others are found through them. */
  readonly endpoints: string | readonly string[];
  /** How long to wait for the first node to answer, 1 to 60,000. Default: 5,000. */
  readonly connectTimeoutMs?: number;
  /** What values are. Default: {@link textCodec}. */
  readonly codec?: Codec<V>;
  /** Gives up connecting. Has no effect afterwards; requests have signals of their own. */
  readonly signal?: AbortSignal;
}

const DEFAULT_CONNECT_TIMEOUT_MS = 5_000;
const NO_PREFIX = new Uint8Array(0);

/**
 * Connects to a cluster, and resolves when one of the endpoints has answered. Rejects with INVALID_ARGUMENT, with UNAVAILABLE
 * when none has in time (saying of each why), with WRONG_CLUSTER or INCOMPATIBLE when all refuse, with CANCELLED.
 *
 * ```ts
 * await using kv = await connect('127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103');
 * await kv.put('greeting', 'hello');
 * ```
 */
export function connect(
  options: string | (ConnectOptions & { codec?: never }),
): Promise<Kv<string>>;
export function connect<V>(options: ConnectOptions<V> & { codec: Codec<V> }): Promise<Kv<V>>;
export function connect<V>(options: string | ConnectOptions<V>): Promise<Kv<V> | Kv<string>> {
  const system = { clock: systemClock, timers: systemTimers, random: systemRandom };
  return connectThrough(options, { ...system, linker: createGrpcLinker(system) });
}

/** {@link connect} through given ports: what tests and simulations use. */
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
