import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Kernel } from './kernel.js';
import { MachineClock, SimProcess } from './process.js';
import { createStream } from './seed.js';

function machine(kernel: Kernel): SimProcess {
  return new SimProcess(kernel, 'n1', 0, new MachineClock(kernel, 500), createStream(1, 'n1'));
}

describe('virtual time', () => {
  test('takes events in the order of time, and of asking where that is the same', async () => {
    const delays = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(delays, async (asked) => {
        const kernel = new Kernel();
        const order: number[] = [];
        await kernel.run(async () => {
          for (const [i, delayMs] of asked.entries()) {
            kernel.schedule(delayMs, undefined, () => order.push(i));
          }
          await kernel.sleep(10);
        });
        const expected = [...asked.keys()].sort(
          (a, b) => (asked[a] as number) - (asked[b] as number) || a - b,
        );
        expect(order).toEqual(expected);
      }),
      { seed: 3, numRuns: 60 },
    );
  });

  test('lets every promise settle between two events', async () => {
    const kernel = new Kernel();
    const order: string[] = [];
    const chain = async () => {
      for (let i = 0; i < 50; i++) await Promise.resolve();
      order.push('promises');
    };
    await kernel.run(async () => {
      kernel.schedule(1, undefined, () => void chain());
      kernel.schedule(1, undefined, () => order.push('next event'));
      await kernel.sleep(2);
    });
    expect(order).toEqual(['promises', 'next event']);
  });

  test('says so when nothing can happen any more, and passes on what is thrown', async () => {
    await expect(new Kernel().run(() => new Promise(() => {}))).rejects.toThrow('nothing is left');
    const kernel = new Kernel();
    const throwing = kernel.run(async () => {
      kernel.schedule(1, undefined, () => {
        throw new Error('from an event');
      });
      await kernel.sleep(2);
    });
    await expect(throwing).rejects.toThrow('from an event');
  });
});

describe('a process', () => {
  test('does nothing once it is dead', async () => {
    const kernel = new Kernel();
    const process = machine(kernel);
    const done: string[] = [];
    await kernel.run(async () => {
      process.timers.after(5, () => done.push('before'));
      process.timers.after(15, () => done.push('after'));
      process.timers.every(20, () => done.push('every'));
      await kernel.sleep(10);
      process.kill(false);
      process.timers.turn(() => done.push('turn'));
      await kernel.sleep(100);
    });
    expect(done).toEqual(['before']);
  });

  test('does what fell due while it was paused when it goes on, in the same order', async () => {
    const kernel = new Kernel();
    const process = machine(kernel);
    const done: string[] = [];
    await kernel.run(async () => {
      for (const delayMs of [30, 10, 20]) {
        process.timers.after(delayMs, () => done.push(`${delayMs} at ${kernel.nowMs}`));
      }
      const cancel = process.timers.after(15, () => done.push('cancelled'));
      process.pause();
      await kernel.sleep(25);
      cancel();
      process.resume();
      await kernel.sleep(25);
    });
    expect(done).toEqual(['10 at 25', '20 at 25', '30 at 30']);
  });

  test('can be ended right before any event of its own', async () => {
    const kernel = new Kernel();
    const process = machine(kernel);
    const done: number[] = [];
    await kernel.run(async () => {
      for (let i = 1; i <= 5; i++) process.timers.after(i, () => done.push(i));
      process.afterEvents(3, () => process.kill(false));
      await kernel.sleep(10);
    });
    expect(done).toEqual([1, 2]);
  });
});

describe('a clock', () => {
  test('may jump on the wall, and never goes back on the monotonic side', async () => {
    const kernel = new Kernel();
    const clock = new MachineClock(kernel, 500, 40);
    await kernel.run(async () => {
      const startMs = clock.wallMs();
      await kernel.sleep(100);
      expect(clock.wallMs() - startMs).toBe(100);
      clock.setSkew(-5_000);
      expect(clock.wallMs() - startMs).toBe(100 - 5_040);
      expect(clock.monotonicMs()).toBe(600);
      clock.setRate(1.5);
      await kernel.sleep(100);
      expect(clock.monotonicMs()).toBe(750);
      expect(clock.wallMs() - startMs).toBe(250 - 5_040);
      expect(clock.skewMs).toBe(-4_950);
    });
  });
});

function draw(seed: number, name: string): number[] {
  const stream = createStream(seed, name);
  return Array.from({ length: 8 }, () => stream.next());
}

describe('chance', () => {
  test('is the same for the same seed and name, and another for any other', () => {
    expect(draw(1, 'a')).toEqual(draw(1, 'a'));
    const others = [draw(1, 'a'), draw(2, 'a'), draw(1, 'b'), draw(2 ** 40 + 1, 'a')];
    expect(new Set(others.map(String)).size).toBe(4);
  });

  test('is spread evenly', () => {
    const stream = createStream(7, 'spread');
    const counts = Array.from({ length: 16 }, () => 0);
    for (let i = 0; i < 16_000; i++) {
      const at = stream.below(16);
      counts[at] = (counts[at] as number) + 1;
    }
    for (const count of counts) expect(Math.abs(count - 1_000)).toBeLessThan(150);
  });
});
