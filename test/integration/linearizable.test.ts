import { execFile, spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, type Kv, type KvError } from '../../src/index.js';
import { openUnaryClient } from '../../src/wire/unary-client.js';
import { eventually, ProcessCluster } from './processes.js';

// LINEARIZABLE on three real nodes, from several processes at once.

const KVCTL = fileURLToPath(new URL('../../cli/kvctl.js', import.meta.url));
const NO_FAULTS = { dropTo: [], dropFrom: [], delayMs: 0, skewMs: 0 };
const run = promisify(execFile);

let cluster: ProcessCluster;
let folder: string;
let kv: Kv<string>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'quorate-linearizable-'));
  cluster = await ProcessCluster.start(3);
  kv = await connect({ endpoints: cluster.endpoints });
});

afterAll(async () => {
  await kv.close();
  await cluster[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

type Kvctl = ChildProcessByStdio<null, Readable, Readable>;

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function launch(...args: string[]): Kvctl {
  return spawn(process.execPath, [KVCTL, ...args], {
    cwd: folder,
    env: { ...process.env, KVCTL_ENDPOINTS: cluster.endpoints.join(',') },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function ended(child: Kvctl): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (stdout += part));
  child.stderr.setEncoding('utf8').on('data', (part: string) => (stderr += part));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

function kvctl(...args: string[]): Promise<Ended> {
  return ended(launch(...args));
}

async function setFaults(faults: Partial<typeof NO_FAULTS>): Promise<void> {
  for (const endpoint of cluster.endpoints) {
    const client = openUnaryClient(endpoint, { timeoutMs: 5_000 });
    await client.setFaults({ ...NO_FAULTS, ...faults });
    client.close();
  }
}

describe('compare-and-set', () => {
  test('is put with a condition, and exits with 4 when it loses', async () => {
    const put = await kvctl('put', 'doc', 'one', '--if-absent', '-o', 'json');
    const { version, requestId } = JSON.parse(put.stdout) as Record<string, string>;
    expect(put).toMatchObject({ code: 0, stderr: '' });
    const again = await kvctl('put', 'doc', 'two', '--if-absent', '-o', 'json');
    expect(again.code).toBe(4);
    expect(JSON.parse(again.stdout)).toMatchObject({
      swapped: false,
      found: { value: 'one', version },
    });
    expect(await kvctl('put', 'doc', 'two', '--if-version', version ?? '')).toMatchObject({
      code: 0,
    });
    expect(await kvctl('cas', 'doc', 'one', 'three')).toMatchObject({
      code: 4,
      stdout: '',
      stderr: expect.stringContaining('doc holds two, version '),
    });
    expect(await kvctl('cas', 'doc', 'two', '--delete')).toMatchObject({ code: 0 });
    expect(await kvctl('get', 'doc', '--consistency', 'linearizable')).toMatchObject({ code: 3 });
    expect(await kvctl('outcome', requestId ?? '')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`applied\nversion  ${version}`),
    });
    expect(await kvctl('put', 'doc', 'x', '--if-absent', '--if-value', 'y')).toMatchObject({
      code: 2,
    });
    expect(await kvctl('cas', 'doc', 'x', 'y', '--consistency', 'ONE')).toMatchObject({ code: 2 });
  });

  test('of several processes counts right, while a node is killed', async () => {
    const script = `
      import { connect } from 'quorate';
      const kv = await connect(process.argv[1]);
      const counter = kv.counter('visits');
      for (let i = 0; i < 80; i++) await counter.add(1, { timeoutMs: 20_000 });
      console.log(await counter.get());
      await kv.close();`;
    const endpoints = cluster.endpoints.join(',');
    const counting = Promise.all(
      [1, 2, 3, 4].map(() =>
        run(process.execPath, ['--input-type=module', '-e', script, endpoints]),
      ),
    );
    await eventually('they have begun', async () => (await kv.counter('visits').get()) > 20);
    await cluster.node('n3').stop('SIGKILL');
    const sums = (await counting).map(({ stdout }) => Number(stdout));
    cluster.node('n3').launch();
    await cluster.connected();
    expect(Math.max(...sums)).toBe(320);
    expect(await kv.counter('visits').get()).toBe(320);
    const left = await kv.get('visits', { consistency: 'ALL' });
    expect(left).toBe('320');
  });

  test('of unknown outcome is asked for, and what is answered is true', async () => {
    const impatient = kv.with({ timeoutMs: 250 });
    await setFaults({ delayMs: 400 });
    const ends = await Promise.all(
      Array.from({ length: 8 }, (_, at) =>
        impatient.cas(`late/${at}`, { expect: 'absent' }, 'there').catch((error: unknown) => error),
      ),
    );
    await setFaults({});
    for (const [at, error] of ends.entries()) {
      const { outcome, requestId } = error as KvError;
      expect(outcome).toBe('unknown');
      const { code, stdout } = await kvctl('outcome', requestId ?? '', '-o', 'json');
      const { result } = JSON.parse(stdout) as { result: string };
      const entry = await kv.get(`late/${at}`, { consistency: 'LINEARIZABLE' });
      expect({ result, code, entry }).toEqual(
        result === 'applied'
          ? { result, code: 0, entry: 'there' }
          : { result: 'never', code: 3, entry: undefined },
      );
    }
  });
});

describe('kvctl lock', () => {
  test('lets one command at a time run, each with a higher token', async () => {
    const script = 'mkdir held || echo overlap; echo $QUORATE_TOKEN; sleep 0.05; rmdir held';
    const all = await Promise.all(
      [1, 2, 3, 4].map(() => kvctl('lock', 'one', '--', 'sh', '-c', script)),
    );
    for (const { code, stderr } of all) {
      expect({ code, stderr: stderr.replace(/^waiting for lock one.*\n/, '') }).toEqual({
        code: 0,
        stderr: '',
      });
    }
    const tokens = all.map(({ stdout }) => stdout.trim());
    expect(new Set(tokens).size).toBe(4);
    for (const token of tokens) expect(token).toMatch(/^[0-9a-f-]{34}$/);
  });

  test('exits as its command does', async () => {
    const codes = ['exit 7', 'kill -9 $$'].map((line) =>
      kvctl('lock', 'x', '--', 'sh', '-c', line),
    );
    expect((await Promise.all(codes)).map(({ code }) => code)).toEqual([7, 137]);
    expect(await kvctl('lock', 'x', '--', './no-such-command')).toMatchObject({ code: 127 });
    expect(await kvctl('lock', 'x')).toMatchObject({ code: 2 });
  });

  test('passes signals on, releases the lock, and gives up waiting after --wait', async () => {
    const script = 'trap "echo told; exit 3" TERM; touch running; while :; do sleep 0.05; done';
    const holder = launch(
      'lock',
      'y',
      '--as',
      'the first',
      '--ttl',
      '1m',
      '--',
      'sh',
      '-c',
      script,
    );
    const holding = ended(holder);
    await eventually('the command runs', () => existsSync(join(folder, 'running')));
    expect(await kvctl('lock', 'y', '--wait', '300ms', '--', 'true')).toMatchObject({ code: 6 });
    const waiter = launch('lock', 'y', '--', 'echo', 'mine');
    const waiting = ended(waiter);
    let told = '';
    waiter.stderr.setEncoding('utf8').on('data', (part: string) => (told += part));
    await eventually('the waiting is told', () => told.includes('\n'));
    expect(told).toMatch(/^waiting for lock y: held by the first since .*, free 1 min after/);
    holder.kill('SIGTERM');
    expect(await holding).toMatchObject({ code: 3, stdout: 'told\n' });
    expect(await waiting).toMatchObject({ code: 0, stdout: 'mine\n' });
  });

  test('ends its command when the lock is lost, and exits with 9', async () => {
    const script = 'trap "echo told; exit 0" TERM; touch locked; while :; do sleep 0.05; done';
    const holding = kvctl('lock', 'z', '--ttl', '1s', '--', 'sh', '-c', script);
    await eventually('the command runs', () => existsSync(join(folder, 'locked')));
    for (const id of ['n1', 'n2']) cluster.node(id).signal('SIGSTOP');
    const lost = await holding.finally(() => {
      for (const id of ['n1', 'n2']) cluster.node(id).signal('SIGCONT');
    });
    expect(lost).toMatchObject({
      code: 9,
      stdout: 'told\n',
      stderr: expect.stringContaining('lock z was not renewed within 1000 ms'),
    });
    await cluster.connected();
  });
});

describe('kvctl elect', () => {
  test('hands over when its leader is killed, and at once when one resigns', async () => {
    const observer = launch('elect', 'chief', '--observe', '-o', 'raw');
    let seen = '';
    observer.stdout.setEncoding('utf8').on('data', (part: string) => (seen += part));
    const observed = ended(observer);
    const stand = (as: string): Kvctl => launch('elect', 'chief', '--as', as, '--ttl', '1s');
    const a = stand('a');
    await eventually('a leads', () => seen.includes('leader\ta'));
    const [b, c] = [stand('b'), stand('c')];
    a.kill('SIGKILL');
    await eventually('another leads', () => /leader\t[bc]/.test(seen));
    const [first, second] = seen.includes('leader\tb') ? [b, c] : [c, b];
    const next = first === b ? 'c' : 'b';
    const resigned = ended(first);
    first.kill('SIGTERM');
    expect(await resigned).toMatchObject({ code: 0 });
    await eventually('the last one leads', () => seen.includes(`leader\t${next}`));
    const last = ended(second);
    second.kill('SIGINT');
    expect((await last).code).toBe(0);
    observer.kill('SIGTERM');
    expect(await observed).toMatchObject({ code: 0, stderr: '' });
    const tokens = [...seen.matchAll(/token\t(\S+)/g)].map(([, token = '']) => token);
    expect(tokens).toHaveLength(3);
    for (const [at, token] of tokens.entries()) expect(token > (tokens[at - 1] ?? '')).toBe(true);
  });
});
