import type { Consistency } from '../../src/core/consistency.js';
import type { SimClient } from './client.js';
import type { Ask } from './recorded-client.js';
import { LONGEST_REQUEST_MS, type Shape } from './shape.js';
import type { Stream } from './seed.js';

/** What a client does for as long as `going` says so. */
export type Workload = (client: SimClient, shape: Shape, going: () => boolean) => Promise<void>;

const PLAIN_LEVELS: readonly Consistency[] = ['ONE', 'TWO', 'THREE', 'QUORUM', 'ALL'];

/** Levels that the cluster can meet, with QUORUM as often as all others. */
function anyLevel(stream: Stream, shape: Shape): Consistency {
  if (stream.chance(0.5)) return 'QUORUM';
  const replicas = Math.min(shape.replication, shape.nodes);
  const possible = PLAIN_LEVELS.filter(
    (level) => !(level === 'TWO' && replicas < 2) && !(level === 'THREE' && replicas < 3),
  );
  return stream.pick(possible);
}

/** Values are mostly small, sometimes larger than a few kilobytes. */
function someBytes(stream: Stream): number {
  return stream.chance(0.05) ? 4_000 : 16;
}

/** Patience from plenty to far too little, so that retries through other nodes and late answers are common. */
function somePatience(stream: Stream): number {
  return stream.pick([20, 100, 400, 1_000, 3_000, LONGEST_REQUEST_MS]);
}

function forever(step: (client: SimClient, shape: Shape) => Promise<unknown>): Workload {
  return async (client, shape, going) => {
    while (going()) {
      await client.think();
      await step(client, shape);
    }
  };
}

/** What each client last saw under a key, so that many of its compare-and-sets win. */
const SEEN = new WeakMap<SimClient, Map<string, string | undefined>>();

async function stepLinear(client: SimClient, key: string): Promise<void> {
  const { stream } = client;
  const ask: Ask = { level: 'LINEARIZABLE', timeoutMs: somePatience(stream) };
  const written = stream.chance(0.2) ? { ...ask, ttlMs: stream.pick([100, 500, 1_500]) } : ask;
  let seen = SEEN.get(client);
  if (seen === undefined) SEEN.set(client, (seen = new Map()));
  const choice = stream.fraction();
  if (choice < 0.4) seen.set(key, await client.cas(key, seen.get(key), written));
  else if (choice < 0.6) {
    const isDelete = stream.chance(0.25);
    await client.putLinear(key, isDelete, isDelete ? ask : written);
  } else seen.set(key, await client.getValue(key, ask));
}

export const WORKLOADS = {
  /** Reads and writes of QUORUM on all keys: what most users do. */
  quorum: forever((client, { keys }) => {
    const key = client.stream.pick(keys);
    const ask: Ask = { level: 'QUORUM', timeoutMs: somePatience(client.stream) };
    return client.stream.chance(0.5)
      ? client.put(key, ask, someBytes(client.stream))
      : client.get(key, ask);
  }),

  /** Reads, writes and deletes at every level. */
  levels: forever((client, shape) => {
    const key = client.stream.pick(shape.keys);
    const ask: Ask = {
      level: anyLevel(client.stream, shape),
      timeoutMs: somePatience(client.stream),
    };
    const choice = client.stream.fraction();
    if (choice < 0.4) return client.put(key, ask, someBytes(client.stream));
    return choice < 0.5 ? client.delete(key, ask) : client.get(key, ask);
  }),

  /** Many reads and writes of the very same key. */
  hot: forever((client, { keys }) => {
    const ask: Ask = { level: 'QUORUM', timeoutMs: somePatience(client.stream) };
    const key = keys[0] as string;
    return client.stream.chance(0.4) ? client.put(key, ask) : client.get(key, ask);
  }),

  deletes: forever((client, { keys }) => {
    const key = client.stream.pick(keys);
    const ask: Ask = { level: 'QUORUM', timeoutMs: somePatience(client.stream) };
    const choice = client.stream.fraction();
    if (choice < 0.3) return client.put(key, ask);
    return choice < 0.6 ? client.delete(key, ask) : client.get(key, ask);
  }),

  scans: forever((client, shape) => {
    const { stream } = client;
    const level = anyLevel(stream, shape);
    if (stream.chance(0.3)) return client.put(stream.pick(shape.keys), { level: 'QUORUM' });
    const [gte, lt] = [stream.pick(shape.keys), stream.pick(shape.keys)].sort() as [string, string];
    const whole = stream.chance(0.5);
    return client.scan(
      whole ? 'key/' : gte,
      whole ? 'key0' : `${lt}0`,
      stream.chance(0.3),
      stream.pick([1, 3, 100]),
      { level, timeoutMs: somePatience(stream) },
    );
  }),

  batches: forever((client, shape) => {
    const { stream } = client;
    const keys = stream.shuffled(shape.keys).slice(0, 1 + stream.below(8));
    return client.batch(
      keys.map((key) => ({ op: stream.pick(['get', 'put', 'put', 'delete'] as const), key })),
      { level: anyLevel(stream, shape), timeoutMs: somePatience(stream) },
    );
  }),

  /** Values that expire, among others that do not, each soon enough to be read before and after. */
  expiring: forever((client, { keys }) => {
    const { stream } = client;
    const key = stream.pick(keys);
    const ask: Ask = { level: 'QUORUM', timeoutMs: somePatience(stream) };
    const choice = stream.fraction();
    if (choice < 0.25) {
      return client.put(key, { ...ask, ttlMs: stream.pick([1, 100, 500, 1_500, 4_000]) });
    }
    if (choice < 0.4) return client.put(key, ask);
    return choice < 0.85 ? client.get(key, ask) : client.scan('key/', 'key0', false, 100, ask);
  }),

  /** Reads never older than what it has read or written, by `minVersion`, at levels that do not give that themselves. */
  sessions: async (client, shape, going) => {
    const { stream } = client;
    const seen = new Map<string, string>();
    while (going()) {
      await client.think();
      const key = stream.pick(shape.keys);
      const ask: Ask = { level: stream.pick(['ONE', 'QUORUM']), timeoutMs: somePatience(stream) };
      const least = seen.get(key) ?? '';
      const version = stream.chance(0.4)
        ? await client.put(key, ask)
        : await client.get(key, ask, least === '' ? undefined : least);
      if (version !== undefined && version > least) seen.set(key, version);
    }
  },

  /** Writes that nodes stamp. */
  unstamped: forever((client, { keys }) => {
    const { stream } = client;
    const key = stream.pick(keys);
    const ask: Ask = { level: stream.pick(['ONE', 'QUORUM']), timeoutMs: somePatience(stream) };
    return stream.chance(0.6)
      ? client.putUnstamped(key, stream.chance(0.2), ask)
      : client.get(key, ask);
  }),

  /** Writes with stamps of their own, often older than what is there already. */
  late: forever((client, { keys }) => {
    const { stream } = client;
    const key = stream.pick(keys);
    const ask: Ask = { level: stream.pick(['ONE', 'QUORUM']), timeoutMs: somePatience(stream) };
    return stream.chance(0.6)
      ? client.putLate(key, stream.exponential(300), ask)
      : client.get(key, { ...ask, level: 'QUORUM' });
  }),

  /** Within one zone, where each key has a replica in it. */
  zones: forever((client, shape) => {
    const { stream } = client;
    const zones = new Set(shape.members.map(({ zone }) => zone));
    const everywhere = Math.min(shape.replication, shape.nodes) >= zones.size;
    const zone = stream.pick([...zones]);
    const level = everywhere ? stream.pick(['LOCAL_ONE', 'LOCAL_QUORUM'] as const) : 'QUORUM';
    const ask: Ask = {
      level,
      ...(everywhere ? { zone } : {}),
      timeoutMs: somePatience(stream),
    };
    const key = stream.pick(shape.keys);
    return stream.chance(0.5) ? client.put(key, ask) : client.get(key, ask);
  }),

  /** What is only in the end the same everywhere. */
  ones: forever((client, { keys }) => {
    const key = client.stream.pick(keys);
    const ask: Ask = { level: 'ONE', timeoutMs: somePatience(client.stream) };
    return client.stream.chance(0.4) ? client.put(key, ask) : client.get(key, ask);
  }),

  /** Everything that LINEARIZABLE is for, and nothing else, on keys that others leave alone. */
  linear: forever((client, { roundKeys }) => {
    const key = client.stream.pick(roundKeys.filter((one) => one.startsWith('lin/')));
    return stepLinear(client, key);
  }),

  /** The same, while others write the keys in the plain way. */
  mixed: forever((client, { roundKeys }) => {
    const { stream } = client;
    const key = stream.pick(roundKeys.filter((one) => one.startsWith('mix/')));
    if (stream.chance(0.6)) return stepLinear(client, key);
    const level = stream.pick(['ONE', 'QUORUM', 'QUORUM', 'ALL'] as const);
    const ask: Ask = { level, timeoutMs: somePatience(stream) };
    const choice = stream.fraction();
    if (choice < 0.5) return client.put(key, ask);
    return choice < 0.7 ? client.delete(key, ask) : client.get(key, ask);
  }),

  /** Changes its mind: what was sent may happen or not. */
  impatient: forever((client, { keys }) => {
    const { stream } = client;
    const key = stream.pick(keys);
    const abort = new AbortController();
    client.process.post(stream.exponential(8), () => abort.abort());
    const ask: Ask = { level: 'QUORUM', signal: abort.signal };
    return stream.chance(0.6) ? client.put(key, ask) : client.get(key, ask);
  }),
} as const satisfies Record<string, Workload>;

export type WorkloadName = keyof typeof WORKLOADS;
