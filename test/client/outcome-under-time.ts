import { KvError } from '../../src/core/errors.js';
import type { FakeCluster } from './fake-cluster.js';

/** Lets virtual time pass until the promise settles: its value, or the KvError it rejects with. */
export async function outcomeUnderTime<T>(
  cluster: FakeCluster,
  promise: Promise<T>,
  limitMs = 10_000,
): Promise<T | KvError> {
  let isSettled = false;
  const settled = promise
    .catch((error: unknown) => {
      if (error instanceof KvError) return error;
      throw error;
    })
    .finally(() => {
      isSettled = true;
    });
  settled.catch(() => undefined);
  await cluster.time.until(() => isSettled, limitMs);
  return settled;
}

/** As {@link outcomeUnderTime}, for what must succeed. */
export async function resultUnderTime<T>(
  cluster: FakeCluster,
  promise: Promise<T>,
  limitMs?: number,
): Promise<T> {
  const result = await outcomeUnderTime(cluster, promise, limitMs);
  if (result instanceof KvError) throw result;
  return result;
}
