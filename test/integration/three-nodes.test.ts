import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, type Kv, type KvError } from '../../src/index.js';
import { openUnaryClient, type UnaryClient } from '../../src/wire/unary-client.js';
import { NO_FAULT_SETTINGS } from '../../src/wire/reports.js';
import { eventually, ProcessCluster } from './processes.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('three nodes, each a process of its own', () => {
  let cluster: ProcessCluster;
  let kv: Kv<string>;
  let clients: Record<string, UnaryClient>;

  beforeAll(async () => {
    cluster = await ProcessCluster.start(3);
    kv = await connect({ endpoints: cluster.endpoints });
    clients = Object.fromEntries(
      cluster.nodes.map(({ id, endpoint }) => [
        id,
        openUnaryClient(endpoint, { timeoutMs: 5_000 }),
      ]),
    );
  });

  afterAll(async () => {
    await kv.close();
    for (const client of Object.values(clients)) client.close();
    await cluster[Symbol.asyncDispose]();
  });

  const client = (id: string): UnaryClient => clients[id] as UnaryClient;

  test('what is written through one node is read through every other, and lies on every disk', async () => {
    const { version } = await kv.put('shared', 'by all', { consistency: 'ALL' });
    for (const id of ['n1', 'n2', 'n3']) {
      const entry = await client(id).get(bytes('shared'));
      expect([entry.found, Buffer.from(entry.value).toString(), entry.version]).toEqual([
        true,
        'by all',
        version,
      ]);
    }
    const { replicas } = await client('n2').explain(bytes('shared'));
    expect(replicas.map(({ node }) => node).sort()).toEqual(['n1', 'n2', 'n3']);
    const { digest } = replicas[0] as (typeof replicas)[number];
    // Whole, so that a failure tells what the replica said.
    expect(replicas.filter((replica) => replica.digest !== digest)).toEqual([]);
  });

  test('a node that is killed loses nothing that was acknowledged', async () => {
    const entries = Array.from({ length: 500 }, (_, i) => [`kill/${i}`, `value ${i}`] as const);
    await kv.putMany(entries, { consistency: 'ALL' });
    const victim = cluster.node('n2');
    await victim.stop('SIGKILL');
    // QUORUM goes on with two of three.
    await kv.putMany(entries.map(([key]) => [key, 'newer'] as const));
    expect(new Set(await kv.getMany(entries.map(([key]) => key)))).toEqual(new Set(['newer']));
    victim.launch();
    await cluster.connected();
    const own = await client('n2').scan({ prefix: bytes('kill/'), consistency: 'ONE' });
    expect(own.entries.length).toBe(500);
    // Reads through the node that was away mend what they touch.
    expect(
      new Set(
        await kv.getMany(
          entries.map(([key]) => key),
          { consistency: 'ALL' },
        ),
      ),
    ).toEqual(new Set(['newer']));
    const { replicas } = await client('n1').explain(bytes('kill/7'));
    expect(new Set(replicas.map(({ digest }) => digest)).size).toBe(1);
  });

  test('without a majority QUORUM says so before it writes anything, and ONE goes on', async () => {
    await cluster.node('n2').stop('SIGKILL');
    await cluster.node('n3').stop('SIGKILL');
    const unary = client('n1');
    await eventually('n1 knows that its peers are gone', async () =>
      (await unary.status()).peers.every(({ state }) => state !== 'connected'),
    );
    const error = await unary.put(bytes('alone'), bytes('x')).catch((e: unknown) => e as KvError);
    expect(error).toMatchObject({ code: 'NO_QUORUM', outcome: 'none', retryable: true });
    expect((error as KvError).message).toMatch(/2 of 3/);
    expect((await unary.get(bytes('alone'), { consistency: 'ONE' })).found).toBe(false);
    await unary.put(bytes('alone'), bytes('x'), { consistency: 'ONE' });
    expect((await unary.get(bytes('alone'), { consistency: 'ONE' })).found).toBe(true);
    cluster.node('n2').launch();
    cluster.node('n3').launch();
    await cluster.connected();
  });

  test('SIGTERM finishes what is under way: nothing that a client sees fails', async () => {
    const puts = Array.from({ length: 2_000 }, (_, i) => kv.put(`term/${i}`, 'v'));
    const code = await cluster.node('n1').stop('SIGTERM');
    expect(code).toBe(0);
    await Promise.all(puts);
    cluster.node('n1').launch();
    await cluster.connected();
    const keys = Array.from({ length: 2_000 }, (_, i) => `term/${i}`);
    expect(new Set(await kv.getMany(keys))).toEqual(new Set(['v']));
  });

  test('a node that is stopped, not closed, costs its clients a retry and no more', async () => {
    cluster.node('n3').signal('SIGSTOP');
    try {
      const keys = Array.from({ length: 50 }, (_, i) => `pause/${i}`);
      await kv.putMany(keys.map((key) => [key, 'v'] as const));
      expect(new Set(await kv.getMany(keys))).toEqual(new Set(['v']));
    } finally {
      cluster.node('n3').signal('SIGCONT');
    }
    await cluster.connected();
  });

  test('a node whose clock is wrong coordinates no writes, still reads, and returns by itself', async () => {
    const unary = client('n1');
    await kv.put('skew', 'before', { consistency: 'ALL' });
    await unary.setFaults({ ...NO_FAULT_SETTINGS, skewMs: 5_000 });
    await eventually(
      'n1 is quarantined',
      async () => (await unary.status()).state === 'quarantined',
    );
    await expect(unary.put(bytes('skew'), bytes('x'))).rejects.toMatchObject({
      code: 'QUARANTINED',
      outcome: 'none',
    });
    expect((await unary.get(bytes('skew'))).found).toBe(true);
    await eventually('health says so of writes, and of nothing else', async () => {
      const writes = await unary.health('quorate.v1.Kv.writes');
      return writes === 'NOT_SERVING' && (await unary.health('quorate.v1.Kv')) === 'SERVING';
    });
    // The SDK goes through the others, and its stamps do not follow the wrong clock.
    await kv.put('skew', 'after');
    await unary.setFaults(NO_FAULT_SETTINGS);
    await eventually('n1 is back', async () => (await unary.status()).state === 'serving');
    await unary.put(bytes('skew'), bytes('again'));
  });

  test('a partitioned node loses its majority, and the rest goes on', async () => {
    await client('n1').setFaults({
      ...NO_FAULT_SETTINGS,
      dropTo: ['n2', 'n3'],
      dropFrom: ['n2', 'n3'],
    });
    await kv.put('partitioned', 'kept', { timeoutMs: 20_000 });
    const cut = openUnaryClient(cluster.node('n1').endpoint, { timeoutMs: 1_000 });
    await expect(cut.put(bytes('cut off'), bytes('x'))).rejects.toMatchObject({
      code: expect.stringMatching(/TIMED_OUT|NO_QUORUM/) as string,
    });
    cut.close();
    await client('n1').setFaults(NO_FAULT_SETTINGS);
    await cluster.connected();
    expect(await kv.get('partitioned')).toBe('kept');
  });
});
