import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeRecord } from '../../src/core/record.js';
import { connect, type Kv } from '../../src/index.js';
import { levelStoreOpener } from '../../src/io/level-store.js';
import { recordKey } from '../../src/replica/layout.js';
import { NO_FAULT_SETTINGS, type NodeStatusReport } from '../../src/wire/reports.js';
import { openUnaryClient } from '../../src/wire/unary-client.js';
import { eventually, ProcessCluster } from './processes.js';

// How three real nodes find out that they differ, say so, and mend it.

const KVCTL = fileURLToPath(new URL('../../cli/kvctl.js', import.meta.url));
const KEYS = Array.from({ length: 300 }, (_, at) => `key/${at}`);

/** A cluster, and kvctl pointed at it. */
class Bench implements AsyncDisposable {
  private constructor(
    readonly cluster: ProcessCluster,
    readonly kv: Kv<string>,
  ) {}

  static async start(...settings: string[]): Promise<Bench> {
    const cluster = await ProcessCluster.start(3, settings);
    return new Bench(cluster, await connect({ endpoints: cluster.endpoints }));
  }

  async kvctl(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const child = spawn(process.execPath, [KVCTL, ...args], {
      env: { ...process.env, KVCTL_ENDPOINTS: this.cluster.endpoints.join(',') },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => (stdout += part));
    child.stderr.setEncoding('utf8').on('data', (part: string) => (stderr += part));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, stdout, stderr };
  }

  async status(id: string): Promise<NodeStatusReport> {
    const client = openUnaryClient(this.cluster.node(id).endpoint, { timeoutMs: 5_000 });
    try {
      return await client.status();
    } finally {
      client.close();
    }
  }

  /** Cuts n3 off from the others, both ways, or joins it again. */
  async cut(isCut: boolean): Promise<void> {
    for (const { id, endpoint } of this.cluster.nodes) {
      const others = id === 'n3' ? ['n1', 'n2'] : ['n3'];
      const client = openUnaryClient(endpoint, { timeoutMs: 5_000 });
      const dropped = isCut ? { dropTo: others, dropFrom: others } : {};
      await client.setFaults({ ...NO_FAULT_SETTINGS, ...dropped });
      client.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kv.close();
    await this.cluster[Symbol.asyncDispose]();
  }
}

describe('what has changed behind the back of a node', () => {
  let bench: Bench;

  beforeAll(async () => {
    // Compared when told to, and not before.
    bench = await Bench.start('--anti-entropy-ms', '86400000');
    await bench.kv.putMany(
      KEYS.map((key) => [key, 'as written'] as const),
      { consistency: 'ALL' },
    );
  });

  afterAll(async () => {
    await bench[Symbol.asyncDispose]();
  });

  test('is found by verify, which says where, and who holds what', async () => {
    expect(await bench.kvctl('verify')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^All replicas of all keys hold the same\./),
    });
    const n3 = bench.cluster.node('n3');
    await n3.stop('SIGKILL');
    const store = await levelStoreOpener(join(bench.cluster.folder, 'n3')).open();
    const batch = store.batch();
    batch.del(recordKey(Buffer.from('key/7')));
    const version = { wallMs: 1_700_000_000_000, logical: 0, writerHi: 1, writerLo: 2 };
    const older = encodeRecord(Buffer.from('key/8'), {
      version,
      tombstone: false,
      value: Buffer.from('older'),
    });
    batch.put(recordKey(Buffer.from('key/8')), older);
    await batch.commit({ sync: true });
    await store.close();
    n3.launch();
    await bench.cluster.connected();
    await eventually('n3 has its trees', async () => (await bench.status('n3')).repair.treesReady);

    const verify = await bench.kvctl('verify', '-o', 'json');
    expect(verify.code).toBe(8);
    const { differences, ...found } = JSON.parse(verify.stdout) as {
      differences: { key: string; replicas: { node: string; result: string }[] }[];
    };
    expect(found).toMatchObject({ equal: false, compared: 256, differingKeys: 2 });
    const byKey = new Map(differences.map(({ key, replicas }) => [key, replicas]));
    expect([...byKey.keys()].sort()).toEqual(['key/7', 'key/8']);
    const holdsOf = (key: string) =>
      Object.fromEntries((byKey.get(key) ?? []).map(({ node, ...holds }) => [node, holds]));
    expect(holdsOf('key/7')).toMatchObject({
      n1: { result: 'found' },
      n2: { result: 'found' },
      n3: { result: 'absent' },
    });
    expect(holdsOf('key/8')).toMatchObject({
      n3: { result: 'found', writtenAt: '2023-11-14T22:13:20.000Z' },
    });
    expect(await bench.kvctl('verify')).toMatchObject({
      code: 8,
      stdout: expect.stringMatching(/n3 +older value +2023-11-14T22:13:20.000Z/),
      stderr: expect.stringContaining('replicas differ on 2 keys [DIFFERS]'),
    });
  });

  test('is mended by repair, which says what it did', async () => {
    const repair = await bench.kvctl('repair', '--node', 'n1', '-o', 'json');
    expect(repair.code).toBe(0);
    const rows = JSON.parse(repair.stdout) as { peer: string }[];
    expect(rows.find(({ peer }) => peer === 'n3')).toMatchObject({
      node: 'n1',
      complete: true,
      differing: 2,
      pulled: 0,
      pushed: 2,
    });
    expect(await bench.kvctl('verify')).toMatchObject({ code: 0 });
    expect(await bench.kvctl('repair')).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('Nothing differed: there was nothing to mend.'),
    });
    expect(await bench.kvctl('explain', 'key/7')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/All replicas hold the same record[^]*n1 +nobody .*n3 equal/),
    });
  });

  test('an unknown node is refused before anything is asked', async () => {
    expect(await bench.kvctl('repair', '--node', 'n9')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('The cluster has n1, n2, n3.'),
    });
  });

  test('is not known of a node that is down, and verify and repair say so', async () => {
    await bench.cluster.node('n3').stop('SIGKILL');
    const verify = await bench.kvctl('verify');
    expect(verify.code).toBe(5);
    expect(verify.stdout).toMatch(/in 256 of 256 partitions not all[^]*n3 was not compared/);
    const repair = await bench.kvctl('repair');
    expect(repair.code).toBe(5);
    expect(repair.stdout).toMatch(/n3 +- +unreachable/);
    expect(repair.stderr).toMatch(/could not be compared: .*n3/);
  });
});

describe('a network partition', () => {
  let bench: Bench;

  beforeAll(async () => {
    bench = await Bench.start();
  });

  afterAll(async () => {
    await bench[Symbol.asyncDispose]();
  });

  test('that has healed leaves all replicas equal, without a read', async () => {
    await bench.kv.putMany(KEYS.map((key) => [key, 'first'] as const));
    await bench.cut(true);
    await bench.kv.putMany(KEYS.slice(0, 100).map((key) => [key, 'second'] as const));
    await bench.kv.delete('key/200');
    await eventually('n1 and n2 take n3 for dead', async () => {
      const columns = JSON.parse(
        (await bench.kvctl('cluster', 'members', '-o', 'json')).stdout,
      ) as {
        id: string;
        believed: { by: string; status: string }[];
      }[];
      const believed = columns.find(({ id }) => id === 'n3')?.believed ?? [];
      return believed.every(({ status }) => status === 'dead');
    });
    await bench.cut(false);
    await eventually('all replicas are equal', async () => {
      const { code } = await bench.kvctl('verify');
      return code === 0;
    });
    for (const id of ['n1', 'n2', 'n3']) {
      await eventually(`${id} owes nothing`, async () => {
        const { hints, reads } = await bench.status(id);
        expect(reads).toBe(0);
        return hints.owed.length === 0;
      });
    }
    expect(await bench.kvctl('cluster', 'status')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/NODE +HINTS OWED[^]*n3 +none/),
    });
  });
});
