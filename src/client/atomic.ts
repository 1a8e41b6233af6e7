import { KvError } from '../core/errors.js';
import type { Kv } from './kv.js';
import type { AtomicOptions, Expect, Updated } from './linearizable.js';
import type { Session } from './session.js';

/** About what a compare-and-set takes, then longer: as long as it takes all that compete. */
const CONTENTION = { baseMs: 4, maxMs: 250 };

/**
 * What {@link Kv.atomic} does: an optimistic loop, which backs off so that of many that change one key the fast do not keep the
 * slow from it for ever. After that it reads again, which costs less than another compare-and-set that loses: what it was told
 * before it waited is likely to be past. Those of one connection have turns of their own on the key, up to the deadline of each.
 */
export async function updateAtomically<V>(
  kv: Kv<V>,
  session: Session,
  key: Uint8Array,
  update: (current: V | undefined) => V | undefined,
  { signal, ttlMs }: AtomicOptions,
  timeoutMs: number,
  turnKey: string,
): Promise<Updated<V>> {
  const deadlineMs = session.nowMs() + timeoutMs;
  let lost = 0;
  /** What the next request may take and what else it is asked with. */
  const within = () => {
    const leftMs = deadlineMs - session.nowMs();
    if (leftMs <= 0) throw neverFirst(timeoutMs, lost);
    return {
      timeoutMs: Math.max(leftMs, 1),
      ...(signal === undefined ? {} : { signal }),
    };
  };
  const patience = (begun: AbortSignal) =>
    session.pause(
      deadlineMs - session.nowMs(),
      signal === undefined ? begun : AbortSignal.any([begun, signal]),
    );
  return session.turns.inTurn(turnKey, patience, async () => {
    for (;;) {
      const found = await kv.getEntry(key, { ...within(), consistency: 'LINEARIZABLE' });
      const current = found?.value;
      const next = update(current);
      if (Object.is(next, current)) {
        return { value: current, version: found?.version, changed: false };
      }
      const expect: Expect<V> = found === undefined ? 'absent' : { version: found.version };
      const options = { ...within(), expect, ...(ttlMs === undefined ? {} : { ttlMs }) };
      const result = await kv.cas(key, options, next);
      if (result.swapped) return { value: next, version: result.version, changed: true };
      const delayMs = Math.min(session.backoffMs(lost++, CONTENTION), deadlineMs - session.nowMs());
      // Whoever cancels meanwhile is answered by the next compare-and-set.
      await session.pause(Math.max(delayMs, 0), signal);
    }
  });
}

function neverFirst(timeoutMs: number, lost: number): KvError {
  const times = lost === 1 ? 'once' : `${lost} times`;
  return new KvError(
    'TIMED_OUT',
    `others were first, it lost ${times} within ${timeoutMs} ms; nothing was written`,
  );
}
