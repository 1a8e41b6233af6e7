import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, type Kv } from '../../src/index.js';
import { eventually, freePorts, ProcessCluster } from './processes.js';

// kvctl as a person uses it: the built command, its streams and its exit code, on three real nodes.

const KVCTL = fileURLToPath(new URL('../../cli/kvctl.js', import.meta.url));
const CITY_KEY = 'city/{country}/{name}/{lat},{lng}';

let cluster: ProcessCluster;
let folder: string;
let kv: Kv<string>;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'quorate-kvctl-'));
  cluster = await ProcessCluster.start(3);
  kv = await connect({ endpoints: cluster.endpoints });
});

afterAll(async () => {
  await kv.close();
  await cluster[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Kvctl = ChildProcessByStdio<Writable, Readable, Readable>;

function launch(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Kvctl {
  return spawn(process.execPath, [KVCTL, ...args], {
    cwd: folder,
    env: { ...process.env, KVCTL_ENDPOINTS: cluster.endpoints.join(','), ...environment },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

async function ended(child: Kvctl): Promise<Ended & { readonly bytes: Buffer }> {
  const out: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (part: Buffer) => out.push(part));
  child.stderr.setEncoding('utf8').on('data', (part: string) => (stderr += part));
  const [code] = (await once(child, 'close')) as [number | null];
  const bytes = Buffer.concat(out);
  return { code, stdout: bytes.toString(), stderr, bytes };
}

function kvctl(...args: string[]): ReturnType<typeof ended> {
  return kvctlWith('', ...args);
}

function kvctlWith(input: string | Buffer, ...args: string[]): ReturnType<typeof ended> {
  const child = launch(args);
  child.stdin.end(input);
  return ended(child);
}

function file(name: string): string {
  return join(folder, name);
}

describe('keys', () => {
  test('are put, got and deleted, with data alone on stdout', async () => {
    expect(await kvctl('put', 'greeting', 'hello')).toMatchObject({ code: 0, stderr: '' });
    expect(await kvctl('get', 'greeting')).toMatchObject({ code: 0, stdout: 'hello', stderr: '' });
    expect(await kvctl('del', 'greeting')).toMatchObject({ code: 0, stderr: '' });
    expect(await kvctl('get', 'greeting')).toMatchObject({
      code: 3,
      stdout: '',
      stderr: expect.stringContaining('greeting is absent'),
    });
  });

  test('are told to machines with their version, and with the receipt when asked for', async () => {
    const put = await kvctl('put', 'machine', 'made', '-o', 'json', '--consistency', 'all');
    const { version } = JSON.parse(put.stdout) as { version: string };
    const get = await kvctl('get', 'machine', '--receipt', '-o', 'jsonl');
    expect(JSON.parse(get.stdout)).toMatchObject({
      key: 'machine',
      found: true,
      value: 'made',
      version,
      receipt: { needed: 2, replicas: expect.arrayContaining([{ node: 'n1' }].map(partly)) },
    });
    expect((await kvctl('get', 'machine', '--with-version')).stdout).toBe(`${version}\tmade`);
  });

  test('and values may be any bytes', async () => {
    const value = Buffer.from([0, 255, 10, 13, 195]);
    expect((await kvctlWith(value, 'put', '00ff', '--key-hex')).code).toBe(0);
    expect((await kvctl('get', '0x00FF', '--key-hex')).bytes).toEqual(value);
    const json = await kvctl('get', '00ff', '--key-hex', '-o', 'json');
    expect(JSON.parse(json.stdout)).toMatchObject({
      key: { base64: 'AP8=' },
      value: { base64: value.toString('base64') },
    });
    writeFileSync(file('value.bin'), value);
    expect((await kvctl('put', 'from-file', '--file', 'value.bin')).code).toBe(0);
    expect((await kvctl('get', 'from-file')).bytes).toEqual(value);
  });

  test('are scanned in order, by prefix or range, either way', async () => {
    await kv.putMany(['s/a', 's/b', 's/c', 't'].map((key) => [key, `value of ${key}`] as const));
    const keys = async (...args: string[]) =>
      (await kvctl('scan', ...args, '--keys-only', '-o', 'raw')).stdout.trim().split('\n');
    expect(await keys('s/')).toEqual(['s/a', 's/b', 's/c']);
    expect(await keys('--from', 's/b', '--to', 't')).toEqual(['s/b', 's/c']);
    expect(await keys('--prefix', 's/', '--reverse', '--limit', '2')).toEqual(['s/c', 's/b']);
    expect((await kvctl('scan', 's/', '--limit', '1', '-o', 'raw')).stdout).toBe(
      's/a\tvalue of s/a\n',
    );
    expect((await kvctl('scan', 's/')).stdout).toMatch(/^KEY +VALUE +VERSION\ns\/a +value of s\/a/);
    expect(JSON.parse((await kvctl('scan', 'nothing/', '-o', 'json')).stdout)).toEqual([]);
  });

  test('are read and written in batches, a line for a line', async () => {
    const lines = [
      '{"op":"put","key":"batch/a","value":"1"}',
      'not json',
      '{"op":"get","key":"batch/none"}',
      '{"op":"put","key":"","value":"1"}',
    ];
    const { code, stdout } = await kvctlWith(lines.join('\n'), 'batch');
    expect(code).toBe(1);
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toMatchObject([
      { ok: true, op: 'put', key: 'batch/a' },
      { ok: false, line: 2, error: { code: 'USAGE' } },
      { ok: true, op: 'get', found: false },
      { ok: false, error: { code: 'INVALID_ARGUMENT', outcome: 'none' } },
    ]);
    expect(await kv.get('batch/a')).toBe('1');
  });
});

describe('values that expire', () => {
  test('are told with the moment, wherever they are shown', async () => {
    const put = await kvctl('put', 'ttl/long', 'v', '--ttl', '1h', '-o', 'json');
    const { writtenAt, expiresAt } = JSON.parse(put.stdout) as Record<string, string>;
    expect(Date.parse(expiresAt as string) - Date.parse(writtenAt as string)).toBe(3_600_000);
    const got = await kvctl('get', 'ttl/long', '-o', 'json');
    expect(JSON.parse(got.stdout)).toMatchObject({ value: 'v', expiresAt });
    await kvctl('put', 'ttl/stays', 'w');
    const table = (await kvctl('scan', 'ttl/', '--keys-only')).stdout.split('\n');
    expect(table[0]).toMatch(/^KEY +VERSION +EXPIRES AT$/);
    expect(table[1]).toMatch(new RegExp(`^ttl/long .* ${expiresAt}$`));
    expect(table[2]).toMatch(/^ttl\/stays .* -$/);
    expect((await kvctl('explain', 'ttl/long')).stdout).toContain(`found, expires ${expiresAt}`);

    const exported = (await kvctl('export', '--prefix', 'ttl/')).stdout;
    await kvctl('del', 'ttl/long', 'ttl/stays');
    expect((await kvctlWith(exported, 'import')).code).toBe(0);
    const restored = await kvctl('scan', 'ttl/', '-o', 'jsonl');
    const lines = restored.stdout.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { key: 'ttl/long', value: 'v', expiresAt },
      { key: 'ttl/stays', value: 'w' },
    ]);
    expect(lines[1]).not.toContain('expiresAt');
  });

  test('are absent when their time has come, and are not imported after it', async () => {
    const put = await kvctl('put', 'brief/a', 'v', '--ttl', '1s', '-o', 'json');
    const { expiresAt } = JSON.parse(put.stdout) as { expiresAt: string };
    await kvctlWith('{"op":"put","key":"brief/b","value":"v","ttl":"1s"}', 'batch');
    const brief = ['brief/a', 'brief/b'];
    await eventually('both have expired', async () =>
      (await kv.getMany(brief)).every((value) => value === undefined),
    );
    expect(await kvctl('get', 'brief/a')).toMatchObject({ code: 3, stdout: '' });
    expect((await kvctl('scan', 'brief/', '--keys-only', '-o', 'raw')).stdout).toBe('');
    const explained = await kvctl('explain', 'brief/a');
    expect(explained.stdout).toContain(`found, expired ${expiresAt}`);
    expect(explained.stdout).toContain('a value that has expired, so the key is absent');

    const lines = [
      `{"key":"brief/a","value":"v","expiresAt":"${expiresAt}"}`,
      '{"key":"brief/c","value":"v","ttl":"1h"}',
    ];
    const imported = await kvctlWith(lines.join('\n'), 'import', '-o', 'json');
    expect(imported.code).toBe(0);
    expect(JSON.parse(imported.stdout)).toMatchObject({ stored: 1, expired: 1, rejected: 0 });
    expect(await kv.get('brief/a')).toBeUndefined();
    await kv.put('brief/a', 'written later');
    expect(await kv.get('brief/a')).toBe('written later');
  });
});

describe('what goes wrong', () => {
  test.each([
    [['get'], "missing required argument 'key'"],
    [['gte', 'x'], 'Did you mean get?'],
    [['get', 'x', '--consistency', 'MOST'], 'Allowed choices are ONE, TWO'],
    [['get', 'x', '--timeout', '5'], 'a duration with a unit'],
    [['get', 'x', '--endpoints', 'nowhere'], '"nowhere" is not HOST:PORT'],
    [['get', ''], 'key: '],
    [['get', 'x', '--consistency', 'LOCAL_ONE'], 'zone: '],
    [['get', 'zz', '--key-hex'], 'hexadecimal'],
    [['import', 'x.json', '--key', '{'], '--key: '],
    [['put', 'x', 'y', '--file', 'z'], 'both give the value'],
    [['put', 'x', 'y', '--ttl', '30'], 'a duration of 1ms to 3650d'],
  ] as const)('in usage exits with 2: %j', async (args, message) => {
    const { code, stdout, stderr } = await kvctl(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(message);
  });

  test('in usage is told to machines as every other error is', async () => {
    const { code, stderr } = await kvctl('get', 'x', '--bogus', '-o', 'json');
    expect(code).toBe(2);
    const { error } = JSON.parse(stderr) as { error: unknown };
    expect(error).toMatchObject({ code: 'USAGE', message: "unknown option '--bogus'" });
  });

  test('with no node to reach exits with 5, and tells machines whether it may have happened', async () => {
    const [port] = await freePorts(1);
    const endpoints = ['--endpoints', `127.0.0.1:${port}`, '--timeout', '1s'];
    const { code, stderr } = await kvctl('put', 'a', 'b', '-o', 'json', ...endpoints);
    expect(code).toBe(5);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'UNAVAILABLE', outcome: 'none' } });
    expect((await kvctl('cluster', 'status', ...endpoints)).code).toBe(5);
  });

  test('is never shown in colours to a pipe, and help is data', async () => {
    // In CI too, where libraries like to colour whatever they print to.
    const { stderr } = await ended(launch(['get', 'x', '--consistency', 'MOST'], { CI: 'true' }));
    const { code, stdout } = await ended(launch(['import', '--help'], { CI: 'true' }));
    expect(code).toBe(0);
    expect(stdout).toContain("kvctl import cities.json --key 'city/{country}");
    expect(stdout + stderr).not.toContain('\u001b');
    expect(stdout).toContain('--consistency');
    expect((await kvctl('serve', '--help')).stdout).not.toContain('--consistency');
  });

  test('with one of several keys names it, and what was not tried', async () => {
    const { code, stdout, stderr } = await kvctl('del', 'first', '', 'third', '-o', 'raw');
    expect(code).toBe(2);
    expect(stdout.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain('key 2 of 3, ""; 1 after it not tried: key: must not be empty');
  });

  test.skipIf(process.platform !== 'linux')('with the output is told, not swallowed', async () => {
    await kv.put('full', 'disk');
    const child = spawn('sh', ['-c', `"${process.execPath}" "${KVCTL}" get full > /dev/full`], {
      env: { ...process.env, KVCTL_ENDPOINTS: cluster.endpoints.join(',') },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    expect(await ended(child)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('[ENOSPC]'),
    });
  });

  test('a reader that has read enough ends the command quietly', async () => {
    await kv.putMany(
      Array.from({ length: 2_000 }, (_, i) => [`pipe/${i}`, 'x'.repeat(1_000)] as const),
    );
    const child = launch(['scan', 'pipe/', '-o', 'raw']);
    child.stdin.end();
    const end = ended(child);
    await once(child.stdout, 'data');
    child.stdout.destroy();
    expect(await end).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('import and export', () => {
  const require = createRequire(import.meta.url);
  let cities: Record<string, string>[];

  beforeAll(() => {
    const all = require('cities.json/cities.json') as Record<string, string>[];
    cities = all.filter((_, at) => at % 40 === 0);
  });

  test('carry every city while a node is killed and started again', async () => {
    const victim = cluster.node('n2');
    const half = Math.floor(cities.length / 2);
    const texts = cities.map((city) => JSON.stringify(city));
    const child = launch(['import', '--key', CITY_KEY, '-o', 'json', '--concurrency', '64']);
    const end = ended(child);
    child.stdin.write(`[${texts.slice(0, half).join(',\n')},`);
    // The record before the last: the last itself ends where its comma has been seen.
    await eventually('half of the cities stored', async () => {
      return (await kv.get(keyOf(cities[half - 1]))) !== undefined;
    });
    await victim.stop('SIGKILL');
    child.stdin.end(`${texts.slice(half).join(',\n')}]`);
    const { code, stdout } = await end;
    victim.launch();
    await cluster.connected();
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      stored: cities.length,
      rejected: 0,
      duplicates: 0,
    });

    const exported = await kvctl('export', '--prefix', 'city/', '--values', 'out.json');
    expect(exported.code).toBe(0);
    const back = JSON.parse(readFileSync(file('out.json'), 'utf8')) as Record<string, string>[];
    expect(back.map(keyOf).sort()).toEqual(cities.map(keyOf).sort());
    const byKey = new Map(back.map((city) => [keyOf(city), city]));
    for (const city of cities) expect(byKey.get(keyOf(city))).toEqual(city);
  });

  test('an import that is interrupted goes on where it stopped', async () => {
    const lines = Array.from({ length: 100 }, (_, i) => `{"id":${i}}\n`);
    const args = ['import', '--key', 'resume/{id}', '--resume-file', 'resume', '-o', 'json'];
    const first = launch(args);
    const firstEnd = ended(first);
    first.stdin.write(lines.slice(0, 60).join(''));
    await eventually('60 records stored', async () => (await kv.get('resume/59')) !== undefined);
    first.kill('SIGINT');
    const interrupted = await firstEnd;
    expect(interrupted.code).toBe(130);
    expect(interrupted.stderr).toContain('Run the same command to go on there');
    const { records } = JSON.parse(readFileSync(file('resume'), 'utf8')) as { records: number };
    expect(records).toBeGreaterThan(0);
    expect(records).toBeLessThanOrEqual(60);

    const second = await kvctlWith(lines.join(''), ...args);
    expect(second.code).toBe(0);
    expect(JSON.parse(second.stdout)).toMatchObject({
      resumedAfter: records,
      stored: 100 - records,
    });
    expect(existsSync(file('resume'))).toBe(false);
    const ids = Array.from({ length: 100 }, (_, i) => `resume/${i}`);
    expect((await kv.getMany(ids)).filter((value) => value === undefined)).toEqual([]);
  });

  test('records that cannot be stored are rejected by line, and the rest goes in', async () => {
    writeFileSync(
      file('mixed.csv'),
      `id,name\n1,a\n2\n3,${'x'.repeat(1_100_000)}\n1,again\n,nameless\n`,
    );
    const plan = ['--key', 'mixed/{id}', '--value', 'name', '--rejects', 'rejects'];
    const { code, stdout, stderr } = await kvctl('import', 'mixed.csv', ...plan, '-o', 'json');
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ stored: 3, rejected: 2, duplicates: 1 });
    expect(stderr).toContain('the later record wins');
    const rejects = readFileSync(file('rejects'), 'utf8').trim().split('\n');
    expect(rejects.map((line) => JSON.parse(line) as unknown)).toEqual([
      { line: 3, reason: expect.stringContaining('is not CSV') as string, text: '2' },
      {
        line: 4,
        reason: expect.stringContaining('value: 1100000 bytes') as string,
        text: expect.any(String) as string,
      },
    ]);
    expect(await kv.getMany(['mixed/1', 'mixed/3', 'mixed/'])).toEqual([
      'again',
      undefined,
      'nameless',
    ]);
  });

  test('an input that breaks off is told by line and byte', async () => {
    expect(await kvctlWith('[{"id":1},{"id"', 'import', '--key', 'broken/{id}')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('line 1 (byte 15): the input ends before its array does'),
    });
  });

  test('what export writes, import takes, whatever the bytes', async () => {
    await kv.put('moved/a', 'text');
    await kvctlWith(Buffer.from([255, 0]), 'put', 'moved/b');
    const exported = await kvctl('export', '--prefix', 'moved/');
    await kvctl('del', 'moved/a', 'moved/b');
    expect((await kvctlWith(exported.stdout, 'import')).code).toBe(0);
    expect(await kv.get('moved/a')).toBe('text');
    expect((await kvctl('get', 'moved/b')).bytes).toEqual(Buffer.from([255, 0]));
  });

  test('an export that fails leaves no file', async () => {
    await kv.put('unsayable/a', 'no json');
    const { code, stderr } = await kvctl(
      'export',
      '--prefix',
      'unsayable/',
      '--values',
      'none.json',
    );
    expect(code).toBe(1);
    expect(stderr).toContain('the value of unsayable/a is not JSON');
    expect(existsSync(file('none.json'))).toBe(false);
  });
});

describe('the cluster', () => {
  test('tells its members, its placement and its clocks', async () => {
    const members = JSON.parse(
      (await kvctl('cluster', 'members', '-o', 'json')).stdout,
    ) as object[];
    expect(members).toMatchObject([{ id: 'n1' }, { id: 'n2' }, { id: 'n3' }]);
    const placed = await kvctl('cluster', 'placement', '--key', 'a', '-o', 'json');
    expect(JSON.parse(placed.stdout)).toMatchObject({ preference: kv.preferenceOf('a') });
    const clocks = JSON.parse((await kvctl('clock', '-o', 'json')).stdout) as object[];
    expect(clocks).toMatchObject(
      ['n1', 'n2', 'n3'].map((id) => ({ id, reachable: true, quarantined: false })),
    );
    expect((await kvctl('node', 'status', 'n2')).stdout).toMatch(/^node +n2 at /);
  });

  test('explains a key: who holds what, and why the winner wins', async () => {
    await kv.put('explained', 'value', { consistency: 'ALL' });
    const { code, stdout } = await kvctl('explain', 'explained', '-o', 'json');
    expect(code).toBe(0);
    const { replicas, winners } = JSON.parse(stdout) as { replicas: object[]; winners: string[] };
    expect(replicas).toHaveLength(3);
    expect(replicas[0]).toMatchObject({ result: 'found', valueBytes: 5, tombstone: false });
    expect(winners.sort()).toEqual(['n1', 'n2', 'n3']);
  });

  test('says which node cannot be reached, and goes on', async () => {
    const victim = cluster.node('n3');
    await victim.stop('SIGKILL');
    const { code, stdout, stderr } = await kvctl('cluster', 'status');
    expect(code).toBe(5);
    expect(stdout).toMatch(/^n3 .* unreachable /m);
    expect(stdout).toMatch(/^n1 .* serving /m);
    expect(stderr).toContain('1 of 3 nodes did not answer: n3');
    expect((await kvctl('explain', 'explained')).code).toBe(5);
    expect((await kvctl('put', 'still', 'here')).code).toBe(0);
    expect((await kvctl('put', 'not', 'all', '--consistency', 'ALL', '--timeout', '1s')).code).toBe(
      5,
    );
    victim.launch();
    await cluster.connected();
    expect((await kvctl('cluster', 'status')).code).toBe(0);
  });

  test('is measured, beside a bare echo server', async () => {
    const little = ['--records', '50', '--operations', '200', '--in-flight', '16'];
    const { code, stdout } = await kvctl(
      'bench',
      '--workload',
      'F',
      ...little,
      '--warmup',
      '1ms',
      '--echo',
      '-o',
      'json',
    );
    expect(code).toBe(0);
    const result = JSON.parse(stdout) as {
      operations: number;
      errors: object;
      latencies: Record<string, { count: number; p99Ms: number }>;
      echo: { perSecond: number };
    };
    expect(result).toMatchObject({ operations: 200, errors: {} });
    expect(result.latencies['read']?.count).toBeGreaterThan(0);
    expect(result.latencies['modify']?.p99Ms).toBeGreaterThan(0);
    expect(result.echo.perSecond).toBeGreaterThan(0);
  });
});

describe.skipIf(process.platform === 'win32')('completion', () => {
  test('answers bash without running what is only being typed', async () => {
    const { stdout: script } = await kvctl('completion', 'bash');
    const asked = `
      kvctl() { "${process.execPath}" "${KVCTL}" "$@"; }
      ${script}
      COMP_WORDS=(kvctl get '$(touch ran)' --consistency = LO); COMP_CWORD=5
      _kvctl
      printf '%s ' "\${COMPREPLY[@]}"`;
    const child = spawn('bash', ['-c', asked], { cwd: folder, stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.end();
    expect(await ended(child)).toMatchObject({
      code: 0,
      stdout: 'LOCAL_ONE LOCAL_QUORUM ',
      stderr: '',
    });
    expect(existsSync(file('ran'))).toBe(false);
  });
});

function keyOf(city: Record<string, string> | undefined): string {
  return `city/${city?.['country']}/${city?.['name']}/${city?.['lat']},${city?.['lng']}`;
}

function partly(shape: object): unknown {
  return expect.objectContaining(shape);
}
