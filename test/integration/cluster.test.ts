import { execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { placesOf, type Layout, type NodePlace } from '../../cluster/layout.js';
import { findTakenPort } from '../../cluster/node-process.js';
import { seeProcess } from '../../cluster/own-process.js';
import { readState } from '../../cluster/state.js';
import type { NodeStatusReport } from '../../src/wire/reports.js';
import { openUnaryClient } from '../../src/wire/unary-client.js';
import { eventually } from './processes.js';

// The script as a person runs it: real processes, gRPC and LevelDB, on other ports and in a folder of its own.

let folder = '';
let layout: Layout = { nodeCount: 3, basePort: 0 };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'quorate-cluster-'));
  layout = { nodeCount: 3, basePort: await freePorts(3) };
});

afterAll(async () => {
  await script('wipe', '--yes');
  rmSync(folder, { recursive: true, force: true });
});

describe('the cluster script', () => {
  test('up starts three nodes that serve, and tells where they are', async () => {
    const stdout = await succeed('up', '--base-port', String(layout.basePort));
    for (const { endpoint } of placesOf(layout)) expect(stdout).toContain(endpoint);
    expect(stdout).toContain('npx kvctl put greeting hello');
    await put('n1', 'greeting');
  });

  test('up again changes nothing', async () => {
    const before = pids();
    expect(await succeed('up')).toContain('Already running.');
    expect(pids()).toEqual(before);
  });

  test('status shows every node, and ends with 0 when all of them serve', async () => {
    const stdout = await succeed('status');
    expect(stdout.match(/^n\d +serving /gm)).toHaveLength(3);
    expect(await statusOf('n2')).toMatchObject({ healthy: true, peers: [{}, {}] });
  });

  test('env finds the cluster', async () => {
    const stdout = await succeed('env');
    const endpoints = placesOf(layout).map(({ endpoint }) => endpoint);
    expect(stdout).toBe(`export KVCTL_ENDPOINTS=${endpoints.join(',')}\n`);
  });

  test('another size is refused, and so is a node that is not there', async () => {
    const before = pids();
    expect(await script('up', '--nodes', '5')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('wipe'),
    });
    expect(await script('kill', 'n7')).toMatchObject({
      code: 2,
      stderr: 'There is no node "n7": this cluster has n1, n2, n3.\n',
    });
    expect(pids()).toEqual(before);
  });

  test('kill ends one node at once; the others serve on, and start brings it back', async () => {
    expect(await succeed('kill', 'n2')).toBe('n2 killed.\n');
    expect((await script('status')).code).toBe(5);
    expect(await statusOf('n2')).toMatchObject({ process: 'killed', healthy: false });
    await put('n1', 'while-n2-is-dead');
    await succeed('start', 'n2');
    expect(await statusOf('n2')).toMatchObject({ process: 'running', healthy: true });
  });

  test('pause makes one node stand still until it is resumed', async () => {
    await succeed('pause', 'n2');
    expect(await statusOf('n2')).toMatchObject({ process: 'paused', healthy: false });
    await put('n1', 'while-n2-is-paused');
    await succeed('resume', 'n2');
    await eventually('n2 is healthy', async () => (await statusOf('n2'))['healthy'] === true);
  });

  test('partition cuts a node off from the majority, and heal joins it again', async () => {
    await succeed('partition', 'n1');
    await expect(put('n1', 'alone', 1_000)).rejects.toMatchObject({ name: 'KvError' });
    await put('n2', 'together');
    expect(await statusOf('n1')).toMatchObject({ faults: { length: 4 } });
    await succeed('heal');
    expect(await statusOf('n1')).toMatchObject({ faults: [] });
    await untilPut('n1', 'joined');
  });

  test('a one-way partition lets a node be heard that hears nothing', async () => {
    await succeed('partition', 'n3', '--from', 'n1', '--one-way');
    const faults = await Promise.all(
      placesOf(layout).map(({ endpoint }) => withClient(endpoint, (client) => client.getFaults())),
    );
    expect(faults).toMatchObject([
      { dropTo: ['n3'], dropFrom: [] },
      { dropTo: [], dropFrom: [] },
      { dropTo: [], dropFrom: ['n1'] },
    ]);
    await succeed('heal');
  });

  test('demo shows a node fall behind and catch up, and leaves everything as it was', async () => {
    const before = pids();
    const stdout = await succeed('demo');
    expect(stdout).toMatch(
      /up to date +300 +300 +150\n +old values +0 +0 +50\n +missing +0 +0 +100/,
    );
    expect(stdout).toMatch(/n3 +ONE +first /);
    expect(stdout).toMatch(/n3 +QUORUM +refused: NO_QUORUM /);
    const lines = stdout.split('\n');
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(lines.length).toBeLessThan(50);
    expect(stdout).toMatch(
      /up to date +300 +300 +300\n[^]*they are equal\.\n[^]*your nodes go on as before/,
    );
    expect(pids()).toEqual(before);
    for (const id of ['n1', 'n2', 'n3']) expect(await statusOf(id)).toMatchObject({ faults: [] });
    const { endpoint } = placesOf(layout)[0] as NodePlace;
    const left = await withClient(endpoint, (client) =>
      client.scan({ prefix: Buffer.from('quorate-demo/') }),
    );
    expect(left.entries).toEqual([]);
  });

  test('a node with a skewed clock is quarantined, and returns when its clock is right', async () => {
    await succeed('skew', 'n2', '-800ms');
    await eventually(
      'n2 is quarantined',
      async () => (await reportOf('n2')).state === 'quarantined',
    );
    expect((await script('status')).code).toBe(5);
    // Behind: below 0.
    expect((await reportOf('n2')).offsetMs).toBeLessThan(-500);
    expect(await succeed('heal')).toContain('The clock of n2 is still -800 ms off');
    await succeed('skew', 'n2', '0ms');
    await eventually('n2 serves', async () => (await reportOf('n2')).state === 'serving');
  });

  test('a delayed node answers late', async () => {
    await script('delay', 'n3', '150ms');
    const startedMs = performance.now();
    await withClient(endpointOf('n3'), (client) => client.get(Buffer.from('greeting')));
    // Its timers may be a little early, and never by this much.
    expect(performance.now() - startedMs).toBeGreaterThan(140);
    await succeed('heal');
  });

  test('a rolling restart renews every process and loses nothing', async () => {
    const before = pids();
    await succeed('restart', '--rolling');
    for (const [index, pid] of pids().entries()) expect(pid).not.toBe(before[index]);
    const entry = await withClient(endpointOf('n3'), (client) =>
      client.get(Buffer.from('while-n2-is-dead')),
    );
    expect(Buffer.from(entry.value).toString()).toBe('value');
    await succeed('status');
  });

  test('logs tells of all nodes, oldest first', async () => {
    const stdout = await succeed('logs', '-n', '100000');
    const lines = stdout.split('\n').filter((line) => /^\d\d:/.test(line));
    for (const id of ['n1', 'n2', 'n3']) {
      expect(lines).toContainEqual(expect.stringMatching(`Z ${id} info {2}node ${id} serves`));
    }
    expect((await succeed('logs', '-n', '1', 'n2')).trimEnd().split('\n')).toHaveLength(1);
  });

  test('down ends every process and keeps the data; up brings it back', async () => {
    const before = pids();
    await succeed('down');
    for (const pid of before) expect(isAlive(pid ?? 0)).toBe(false);
    await succeed('down');
    await succeed();
    const entry = await withClient(endpointOf('n1'), (client) =>
      client.get(Buffer.from('greeting')),
    );
    expect(entry.found).toBe(true);
  });

  test('a process that only has the id of a node is left alone', async () => {
    await succeed('down');
    const bystander = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)']);
    try {
      const pid = bystander.pid ?? 0;
      const startTime = seeProcess(pid)?.startTime ?? '';
      const state = readState(folder);
      const nodes = { n2: { process: { pid, startTime, token: 'forged' }, ended: null } };
      writeFileSync(join(folder, 'cluster.json'), JSON.stringify({ ...state, nodes }));
      expect(await statusOf('n2')).toMatchObject({ process: 'died' });
      expect(await succeed('kill', 'n2')).toBe('n2 is not running.\n');
      await succeed('down');
      expect(bystander.exitCode ?? bystander.signalCode).toBeNull();
    } finally {
      bystander.kill('SIGKILL');
    }
  });

  test('a port that another process has is named, and nothing is started', async () => {
    const other = createServer().listen(layout.basePort + 1, '127.0.0.1');
    try {
      const { code, stderr } = await script('up');
      expect(code).toBe(1);
      expect(stderr).toContain(
        `Port ${layout.basePort + 1} of 127.0.0.1, which n2 needs, is in use`,
      );
      expect(await statusOf('n1')).toMatchObject({ pid: null });
    } finally {
      other.close();
    }
  });

  test('wipe asks first, and then deletes what the cluster kept and nothing else', async () => {
    writeFileSync(join(folder, 'mine.txt'), 'mine');
    expect(await script('wipe')).toMatchObject({ code: 2 });
    expect(existsSync(join(folder, 'n1'))).toBe(true);
    await succeed('wipe', '--yes');
    expect(existsSync(join(folder, 'n1'))).toBe(false);
    expect(existsSync(join(folder, 'n1.log'))).toBe(false);
    expect(readFileSync(join(folder, 'mine.txt'), 'utf8')).toBe('mine');
    expect(await script('status')).toMatchObject({ code: 5 });
  });

  test('a node that ends at its start is told of with the end of its log', async () => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'n1'), 'a file where its data folder belongs');
    const args = ['up', '--nodes', '1', '--base-port', String(layout.basePort)];
    const { code, stderr } = await script(...args);
    expect(code).toBe(1);
    expect(stderr).toContain('n1 ended while it was starting (exit code');
    expect(stderr).toContain(join(folder, 'n1'));
    await script('wipe', '--yes');
  });
});

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What it prints on stdout; an error with all that it printed unless it ends with 0. */
async function succeed(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await script(...args);
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}:\n${stderr}${stdout}`);
  return stdout;
}

function script(...args: readonly string[]): Promise<Run> {
  const command = ['dist/cluster/main.js', ...args, '--state-dir', folder];
  return new Promise((resolve) => {
    const child = execFile(process.execPath, command, (_, stdout, stderr) => {
      resolve({ code: child.exitCode, stdout, stderr });
    });
  });
}

async function statusOf(id: string): Promise<Record<string, unknown>> {
  const { stdout } = await script('status', '-o', 'json');
  const views = JSON.parse(stdout) as Record<string, unknown>[];
  return views.find(({ node }) => node === id) ?? {};
}

function reportOf(id: string): Promise<NodeStatusReport> {
  return withClient(endpointOf(id), (client) => client.status());
}

async function put(id: string, key: string, timeoutMs = 5_000): Promise<void> {
  await withClient(
    endpointOf(id),
    (client) => client.put(Buffer.from(key), Buffer.from('value')),
    timeoutMs,
  );
}

/** A link that was given up while the network was cut takes its time to be tried again. */
function untilPut(id: string, key: string): Promise<void> {
  return eventually(`a write through ${id} succeeds`, () =>
    put(id, key, 1_000).then(
      () => true,
      () => false,
    ),
  );
}

function pids(): (number | undefined)[] {
  const state = readState(folder);
  return placesOf(layout).map(({ id }) => state?.nodes[id]?.process?.pid);
}

/** A zombie counts as gone: whoever should read its exit code is slow, or not there. */
function isAlive(pid: number): boolean {
  const seen = seeProcess(pid);
  return seen !== undefined && seen.condition !== 'zombie';
}

function endpointOf(id: string): string {
  return placesOf(layout).find((place) => place.id === id)?.endpoint ?? '';
}

async function withClient<T>(
  endpoint: string,
  use: (client: ReturnType<typeof openUnaryClient>) => Promise<T>,
  timeoutMs = 5_000,
): Promise<T> {
  const client = openUnaryClient(endpoint, { timeoutMs });
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

async function freePorts(count: number): Promise<number> {
  for (let basePort = 17_101; basePort < 18_000; basePort += count) {
    const places = placesOf({ nodeCount: count, basePort });
    if ((await findTakenPort(places)) === undefined) return basePort;
  }
  throw new Error('no free ports');
}
