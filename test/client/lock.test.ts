import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { KvError } from '../../src/core/errors.js';
import type { Leader, Lock } from '../../src/client/linearizable.js';
import type { Kv } from '../../src/client/kv.js';
import { FakeCluster, SERVE, type Behaviour } from './fake-cluster.js';
import { outcomeUnderTime, resultUnderTime } from './outcome-under-time.js';

const HANG: Behaviour = { kind: 'hang', stores: false };

function allNodes(cluster: FakeCluster, behaviour: Behaviour): void {
  for (const node of cluster.nodes) node.behaviour = behaviour;
}

describe('a lock', () => {
  test('is held by one at a time, with tokens that grow, whatever becomes of calls and of holders', async () => {
    const trouble = fc.constantFrom<Behaviour>(
      SERVE,
      SERVE,
      { kind: 'serve', delayMs: 150 },
      HANG,
      { kind: 'hang', stores: true },
      { kind: 'refuse', code: 'UNAVAILABLE', outcome: 'unknown', stores: true },
      { kind: 'refuse', code: 'NO_QUORUM', outcome: 'none' },
    );
    const leaving = fc.constantFrom('releases', 'dies');
    await fc.assert(
      fc.asyncProperty(
        fc.array(trouble, { maxLength: 60 }),
        fc.array(leaving, { minLength: 4, maxLength: 4 }),
        async (script, ways) => {
          const cluster = new FakeCluster();
          const tokens: string[] = [];
          let holders = 0;
          let most = 0;
          const hold = async (kv: Kv<string>, way: string): Promise<void> => {
            const lock = await kv.lock('jobs', { ttlMs: 1_000 });
            tokens.push(lock.token);
            most = Math.max(most, ++holders);
            // Works until it is done, or must stop because the lock is lost.
            await new Promise<void>((resolve) => {
              cluster.time.timers.after(1_700, resolve);
              lock.signal.addEventListener('abort', () => resolve());
            });
            holders--;
            if (way === 'releases') await lock.release().catch(() => undefined);
            else await kv.close();
          };
          const kvs = await Promise.all(ways.map(() => cluster.connect()));
          cluster.script = [...script];
          const all = Promise.all(ways.map((way, at) => hold(kvs[at] as Kv<string>, way)));
          await resultUnderTime(cluster, all, 120_000);
          expect(most).toBe(1);
          expect(tokens).toHaveLength(4);
          expect([...tokens].sort()).toEqual(tokens);
          expect(new Set(tokens).size).toBe(4);
        },
      ),
      { seed: 21, numRuns: 40 },
    );
  });

  test('is renewed while it is held, and lost in time when that cannot be done', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const lock = await resultUnderTime(cluster, kv.lock('jobs', { ttlMs: 1_000 }));
    await cluster.time.advance(5_000);
    expect(lock.held).toBe(true);
    const other = await cluster.connect();
    const heldByTwo: boolean[] = [];
    const waiting = other.lock('jobs').then((taken) => {
      heldByTwo.push(lock.held, !lock.signal.aborted);
      return taken;
    });
    // Only the holder is cut off.
    allNodes(cluster, HANG);
    await cluster.time.until(() => lock.signal.aborted, 1_000);
    expect(lock.held).toBe(false);
    expect(lock.signal.reason).toMatchObject({ code: 'TIMED_OUT' });
    allNodes(cluster, SERVE);
    const taken = await resultUnderTime(cluster, waiting);
    expect(heldByTwo).toEqual([false, false]);
    expect(taken.token > lock.token).toBe(true);
    // Too late: what is there now is another holder's.
    expect(await resultUnderTime(cluster, lock.release())).toBe(false);
    await cluster.time.advance(3_000);
    expect(taken.held).toBe(true);
  });

  test('is free at once when it is released, and not lost by that', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const lock = await resultUnderTime(cluster, kv.lock('jobs', { ttlMs: 60_000 }));
    expect(await resultUnderTime(cluster, lock.release())).toBe(true);
    expect({ held: lock.held, aborted: lock.signal.aborted }).toEqual({
      held: false,
      aborted: false,
    });
    const startMs = cluster.time.clock.monotonicMs();
    await resultUnderTime(cluster, kv.lock('jobs'));
    expect(cluster.time.clock.monotonicMs() - startMs).toBeLessThan(20);
  });

  test('says of its holder what it is asked to, for as long as it is held', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    await resultUnderTime(cluster, kv.lock('jobs', { as: 'db1:4711', ttlMs: 1_000 }));
    await cluster.time.advance(3_000);
    const record = await resultUnderTime(cluster, kv.get('lock/jobs'));
    expect(JSON.parse(record ?? '')).toMatchObject({ value: 'db1:4711', ttlMs: 1_000 });
  });

  test('is lost when somebody takes its record away, and is not taken back', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const lock = await resultUnderTime(cluster, kv.lock('jobs', { ttlMs: 3_000 }));
    await resultUnderTime(cluster, kv.delete('lock/jobs', { consistency: 'LINEARIZABLE' }));
    await cluster.time.until(() => lock.signal.aborted, 1_100);
    expect(await resultUnderTime(cluster, kv.get('lock/jobs'))).toBeUndefined();
  });

  test('is waited for no longer than asked, and not after its signal', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    await resultUnderTime(cluster, kv.lock('jobs'));
    const waited = await outcomeUnderTime(cluster, kv.lock('jobs', { waitMs: 1_000 }));
    expect(waited).toMatchObject({ code: 'TIMED_OUT', outcome: 'none' });
    const controller = new AbortController();
    cluster.time.timers.after(500, () => controller.abort('enough'));
    const left = kv.lock('jobs', { signal: controller.signal });
    expect(await outcomeUnderTime(cluster, left)).toMatchObject({
      code: 'CANCELLED',
      cause: 'enough',
    });
  });

  test('that may have been taken by who does not wait any more is given back', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    allNodes(cluster, { kind: 'hang', stores: true });
    const controller = new AbortController();
    cluster.time.timers.after(50, () => controller.abort('enough'));
    const left = kv.lock('jobs', { ttlMs: 60_000, signal: controller.signal });
    expect(await outcomeUnderTime(cluster, left)).toMatchObject({ code: 'CANCELLED' });
    allNodes(cluster, SERVE);
    const startMs = cluster.time.clock.monotonicMs();
    await resultUnderTime(cluster, kv.lock('jobs'));
    expect(cluster.time.clock.monotonicMs() - startMs).toBeLessThan(10_000);
  });

  test.each([
    ['', {}],
    ['jobs', { ttlMs: 99 }],
    ['jobs', { waitMs: -1 }],
    ['jobs', { signal: 'stop' as never }],
  ] as const)('is refused with %j %j', async (name, options) => {
    const kv = await new FakeCluster().connect();
    const error = await kv.lock(name, options).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(KvError);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('is not made of a key that holds something else', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    await resultUnderTime(cluster, kv.put('lock/jobs', 'mine'));
    const error = await outcomeUnderTime<Lock>(cluster, kv.lock('jobs'));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('an election', () => {
  test('hands over when its leader resigns or dies, and every observer sees each leader once', async () => {
    const cluster = new FakeCluster();
    const [a, b, c] = await Promise.all([0, 1, 2].map(() => cluster.connect()));
    if (a === undefined || b === undefined || c === undefined) throw new Error('not connected');
    const seen: (Leader | undefined)[] = [];
    const stop = new AbortController();
    const observing = (async () => {
      for await (const leader of c.election('chief').observe({ signal: stop.signal })) {
        seen.push(leader);
      }
    })();
    await cluster.time.advance(500);
    const ofA = a.election('chief', { ttlMs: 1_000 });
    const first = await resultUnderTime(cluster, ofA.campaign('a'));
    await cluster.time.advance(2_000);
    const campaignOfB = b.election('chief', { ttlMs: 1_000 }).campaign('b');
    await cluster.time.advance(2_000);
    expect(await resultUnderTime(cluster, first.resign())).toBe(true);
    const second = await resultUnderTime(cluster, campaignOfB);
    await cluster.time.advance(1_000);
    // The process of b is gone: nothing is renewed, and nothing resigned.
    await b.close();
    const third = await resultUnderTime(cluster, ofA.campaign('a'));
    await cluster.time.advance(500);
    stop.abort();
    await resultUnderTime(cluster, observing);
    expect(second.signal.aborted).toBe(true);
    expect(first.token < second.token && second.token < third.token).toBe(true);
    const leaders = seen.filter((leader) => leader !== undefined);
    expect(seen[0]).toBeUndefined();
    expect(leaders).toEqual([
      { value: 'a', token: first.token },
      { value: 'b', token: second.token },
      { value: 'a', token: third.token },
    ]);
  });
});
