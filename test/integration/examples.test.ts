import { execFile } from 'node:child_process';
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
    ['first-steps', ['hello', 'undefined']],
    ['consistency', ['written to 3 of 3', '120.00 0']],
    ['many-keys', ['CH/Basel 173000', 'CH/Bern 134000', "[ 'get', 'delete', 'INVALID_ARGUMENT' ]"]],
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
});
