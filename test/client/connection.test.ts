import { describe, expect, test } from 'vitest';
import type { KvError } from '../../src/core/errors.js';
import { connectThrough } from '../../src/client/connect-through.js';
import { FakeCluster } from './fake-cluster.js';
import { seededRandom } from '../seeded-random.js';
import { outcomeUnderTime, resultUnderTime } from './outcome-under-time.js';

function portsOf(cluster: FakeCluster) {
  return {
    clock: cluster.time.clock,
    timers: cluster.time.timers,
    random: seededRandom(1),
    linker: cluster,
  };
}

/** A cluster of three of which only one can be reached, by a clock that is off. */
function withOnly(id: string, skewMs: number): FakeCluster {
  const cluster = new FakeCluster();
  for (const node of cluster.nodes) if (node.member.id !== id) node.setUp(false);
  cluster.node(id).clock.skewMs = skewMs;
  return cluster;
}

describe('connecting', () => {
  test('finds the rest of the cluster through one endpoint', async () => {
    const cluster = new FakeCluster(5, 3);
    const kv = await cluster.connect({ endpoints: 'n2:7101' });
    const { members, name, replicationFactor } = kv.cluster();
    expect({ name, replicationFactor }).toEqual({ name: 'test', replicationFactor: 3 });
    expect(members.map(({ id, connected }) => ({ id, connected }))).toEqual(
      ['n1', 'n2', 'n3', 'n4', 'n5'].map((id) => ({ id, connected: true })),
    );
  });

  test('resolves when the first of the endpoints answers, though others are down', async () => {
    const cluster = new FakeCluster();
    cluster.node('n1').up = false;
    cluster.node('n2').up = false;
    const kv = await cluster.connect({ endpoints: ['n1:7101', 'n2:7101,n3:7101'] });
    expect(kv.cluster().members.map(({ connected }) => connected)).toEqual([false, false, true]);
    expect(await outcomeUnderTime(cluster, kv.put('k', 'v'))).toHaveProperty('version');
  });

  test('rejects with UNAVAILABLE when none answers in time, and says of each why', async () => {
    const cluster = new FakeCluster(1, 1);
    cluster.node('n1').up = false;
    const connecting = connectThrough(
      { endpoints: 'n1:7101,nowhere:1', connectTimeoutMs: 1_000 },
      portsOf(cluster),
    );
    const error = (await outcomeUnderTime(cluster, connecting)) as KvError;
    expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'none' });
    expect(error.message).toContain('n1:7101: connection refused');
    expect(error.message).toContain('nowhere:1: connection refused');
    expect(error.message.match(/nowhere:1/g)).toHaveLength(1);
    expect(cluster.time.clock.monotonicMs()).toBe(1_000);
  });

  test('rejects with CANCELLED when its signal fires', async () => {
    const cluster = new FakeCluster(1, 1);
    cluster.node('n1').up = false;
    const controller = new AbortController();
    const connecting = connectThrough(
      { endpoints: 'n1:7101', signal: controller.signal },
      portsOf(cluster),
    );
    controller.abort('no more');
    expect(await outcomeUnderTime(cluster, connecting)).toMatchObject({
      code: 'CANCELLED',
      cause: 'no more',
    });
    expect(cluster.node('n1').links.size).toBe(0);
  });

  test('refuses nodes of another cluster than the first that answered', async () => {
    const cluster = new FakeCluster();
    cluster.node('n3').clusterId = 'cluster-2';
    const kv = await cluster.connect({ endpoints: 'n1:7101,n3:7101' });
    expect(kv.cluster().refused).toMatchObject([{ endpoint: 'n3:7101', code: 'WRONG_CLUSTER' }]);
    expect(kv.cluster().refused[0]?.message).toContain('other (cluster-2)');
    for (let i = 0; i < 20; i++) await resultUnderTime(cluster, kv.put(`k${i}`, 'v'));
    expect(cluster.route).not.toContain('n3');
  });

  test('keeps one link to a node that has two names', async () => {
    const cluster = new FakeCluster();
    cluster.aliases.set('localhost:7101', 'n1:7101');
    const kv = await cluster.connect({ endpoints: 'localhost:7101,n1:7101' });
    await cluster.time.advance(100);
    expect(cluster.nodes.map(({ links }) => links.size)).toEqual([1, 1, 1]);
    expect(kv.cluster().members.every(({ connected }) => connected)).toBe(true);
  });

  test.each([
    ['', /endpoints: "" is not host:port/],
    ['localhost', /is not host:port/],
    ['localhost:0', /port from 1 to 65535/],
    ['localhost:70000', /port from 1 to 65535/],
    [[], /must name at least one/],
    [[7], /must be host:port, got number/],
    [undefined, /must be host:port/],
  ])('refuses the endpoints %j', async (endpoints, message) => {
    const cluster = new FakeCluster();
    const connecting = connectThrough({ endpoints: endpoints as string }, portsOf(cluster));
    const error = (await outcomeUnderTime(cluster, connecting)) as KvError;
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toMatch(message);
    expect(cluster.opened).toEqual([]);
  });
});

describe('a connection', () => {
  test('goes on through the other nodes when one dies, and comes back to it', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const [first = ''] = kv.preferenceOf('k');
    cluster.node(first).setUp(false);
    await resultUnderTime(cluster, kv.put('k', '1'));
    expect(cluster.route).not.toContain(first);
    cluster.node(first).setUp(true);
    await resultUnderTime(cluster, kv.put('k', '2'));
    expect(cluster.route.at(-1)).toBe(first);
  });

  test('finds a node again that has moved, and keeps no link to where it was', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    cluster.move('n2', 'n2:8101');
    const moved = () => kv.cluster().members.find(({ id }) => id === 'n2');
    await cluster.time.until(() => moved()?.connected === true, 15_000);
    expect(moved()?.address).toBe('n2:8101');
    cluster.move('n2', 'n2:9101');
    await cluster.time.until(() => moved()?.address === 'n2:9101', 15_000);
    await cluster.time.until(() => moved()?.connected === true, 1_000);
    expect(cluster.opened.filter((endpoint) => endpoint.startsWith('n2:'))).toEqual([
      'n2:7101',
      'n2:8101',
      'n2:9101',
    ]);
    await cluster.time.advance(60_000);
    expect(cluster.openLinks.map(({ endpoint }) => endpoint).sort()).toEqual([
      'n1:7101',
      'n2:9101',
      'n3:7101',
    ]);
  });

  test('retries what was on its way to a node that died', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const [first = ''] = kv.preferenceOf('k');
    cluster.node(first).behaviour = { kind: 'hang', stores: false };
    const put = kv.put('k', 'v');
    cluster.node(first).setUp(false);
    const startMs = cluster.time.clock.monotonicMs();
    expect(await resultUnderTime(cluster, put)).toHaveProperty('version');
    expect(cluster.time.clock.monotonicMs() - startMs).toBeLessThan(50);
  });

  test('a whole window of operations outlives the loss of the only node: no retry is spent while none is there', async () => {
    const cluster = new FakeCluster(1, 1);
    const kv = await cluster.connect();
    const node = cluster.node('n1');
    node.behaviour = { kind: 'hang', stores: false };
    const puts = Array.from({ length: 2_048 }, (_, i) => kv.put(`key ${i}`, 'v'));
    node.setUp(false);
    node.behaviour = { kind: 'serve' };
    await cluster.time.advance(2_000);
    node.setUp(true);
    await cluster.time.advance(3_500);
    expect(await Promise.all(puts)).toHaveLength(2_048);
  });

  test('waits for a node to come back when none is there', async () => {
    const cluster = new FakeCluster(1, 1);
    const kv = await cluster.connect();
    cluster.node('n1').setUp(false);
    const put = kv.put('k', 'v');
    await cluster.time.advance(500);
    cluster.node('n1').setUp(true);
    expect(await resultUnderTime(cluster, put)).toHaveProperty('version');
    cluster.node('n1').setUp(false);
    const error = await outcomeUnderTime(cluster, kv.put('k', 'v', { timeoutMs: 300 }));
    expect(error).toMatchObject({ code: 'UNAVAILABLE', outcome: 'none' });
    expect((error as KvError).message).toContain('n1: connection refused');
  });

  test('passes over a node that does not answer its pings', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const [first = ''] = kv.preferenceOf('k');
    cluster.node(first).answersPings = false;
    await cluster.time.advance(4_000);
    await resultUnderTime(cluster, kv.put('k', 'v'));
    expect(cluster.route).not.toContain(first);
    cluster.node(first).answersPings = true;
    await cluster.time.advance(4_000);
    await resultUnderTime(cluster, kv.put('k', 'v'));
    expect(cluster.route.at(-1)).toBe(first);
  });

  test('passes over a node that is far away, and not over one that is late once', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const [first = '', second = ''] = kv.preferenceOf('k');
    const routeAfterPing = async (roundTripMs: number) => {
      cluster.node(first).roundTripMs = roundTripMs;
      await cluster.time.advance(2_000);
      await resultUnderTime(cluster, kv.get('k'));
      return cluster.route.at(-1);
    };
    for (const roundTripMs of [1, 200, 1, 200, 200, 1]) {
      expect(await routeAfterPing(roundTripMs)).toBe(first);
    }
    for (let ping = 1; ping <= 3; ping++) await routeAfterPing(200);
    expect(await routeAfterPing(200)).toBe(second);
    expect(await routeAfterPing(1)).toBe(first);
  });

  test('writes through nodes whose clocks are right, and reads from any', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const [first = '', second = ''] = kv.preferenceOf('k');
    cluster.node(first).quarantined = true;
    await cluster.time.advance(4_000);
    await resultUnderTime(cluster, kv.put('k', 'v'));
    await resultUnderTime(cluster, kv.get('k'));
    expect(cluster.route).toEqual([second, first]);
    expect(kv.cluster().members.find(({ id }) => id === first)?.quarantined).toBe(true);
  });

  test('prefers replicas in its own zone', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect({ zone: 'z2' });
    for (let i = 0; i < 20; i++) await resultUnderTime(cluster, kv.get(`k${i}`));
    expect(new Set(cluster.route)).toEqual(new Set(['n2']));
  });

  test('corrects its clock by the median of the healthy nodes', async () => {
    const cluster = new FakeCluster(5, 3);
    const skews = [100, 150, 200, 60_000, 61_000];
    cluster.nodes.forEach((node, index) => {
      node.clock.skewMs = skews[index] as number;
    });
    cluster.node('n4').quarantined = true;
    cluster.node('n5').quarantined = true;
    const kv = await cluster.connect({}, cluster.time.clockWithSkew(-3_000));
    await cluster.time.advance(5_000);
    expect(kv.cluster().clockOffsetMs).toBeCloseTo(3_150, -1);
  });

  test('does not believe a quarantined node, be it the only one that has greeted', async () => {
    const cluster = withOnly('n1', 300_000);
    cluster.node('n1').quarantined = true;
    const kv = await cluster.connect();
    await cluster.time.advance(5_000);
    expect(kv.cluster().clockOffsetMs).toBe(0);
  });

  test('stamps by the median again after the only node that it knew was wrong', async () => {
    const cluster = withOnly('n1', 300_000);
    const kv = await cluster.connect();
    const early = await resultUnderTime(cluster, kv.put('a', '1'));
    expect(early.version.wallMs).toBeGreaterThan(cluster.time.clock.wallMs() + 299_000);
    for (const node of cluster.nodes) node.setUp(true);
    await cluster.time.advance(5_000);
    const { version } = await resultUnderTime(cluster, kv.put('b', '2'));
    expect(Math.abs(version.wallMs - cluster.time.clock.wallMs())).toBeLessThan(100);
    expect(version.writerLo).not.toBe(early.version.writerLo);
  });

  test('measures the nodes again when the local clock is set', async () => {
    const cluster = new FakeCluster();
    const clock = cluster.time.clockWithSkew(0);
    const kv = await cluster.connect({}, clock);
    clock.skewMs = 10_000;
    await cluster.time.advance(2_500);
    expect(kv.cluster().clockOffsetMs).toBeCloseTo(-10_000, -1);
  });

  test('stamps above every version that it has read', async () => {
    const cluster = new FakeCluster();
    const ahead = await cluster.connect({}, cluster.time.clockWithSkew(0));
    for (const node of cluster.nodes) node.clock.skewMs = 400;
    const written = await resultUnderTime(cluster, ahead.put('k', 'theirs'));
    const wallMs = written.version.wallMs + 400;
    const version = { ...written.version, wallMs };
    await resultUnderTime(cluster, ahead.put('k', 'far', { version }));
    for (const node of cluster.nodes) node.clock.skewMs = 0;
    const kv = await cluster.connect();
    expect(await resultUnderTime(cluster, kv.get('k'))).toBe('far');
    const next = await resultUnderTime(cluster, kv.put('k', 'mine'));
    expect(next).not.toHaveProperty('shadowedBy');
    expect(await resultUnderTime(cluster, kv.get('k'))).toBe('mine');
  });

  test('says by which version a write that lost is shadowed', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    const { version } = await resultUnderTime(cluster, kv.put('k', 'new'));
    const older = { ...version, wallMs: version.wallMs - 100 };
    const written = await resultUnderTime(cluster, kv.put('k', 'old', { version: older }));
    expect(written).toEqual({ version: older, shadowedBy: version });
  });
});

describe('closing', () => {
  test('lets what is under way finish, and takes nothing new', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) node.behaviour = { kind: 'serve', delayMs: 1_000 };
    const put = kv.put('k', 'v');
    const closed = kv.close();
    const refused = await outcomeUnderTime(cluster, kv.namespace('a/').get('k'));
    expect(refused).toMatchObject({ code: 'UNAVAILABLE', outcome: 'none' });
    expect(await resultUnderTime(cluster, put)).toHaveProperty('version');
    await resultUnderTime(cluster, closed);
    expect(cluster.nodes.every(({ links }) => links.size === 0)).toBe(true);
    await cluster.time.advance(100);
    expect(cluster.time.waiting).toBe(0);
  });

  test('ends a scan that would ask again', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) {
      node.behaviour = { kind: 'refuse', code: 'UNAVAILABLE', outcome: 'none' };
    }
    const page = kv.scan()[Symbol.asyncIterator]().next();
    const startMs = cluster.time.clock.monotonicMs();
    const closed = kv.close();
    const error = await outcomeUnderTime(cluster, page);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', message: /closed/ });
    expect(cluster.time.clock.monotonicMs() - startMs).toBeLessThan(1_000);
    await resultUnderTime(cluster, closed);
  });

  test('does not wait for ever', async () => {
    const cluster = new FakeCluster();
    const kv = await cluster.connect();
    for (const node of cluster.nodes) node.behaviour = { kind: 'hang', stores: false };
    const put = kv.put('k', 'v', { timeoutMs: 60_000 });
    put.catch(() => undefined);
    const startMs = cluster.time.clock.monotonicMs();
    await resultUnderTime(cluster, kv.close());
    expect(cluster.time.clock.monotonicMs() - startMs).toBeLessThanOrEqual(5_000);
    expect(await outcomeUnderTime(cluster, put)).toMatchObject({
      code: 'CANCELLED',
      outcome: 'unknown',
    });
  });

  test('happens by itself at the end of `await using`', async () => {
    const cluster = new FakeCluster();
    {
      await using kv = await cluster.connect();
      await resultUnderTime(cluster, kv.put('k', 'v'));
    }
    expect(cluster.nodes.every(({ links }) => links.size === 0)).toBe(true);
  });
});
