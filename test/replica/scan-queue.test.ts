import { describe, expect, test } from 'vitest';
import type { ReplicaPage } from '../../src/io/peer.js';
import { ScanQueue } from '../../src/replica/scan-queue.js';
import { createVirtualTime } from '../virtual-time.js';

const PAGE: ReplicaPage = { kind: 'page', entries: [], corrupt: [] };
const AT_ONCE = 8;

/** A queue, and pages that end when they are told to, oldest first. */
function createDesk() {
  const time = createVirtualTime();
  const queue = new ScanQueue(time.clock);
  const begun: string[] = [];
  const answers: string[] = [];
  const ends: (() => void)[] = [];
  const ask = (name: string, limit = 50, deadlineMs = Infinity): void => {
    const work = (): Promise<ReplicaPage> => {
      begun.push(name);
      return new Promise((resolve) => {
        ends.push(() => resolve(PAGE));
      });
    };
    void Promise.resolve(queue.run(limit, deadlineMs, work)).then((answer) =>
      answers.push(`${name} ${answer.kind === 'page' ? 'page' : answer.code}`),
    );
  };
  return {
    queue,
    begun,
    answers,
    ask,
    /** Names counted from `from`. */
    askMany: (count: number, from = 1, limit = 50) => {
      for (let i = from; i < from + count; i++) ask(`s${i}`, limit);
    },
    endOne: async () => {
      ends.shift()?.();
      await time.settle();
    },
    settle: () => time.settle(),
    time,
  };
}

describe('scans of a replica', () => {
  test('wait for their turn, first come first served, and few are under way at once', async () => {
    const desk = createDesk();
    const names = Array.from({ length: 20 }, (_, i) => `s${i + 1}`);
    desk.askMany(names.length);
    await desk.settle();
    expect(desk.begun).toEqual(names.slice(0, AT_ONCE));
    for (let ended = 1; ended <= names.length; ended++) {
      await desk.endOne();
      expect(desk.begun).toEqual(names.slice(0, ended + AT_ONCE));
    }
    expect(desk.answers).toEqual(names.map((name) => `${name} page`));
  });

  test('wait by the hundred, and are refused with OVERLOADED beyond that', async () => {
    const desk = createDesk();
    desk.askMany(AT_ONCE + 400);
    await desk.settle();
    expect(desk.answers).toEqual([]);
    desk.ask('one more');
    await desk.settle();
    expect(desk.answers).toEqual(['one more OVERLOADED']);
    expect(desk.begun).toHaveLength(AT_ONCE);
    await desk.endOne();
    desk.ask('another');
    await desk.settle();
    expect(desk.answers).toEqual(['one more OVERLOADED', 's1 page']);
  });

  test('count by what they ask for: large pages fill the queue sooner', async () => {
    const desk = createDesk();
    desk.askMany(AT_ONCE + 38, 1, 1_000);
    await desk.settle();
    expect(desk.answers).toEqual([]);
    desk.ask('large', 1_000);
    desk.ask('small', 20);
    await desk.settle();
    expect(desk.answers).toEqual(['large OVERLOADED']);
  });

  test('are dropped, not done, when their deadline has passed by their turn', async () => {
    const desk = createDesk();
    desk.askMany(AT_ONCE);
    desk.ask('late', 50, desk.time.clock.monotonicMs() + 10);
    desk.ask('later', 50, desk.time.clock.monotonicMs() + 1_000);
    await desk.time.advance(20);
    await desk.endOne();
    expect(desk.answers).toEqual(['late TIMED_OUT', 's1 page']);
    expect(desk.begun.slice(AT_ONCE)).toEqual(['later']);
  });

  test('that wait when the replica stops are refused, and those under way end first', async () => {
    const desk = createDesk();
    desk.askMany(AT_ONCE + 2);
    let isStopped = false;
    void desk.queue.stop().then(() => (isStopped = true));
    await desk.settle();
    expect(desk.answers).toEqual(['s9 UNAVAILABLE', 's10 UNAVAILABLE']);
    desk.ask('too late');
    for (let i = 1; i < AT_ONCE; i++) await desk.endOne();
    expect(isStopped).toBe(false);
    await desk.endOne();
    expect(isStopped).toBe(true);
    expect(desk.begun).toHaveLength(AT_ONCE);
    expect(desk.answers).toContain('too late UNAVAILABLE');
  });
});
