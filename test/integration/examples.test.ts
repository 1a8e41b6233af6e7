import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ProcessCluster } from './processes.js';

const run = promisify(execFile);

describe('the examples of the SDK print what their comments say', () => {
  let cluster: ProcessCluster;

  beforeAll(async () => {
    cluster = await ProcessCluster.start(3);
  });

  afterAll(async () => {
    await cluster[Symbol.asyncDispose]();
  });

  const expected: readonly (readonly [string, readonly string[]])[] = [
    ['first-steps', ['Ada', 'Grace', 'user/1 Ada', 'user/2 Grace', 'undefined']],
    ['consistency', ['written to 3 of 3', '120.00 0']],
    ['many-keys', ['CH/Basel 173000', 'CH/Bern 134000', "[ 'get', 'delete', 'INVALID_ARGUMENT' ]"]],
    ['expiry', ['Ada for 500 ms', 'undefined', 'Grace']],
    ['one-at-a-time', ['false 3', '0', 'lost', 'true true']],
    [
      'failures',
      ['INVALID_ARGUMENT none true', "[ 'CANCELLED', 'unknown', 'the user left' ]", 'true'],
    ],
  ];
  test.each(expected)('%s', async (name, lines) => {
    const file = fileURLToPath(new URL(`../client/examples/${name}.js`, import.meta.url));
    const { stdout, stderr } = await run(process.execPath, [file, cluster.endpoints.join(',')], {
      env: { ...process.env, NO_COLOR: '1' },
    });
    expect({ stdout: stdout.trimEnd().split('\n'), stderr }).toEqual({ stdout: lines, stderr: '' });
  });

  test('and README.md shows the first of them', () => {
    const [, shown] = /```ts\n(.*?)```/s.exec(readFileSync('README.md', 'utf8')) ?? [];
    const source = readFileSync('test/client/examples/first-steps.ts', 'utf8');
    const withoutUsage = source.slice(source.indexOf('import'));
    expect(shown).toBe(
      withoutUsage.replace("process.argv[2] ?? '127.0.0.1:7101'", "'127.0.0.1:7101'"),
    );
  });
});
