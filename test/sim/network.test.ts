import { describe, expect, test } from 'vitest';
import type { Channel, IncomingCall } from './channel.js';
import { Kernel } from './kernel.js';
import { Network } from './network.js';
import { MachineClock, SimProcess } from './process.js';
import { createStream } from './seed.js';

interface Fixture {
  readonly kernel: Kernel;
  readonly network: Network;
  readonly client: SimProcess;
  readonly server: SimProcess;
  readonly channel: Channel;
  readonly arrived: string[];
  /** What became of each call, in the order in which that was heard. */
  readonly heard: string[];
  readonly send: (text: string, timeoutMs?: number) => number;
}

/** A client on machine 0 and a server on machine 1 that answers with what it was sent. */
async function inWorld(seed: number, act: (fixture: Fixture) => Promise<void>): Promise<void> {
  const kernel = new Kernel();
  const tempo = { delayMs: 1, grainMs: 0, tailChance: 0.2 };
  const network = new Network(kernel, createStream(seed, 'network'), 2, tempo);
  const [client, server] = ['c1', 'n1'].map(
    (name, host) =>
      new SimProcess(kernel, name, host, new MachineClock(kernel, 0), createStream(seed, name)),
  ) as [SimProcess, SimProcess];
  const arrived: string[] = [];
  const heard: string[] = [];
  const serve = (call: IncomingCall) => {
    arrived.push((call.body as { text: string }).text);
    call.reply(call.body, 10);
  };
  await kernel.run(async () => {
    network.listen(server, { greet: () => ({}), serve });
    const channel = network.open(client, 1, 'link');
    await kernel.sleep(100);
    expect(channel.server).toBe(server);
    await act({
      kernel,
      network,
      client,
      server,
      channel,
      arrived,
      heard,
      send: (text, timeoutMs = 1_000) =>
        channel.call({ text }, 10, timeoutMs, (_, none) => {
          heard.push(`${text} ${none?.kind ?? 'answered'}`);
        }),
    });
  });
}

const SEEDS = Array.from({ length: 30 }, (_, i) => i + 1);

describe('a simulated channel', () => {
  test('answers every call exactly once, in any order', async () => {
    const orders = new Set<string>();
    for (const seed of SEEDS) {
      await inWorld(seed, async ({ kernel, send, heard }) => {
        for (const text of ['a', 'b', 'c']) send(text);
        expect(heard).toEqual([]);
        await kernel.sleep(2_000);
        expect([...heard].sort()).toEqual(['a answered', 'b answered', 'c answered']);
        orders.add(heard.join());
      });
    }
    expect(orders.size).toBeGreaterThan(2);
  });

  test('delivers a call at most once, however often its message arrives', async () => {
    for (const seed of SEEDS) {
      await inWorld(seed, async ({ kernel, network, send, heard, arrived }) => {
        network.duplicateChance = 1;
        send('a');
        await kernel.sleep(2_000);
        expect(arrived).toEqual(['a']);
        expect(heard).toEqual(['a answered']);
        expect(network.counts.duplicated).toBeGreaterThan(0);
      });
    }
  });

  test('a lost message is a missed deadline', async () => {
    await inWorld(1, async ({ kernel, network, send, heard }) => {
      network.dropChance = 1;
      send('a', 300);
      await kernel.sleep(290);
      expect(heard).toEqual([]);
      await kernel.sleep(20);
      expect(heard).toEqual(['a timed-out']);
    });
  });

  test('a call that is said not to have been sent never arrives', async () => {
    const kinds = new Set<string>();
    for (const seed of SEEDS) {
      await inWorld(seed, async ({ kernel, channel, send, heard, arrived }) => {
        send('a');
        await kernel.sleep(seed % 3);
        channel.break('on purpose');
        await kernel.sleep(2_000);
        expect(heard).toHaveLength(1);
        kinds.add(heard[0] as string);
        if (heard[0] === 'a not-sent') expect(arrived).toEqual([]);
        expect(channel.server).toBeDefined();
      });
    }
    expect(kinds).toContain('a broken');
    expect(kinds).toContain('a not-sent');
  });

  test('a call on a channel that is not open was not sent', async () => {
    await inWorld(1, async ({ kernel, server, network, send, heard, channel }) => {
      server.kill(false);
      network.died(server);
      await kernel.sleep(100);
      expect(channel.server).toBeUndefined();
      send('a');
      await kernel.sleep(1);
      expect(heard).toEqual(['a not-sent']);
    });
  });

  test('a cut way lets nothing through, and silence breaks the channel in the end', async () => {
    await inWorld(1, async ({ kernel, network, send, heard, arrived, channel }) => {
      network.cut(0, 1);
      send('a', 60_000);
      await kernel.sleep(3_000);
      expect(channel.server).toBeDefined();
      await kernel.sleep(3_000);
      expect(channel.server).toBeUndefined();
      expect(arrived).toEqual([]);
      expect(heard).toHaveLength(1);
      network.mend(0, 1);
      await kernel.sleep(5_000);
      expect(channel.server).toBeDefined();
    });
  });

  test('a cut of one way only lets calls arrive and no answers return', async () => {
    await inWorld(1, async ({ kernel, network, send, heard, arrived }) => {
      network.cut(1, 0);
      send('a', 500);
      await kernel.sleep(1_000);
      expect(arrived).toEqual(['a']);
      expect(heard).toEqual(['a timed-out']);
    });
  });

  test('what is cancelled is answered so at once, and the other side is told', async () => {
    await inWorld(1, async ({ kernel, channel, send, heard }) => {
      channel.cancel(send('a'));
      await kernel.sleep(0.001);
      expect(heard).toEqual(['a cancelled']);
      await kernel.sleep(2_000);
      expect(heard).toHaveLength(1);
    });
  });
});
