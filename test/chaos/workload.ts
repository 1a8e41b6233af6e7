import type { Stream } from '../sim/seed.js';
import type { Ask } from '../sim/recorded-client.js';
import type { ChaosClient } from './client.js';

/** Few keys that everybody wants, and more that are wanted now and then, all changed after so many operations. */
export interface KeyPlan {
  readonly epochOperations: number;
  readonly hotKeys: number;
  readonly coolKeys: number;
}

/** All at LINEARIZABLE; with plain operations in between; and plain ones alone. */
export type KeyKind = 'lin' | 'mix' | 'key';

const HOT_CHANCE = 0.3;
/** How often a key of an earlier epoch is chosen: what was not told at the time is seen then, and what was has to be there. */
const EARLIER_CHANCE = 0.12;
/** From plenty to far too little: unknown outcomes, retries and late answers are to be common. */
const PATIENCE_MS = [40, 150, 500, 1_500, 3_000];

/** A key of the time, by how many operations have begun. Histories of one key stay short, so that all of them can be judged. */
export function pickKey(stream: Stream, kind: KeyKind, begun: number, plan: KeyPlan): string {
  const latest = Math.floor(begun / plan.epochOperations);
  const epoch = stream.chance(EARLIER_CHANCE) ? stream.below(latest + 1) : latest;
  const index = stream.chance(HOT_CHANCE)
    ? stream.below(plan.hotKeys)
    : plan.hotKeys + stream.below(plan.coolKeys);
  return `${kind}/${epoch}/${index}`;
}

/** One operation on a key of that kind. */
export async function act(client: ChaosClient, kind: KeyKind, key: string): Promise<unknown> {
  const { stream } = client;
  if (kind === 'lin') return actLinear(client, key);
  if (kind === 'mix' && stream.chance(0.6)) return actLinear(client, key);
  const ask: Ask = { level: 'QUORUM', timeoutMs: stream.pick(PATIENCE_MS) };
  const choice = stream.fraction();
  if (choice < 0.45) return client.put(key, ask);
  return choice < 0.6 ? client.delete(key, ask) : client.get(key, ask);
}

async function actLinear(client: ChaosClient, key: string): Promise<void> {
  const { stream, seen } = client;
  const ask: Ask = { level: 'LINEARIZABLE', timeoutMs: stream.pick(PATIENCE_MS) };
  const choice = stream.fraction();
  if (choice < 0.4) {
    const { value, changed } = seen.get(key) ?? { value: undefined, changed: undefined };
    const found = await client.cas(key, value, ask, {
      changed: stream.chance(0.5) ? changed : undefined,
      isDelete: stream.chance(0.1),
    });
    seen.set(key, { value: found, changed: undefined });
  } else if (choice < 0.6) await client.putLinear(key, stream.chance(0.25), ask);
  else await client.look(key, ask);
}
