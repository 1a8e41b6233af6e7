import { systemClock } from '../io/clock.js';
import { systemRandom } from '../io/random.js';
import { systemTimers } from '../io/timers.js';
import { createGrpcLinker } from '../wire/node-link.js';
import type { Codec } from './codec.js';
import { connectThrough } from './connect-through.js';
import type { ConnectOptions, Kv } from './kv.js';

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
