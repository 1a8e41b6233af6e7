import { execFile } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

// The real script in a small house of its own, where npm, the compiler and the generators only note that they ran. The tests
// share the house, as a clone that is prepared again and again.

const NPM = `
const fs = require('fs');
fs.appendFileSync('runs.log', 'npm ' + process.argv.slice(2).join(' ') + '\\n');
const lock = JSON.parse(fs.readFileSync('package-lock.json', 'utf8'));
delete lock.packages[''];
for (const [name, entry] of Object.entries(lock.packages)) {
  if (entry.os !== undefined && !entry.os.includes(process.platform)) delete lock.packages[name];
  else fs.mkdirSync(name, { recursive: true });
}
for (const [name, command, code] of JSON.parse(fs.readFileSync('tools.json', 'utf8'))) {
  fs.mkdirSync('node_modules/' + name, { recursive: true });
  fs.writeFileSync('node_modules/' + name + '/package.json', JSON.stringify({ bin: command }));
  for (const file of Object.values(command)) fs.writeFileSync('node_modules/' + name + '/' + file, code);
}
fs.writeFileSync('node_modules/.package-lock.json', JSON.stringify(lock));
`;

const TSC = `
const fs = require('fs');
fs.appendFileSync('runs.log', 'tsc\\n');
for (const folder of ['src', 'cli', 'test']) {
  for (const file of fs.readdirSync(folder)) {
    if (!file.endsWith('.ts')) continue;
    fs.mkdirSync('dist/' + folder, { recursive: true });
    fs.copyFileSync(folder + '/' + file, 'dist/' + folder + '/' + file.replace('.ts', '.js'));
  }
}
process.exitCode = fs.readFileSync('src/a.ts', 'utf8').includes('mistake') ? 2 : 0;
`;

const GENERATOR = `
const fs = require('fs');
const path = require('path');
fs.appendFileSync('runs.log', path.basename(process.argv[1], '.js') + '\\n');
fs.writeFileSync(process.argv[process.argv.indexOf('-o') + 1], 'import Long = require("long");\\nrest');
`;

let house = '';

beforeAll(() => {
  house = mkdtempSync(join(tmpdir(), 'quorate-house-'));
  write('package.json', '{}');
  write('tsconfig.json', '{}');
  write('proto/quorate.proto', 'syntax');
  write('src/a.ts', 'a');
  write('cli/kvctl.ts', 'k');
  write('test/a.test.ts', 't');
  write('bin/npm-cli.js', NPM);
  write(
    'tools.json',
    JSON.stringify([
      ['typescript', { tsc: 'tsc.js' }, TSC],
      ['protobufjs-cli', { pbjs: 'pbjs.js', pbts: 'pbts.js' }, GENERATOR],
    ]),
  );
  writeLockfile({});
  mkdirSync(join(house, 'cluster'));
  copyFileSync('cluster/prepare.cjs', join(house, 'cluster', 'prepare.cjs'));
});

afterAll(() => {
  rmSync(house, { recursive: true, force: true });
});

describe('preparing a clone', () => {
  test('a fresh one is installed and built, once even when two start together', async () => {
    const both = await Promise.all([prepare(), prepare()]);
    expect(both).toMatchObject([
      { code: 0, stdout: '' },
      { code: 0, stdout: '' },
    ]);
    expect(runs()).toEqual(['npm ci --include=dev --no-audit --no-fund', 'pbjs', 'pbts', 'tsc']);
    expect(statSync(join(house, 'dist/cli/kvctl.js')).mode & 0o111).toBe(0o111);
    expect(read('dist/src/wire/generated/quorate.d.ts')).toBe('rest');
  });

  test('a prepared one is left alone', async () => {
    expect(await prepare()).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(runs()).toEqual([]);
  });

  test('what belongs to another machine is not missing, what belongs to this one is', async () => {
    writeLockfile({
      'node_modules/of-another': { version: '1.0.0', optional: true, os: ['none'] },
      'node_modules/needed-by-that': { version: '1.0.0', optional: true },
    });
    await prepare();
    expect(runs()).toEqual([]);
    const ofThis = { os: [process.platform], cpu: [process.arch] };
    writeLockfile({ 'node_modules/of-this': { version: '1.0.0', optional: true, ...ofThis } });
    await prepare();
    expect(runs()).toContainEqual(expect.stringContaining('npm ci'));
  });

  test.each<[string, () => void]>([
    ['the lockfile names another version', () => writeLockfile({}, { version: '2.0.0' })],
    ['the lockfile names other bytes', () => writeLockfile({}, { integrity: 'sha512-other' })],
    [
      'a folder was deleted',
      () => rmSync(join(house, 'node_modules/typescript'), { recursive: true }),
    ],
    [
      'the lockfile no longer names a package',
      () => write('package-lock.json', '{"packages":{"":{}}}'),
    ],
    ['an install was interrupted', () => write('node_modules/.package-lock.json', '{"pack')],
  ])('it is installed again when %s', async (_, change) => {
    change();
    await prepare();
    expect(runs()).toContainEqual(expect.stringContaining('npm ci'));
  });

  test('a deleted source takes its compiled form along, so that no deleted test is run', async () => {
    write('test/b.test.ts', 'b');
    await prepare();
    expect(runs()).toEqual(['tsc']);
    expect(existsSync(join(house, 'dist/test/b.test.js'))).toBe(true);
    rmSync(join(house, 'test/b.test.ts'));
    await prepare();
    expect(existsSync(join(house, 'dist/test/b.test.js'))).toBe(false);
    expect(existsSync(join(house, 'dist/test/a.test.js'))).toBe(true);
  });

  test.each<[string, () => void, string[]]>([
    ['a source changed', () => appendFileSync(join(house, 'src/a.ts'), '!'), ['tsc']],
    ['a compiled file was deleted', () => rmSync(join(house, 'dist/src/a.js')), ['tsc']],
    [
      'the wire changed',
      () => appendFileSync(join(house, 'proto/quorate.proto'), '!'),
      ['pbjs', 'pbts', 'tsc'],
    ],
  ])('only what is needed runs when %s', async (_, change, expected) => {
    runs();
    change();
    await prepare();
    expect(runs()).toEqual(expected);
  });

  test('a failed build says so, and is tried again', async () => {
    write('src/a.ts', 'mistake');
    expect(await prepare()).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('tsc failed'),
    });
    expect(await prepare()).toMatchObject({ code: 1 });
    expect(runs()).toEqual(['tsc', 'tsc']);
  });

  test('a lock whose owner is gone is taken over', async () => {
    write('src/a.ts', 'mended');
    write('dist/.prepare.lock', JSON.stringify({ pid: 2 ** 30, sinceMs: Date.now() }));
    expect(await prepare()).toMatchObject({ code: 0 });
    expect(existsSync(join(house, 'dist/.prepare.lock'))).toBe(false);
  });
});

test('an older Node.js is refused in one sentence', async () => {
  const old = `Object.defineProperty(process, 'versions', { value: { node: '18.20.4' } });
    Object.defineProperty(process, 'version', { value: 'v18.20.4' });
    require('./cluster/prepare.cjs');`;
  expect(await node(['-e', old])).toEqual({
    code: 1,
    stdout: '',
    stderr:
      'Quorate needs Node.js 20.19 or newer, and this is v18.20.4: install a newer one from https://nodejs.org/.\n',
  });
});

function prepare(): Promise<Run> {
  return node(['cluster/prepare.cjs']);
}

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function node(args: readonly string[]): Promise<Run> {
  const env = { ...process.env, npm_execpath: join(house, 'bin/npm-cli.js') };
  return new Promise((resolve) => {
    const child = execFile(process.execPath, args, { cwd: house, env }, (_, stdout, stderr) => {
      resolve({ code: child.exitCode, stdout, stderr });
    });
  });
}

/** What ran since the last call. */
function runs(): string[] {
  const file = join(house, 'runs.log');
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').trim().split('\n');
  rmSync(file);
  return lines;
}

function writeLockfile(more: Record<string, object>, typescript: object = {}): void {
  const tool = { version: '1.0.0', integrity: 'sha512-it' };
  write(
    'package-lock.json',
    JSON.stringify({
      packages: {
        '': { name: 'house' },
        'node_modules/typescript': { ...tool, ...typescript },
        'node_modules/protobufjs-cli': tool,
        ...more,
      },
    }),
  );
}

function write(file: string, text: string): void {
  mkdirSync(dirname(join(house, file)), { recursive: true });
  writeFileSync(join(house, file), text);
}

function read(file: string): string {
  return readFileSync(join(house, file), 'utf8');
}
