import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULT_LIMITS } from '../../src/core/limits.js';
import { connect, type Kv } from '../../src/index.js';
import { openUnaryClient, type UnaryClient } from '../../src/wire/unary-client.js';
import { eventually, freePorts, NodeProcess, ProcessCluster } from './processes.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const YEAR_MS = 365 * 24 * 3_600_000;

/** Runs a node that is expected to end by itself. */
async function serve(args: readonly string[]): Promise<{ code: number | null; log: string }> {
  const node = new NodeProcess('bad', '', args);
  node.launch();
  const code = await node.ended();
  return { code, log: node.log };
}

/** The arguments of a node that is a cluster of its own. */
function own(data: string, port: number): string[] {
  return `--node n1 --members n1=127.0.0.1:${port} --data ${data}`.split(' ');
}

describe('bad input gets a clear error, changes nothing, and leaves the node serving', () => {
  let cluster: ProcessCluster;
  let kv: Kv<string>;
  let unary: UnaryClient;

  beforeAll(async () => {
    cluster = await ProcessCluster.start(3);
    kv = await connect({ endpoints: cluster.endpoints });
    unary = openUnaryClient(cluster.endpoints[0] as string, { timeoutMs: 5_000 });
  });

  afterAll(async () => {
    const keys: string[] = [];
    for await (const { keyText } of kv.scan({ keysOnly: true })) keys.push(keyText);
    expect(keys).toEqual(['fine']);
    await kv.close();
    unary.close();
    await cluster[Symbol.asyncDispose]();
  });

  test.each([
    ['an empty key', () => unary.put(new Uint8Array(0), bytes('v')), /key: must not be empty/],
    [
      'an oversized key',
      () => unary.put(new Uint8Array(4_097), bytes('v')),
      /key: 4097 bytes, the limit is 4096/,
    ],
    [
      'an oversized value',
      () => unary.put(bytes('k'), new Uint8Array(DEFAULT_LIMITS.maxValueBytes + 1)),
      /value: 1048577 bytes, the limit is 1048576/,
    ],
    [
      'more replicas than there are in the zone',
      () => unary.put(bytes('k'), bytes('v'), { consistency: 'LOCAL_ONE', zone: 'nowhere' }),
      /zone/,
    ],
    [
      'no zone for a local level',
      () => unary.get(bytes('k'), { consistency: 'LOCAL_ONE' }),
      /zone/,
    ],
    ['a token of another cluster', () => unary.scan({ token: bytes('forged') }), /token/],
    ['a scan limit beyond the bound', () => unary.scan({ limit: 10_001 }), /limit/],
  ])('%s', async (_name, call, message) => {
    await expect(call()).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      outcome: 'none',
      message: expect.stringMatching(message) as string,
    });
  });

  test('an oversized frame is refused without harm', async () => {
    await expect(unary.put(bytes('k'), new Uint8Array(8 * 1024 * 1024))).rejects.toMatchObject({
      name: 'KvError',
    });
    expect(await unary.health('quorate.v1.Kv')).toBe('SERVING');
  });

  test('stamps from next year and from 1970', async () => {
    const writer = { logical: 0, writerHi: 1, writerLo: 2 };
    for (const wallMs of [Date.now() + YEAR_MS, 0, 1_000]) {
      await expect(
        unary.put(bytes('k'), bytes('v'), { version: { wallMs, ...writer } }),
      ).rejects.toMatchObject({ code: 'CLOCK_DRIFT', outcome: 'none' });
    }
  });

  test('LINEARIZABLE is refused for scans, and an expectation at any other level', async () => {
    await expect(unary.scan({ consistency: 'LINEARIZABLE' })).rejects.toMatchObject({
      code: 'NOT_SUPPORTED',
      outcome: 'none',
    });
    const put = unary.put(bytes('fresh'), bytes('v'), { expect: { kind: 'absent' } });
    await expect(put).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      outcome: 'none',
      message: expect.stringMatching(/^expect: /) as string,
    });
    expect((await unary.get(bytes('fresh'))).found).toBe(false);
  });

  test('a binary key is a key like any other', async () => {
    const key = Uint8Array.of(0, 255, 10, 13, 0);
    await unary.put(key, bytes('v'));
    expect((await unary.get(key)).found).toBe(true);
    await unary.delete(key);
    await kv.put('fine', 'v');
  });

  describe('a node that cannot start says why, with exit code', () => {
    test('an unknown key in the config file', async () => {
      const file = join(cluster.folder, 'bad.toml');
      writeFileSync(file, 'replicas = 3\n');
      const { code, log } = await serve(['--config', file]);
      expect(log).toMatch(/unknown key "replicas"/);
      expect(code).toBe(2);
    });

    test('a port in use', async () => {
      const port = Number((cluster.endpoints[0] as string).split(':')[1]);
      const { code, log } = await serve(own(join(cluster.folder, 'other'), port));
      expect(log).toContain(`127.0.0.1:${port}`);
      expect(log).toMatch(/in use/);
      expect(code).not.toBe(0);
    });

    test('a folder that another process holds', async () => {
      const [port = 0] = await freePorts(1);
      const node = cluster.node('n1');
      const { code, log } = await serve(
        `--node n1 --members ${cluster.members} --cluster test --data ${join(cluster.folder, 'n1')} --listen 127.0.0.1:${port}`.split(
          ' ',
        ),
      );
      expect(log).toMatch(/another process|locked/i);
      expect(log).toContain(join(cluster.folder, 'n1'));
      expect(code).toBe(1);
      expect(node.pid).toBeGreaterThan(0);
    });

    test('a folder of another cluster', async () => {
      const [port = 0] = await freePorts(1);
      const data = join(cluster.folder, 'moved');
      const node = new NodeProcess('n1', `127.0.0.1:${port}`, own(data, port));
      node.launch();
      const health = openUnaryClient(node.endpoint, { timeoutMs: 1_000 });
      await eventually('it serves', async () =>
        health.health('quorate.v1.Kv').then(
          (answer) => answer === 'SERVING',
          () => false,
        ),
      );
      health.close();
      expect(await node.stop()).toBe(0);
      const { code, log } = await serve([...own(data, port), '--cluster', 'other']);
      expect(log).toMatch(/"?quorate"?.*"?other"?|"?other"?.*"?quorate"?/s);
      expect(code).toBe(7);
    });

    test('a data folder that is a file', async () => {
      const [port = 0] = await freePorts(1);
      const data = join(cluster.folder, 'file');
      writeFileSync(data, '');
      const { code, log } = await serve(own(data, port));
      expect(log).toContain(data);
      expect(code).toBe(1);
    });
  });

  test('a peer of another cluster is refused, and shown as refused', async () => {
    const [port = 0] = await freePorts(1);
    const data = join(cluster.folder, 'stranger');
    mkdirSync(data);
    // It believes to be n4 of a larger cluster with the same name.
    const members = `${cluster.members},n4=127.0.0.1:${port}/z4`;
    const stranger = new NodeProcess(
      'n4',
      `127.0.0.1:${port}`,
      `--node n4 --members ${members} --data ${data} --cluster test`.split(' '),
    );
    stranger.launch();
    const status = openUnaryClient(stranger.endpoint, { timeoutMs: 1_000 });
    try {
      await eventually('every peer refuses it', async () =>
        status.status().then(
          ({ peers }) =>
            peers.every(({ state, reason }) => state === 'refused' && reason.includes('member')),
          () => false,
        ),
      );
    } finally {
      status.close();
      await stranger.stop();
    }
    const { peers } = await unary.status();
    expect(peers.map(({ state }) => state)).toEqual(['connected', 'connected']);
  });
});
