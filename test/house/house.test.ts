import { describe, expect, test } from 'vitest';
import { determinismViolations } from './determinism.js';
import { floorViolations } from './floors.js';
import { nameViolations } from './names.js';
import {
  defaultExportViolations,
  lengthViolations,
  readmeViolations,
  topViolations,
} from './shape.js';
import { listFiles, listTop, parseSource, readSources, type SourceFile } from './source-tree.js';

const src = readSources('src');
const cli = readSources('cli');
const cluster = readSources('cluster');
const all = [...src, ...cli, ...cluster, ...readSources('test')];

type Rule = (file: SourceFile) => string[];

/** What the rule has against a file of this path and text. */
function complaints(rule: Rule, path: string, text: string): string[] {
  return rule(parseSource(path, text));
}

test('the checks read the source tree', () => {
  expect(src.map(({ path }) => path)).toContain('src/core/version.ts');
  expect(cluster.map(({ path }) => path)).toContain('cluster/prepare.cjs');
  expect(all.map(({ path }) => path)).toContain('test/house/house.test.ts');
  expect(all.some(({ path }) => path.includes('generated'))).toBe(false);
});

describe('the floors', () => {
  test('hold', () => {
    expect([...src, ...cli, ...cluster].flatMap(floorViolations)).toEqual([]);
  });

  test.each([
    ['src/core/a.ts', "import { x } from '../io/clock.js';"],
    ['src/core/a.ts', "import type { X } from '../io/clock.js';"],
    ['src/core/a.ts', "export * from '../io/clock.js';"],
    ['src/core/a.ts', "export { x } from '../io/clock.js';"],
    ['src/core/a.ts', "type X = import('../io/clock.js').Clock;"],
    ['src/core/a.ts', "const x = await import('../io/clock.js');"],
    ['src/core/a.ts', "import x = require('../io/clock.js');"],
    ['src/core/a.ts', 'const x = await import(name);'],
    ['src/core/a.ts', 'const x = await import(`../io/clock.js`);'],
    ['src/core/a.ts', "import { readFile } from 'node:fs/promises';"],
    ['src/core/a.cjs', "const x = require('../io/clock.js');"],
    ['src/core/a.cjs', 'const x = require(name);'],
    ['src/io/a.ts', "import { x } from '../wire/codec.js';"],
    ['src/io/a.ts', "import { x } from '@grpc/grpc-js';"],
    ['src/wire/a.ts', "import { x } from '../replica/replica.js';"],
    ['src/replica/a.ts', "import { x } from '../coordinator/operation.js';"],
    ['src/replica/a.ts', "import { Level } from 'level';"],
    ['src/coordinator/a.ts', "import { x } from '../maintenance/clocks.js';"],
    ['src/coordinator/a.ts', "import { x } from '../wire/codec.js';"],
    ['src/maintenance/a.ts', "import { x } from '../coordinator/operation.js';"],
    ['src/client/a.ts', "import { x } from '../replica/replica.js';"],
    ['src/client/a.ts', "import { x } from '../node.js';"],
    ['src/client/a.ts', "import protobuf from 'protobufjs/minimal.js';"],
    ['src/index.ts', "export { x } from './wire/codec.js';"],
    ['src/node.ts', "import { x } from './wire/codec.js';"],
    ['src/server.ts', "import { x } from '@grpc/grpc-js';"],
    ['src/server.ts', "import { x } from '../cli/serve.js';"],
    ['cli/a.ts', "import { x } from '@grpc/grpc-js';"],
    ['cli/a.ts', "import { x } from 'protobufjs';"],
    ['cli/a.ts', "import { x } from '../cluster/state.js';"],
    ['cli/a.ts', "import { x } from '../test/virtual-time.js';"],
    ['cluster/a.ts', "import { x } from '@grpc/reflection';"],
    ['src/elsewhere/a.ts', 'export {};'],
    ['src/core/a.ts', 'import { from;'],
  ])('notice, in %s: %s', (path, text) => {
    expect(complaints(floorViolations, path, text)).not.toEqual([]);
  });

  test.each([
    ['src/core/a.ts', "import { x } from './version.js'; import xxhash from 'xxhash-wasm';"],
    ['src/io/a.ts', "import { x } from '../core/version.js'; import { Level } from 'level';"],
    ['src/wire/a.ts', "import { x } from '../io/link.js'; import { y } from '@grpc/grpc-js';"],
    ['src/coordinator/a.ts', "import { x } from '../replica/replica.js';"],
    ['src/client/a.ts', "import { x } from '../wire/channel-client.js';"],
    ['src/server.ts', "import { x } from './wire/services.js';"],
    ['cli/serve.ts', "import { x } from '../src/server.js'; import { y } from 'commander';"],
    ['cluster/main.ts', "import { x } from '../cli/config.js';"],
  ])('let pass, in %s: %s', (path, text) => {
    expect(complaints(floorViolations, path, text)).toEqual([]);
  });
});

describe('real time and chance', () => {
  test('are touched by src/io alone', () => {
    expect(src.flatMap(determinismViolations)).toEqual([]);
  });

  test.each([
    'Date.now();',
    'new Date();',
    'Date();',
    'const { now } = Date;',
    'const D = Date; new D();',
    "Date['now']();",
    'globalThis.Date.now();',
    'performance.now();',
    'globalThis.performance.now();',
    "import { performance as p } from 'node:perf_hooks';",
    'process.hrtime();',
    'process.hrtime.bigint();',
    'process.nextTick(f);',
    'process.uptime();',
    "require('node:timers');",
    "process['nextTick'](f);",
    'const { nextTick } = process;',
    'setTimeout(f, 1);',
    "globalThis['setTimeout'](f, 1);",
    'setInterval(f, 1);',
    'setImmediate(f);',
    'run(setImmediate);',
    'AbortSignal.timeout(1);',
    "import { setTimeout as sleep } from 'node:timers/promises';",
    "import * as timers from 'node:timers';",
    "const t = await import('node:timers/promises');",
    'Math.random();',
    'const { random } = Math;',
    'const M = Math;',
    "import { randomUUID } from 'node:crypto';",
    'crypto.randomUUID();',
    'randomBytes(8);',
    'crypto.getRandomValues(x);',
    'const { from;',
  ])('are noticed in: %s', (text) => {
    expect(complaints(determinismViolations, 'src/core/a.ts', text)).not.toEqual([]);
    expect(complaints(determinismViolations, 'src/io/a.ts', text)).toEqual([]);
  });

  test.each([
    'new Date(wallMs).toISOString();',
    'Math.max(1, 2);',
    'let d: Date; AbortSignal.any([a]);',
    'function f(signal: AbortSignal) { return signal instanceof AbortSignal; }',
    'clock.wallMs(); timers.after(5, f); random.bytes(8);',
  ])('are not seen in: %s', (text) => {
    expect(complaints(determinismViolations, 'src/core/a.ts', text)).toEqual([]);
  });
});

describe('words that say nothing', () => {
  test('are in no name of a file or in it', () => {
    expect(all.flatMap(nameViolations)).toEqual([]);
  });

  test.each([
    ['src/core/hash-util.ts', 'export {};'],
    ['src/core/utils.ts', 'export {};'],
    ['src/helpers/a.ts', 'export {};'],
    ['src/core/a.ts', 'class ConnectionManager {}'],
    ['src/core/a.ts', 'const MAX_HELPER_COUNT = 1;'],
    ['src/core/a.ts', 'function retryHelper() {}'],
    ['src/core/a.ts', 'interface X { readonly utilName: string }'],
    ['src/core/a.ts', 'class X { #manager = 1; }'],
    ['src/core/a.ts', "import * as util from 'node:util';"],
  ])('are noticed in %s: %s', (path, text) => {
    expect(complaints(nameViolations, path, text)).not.toEqual([]);
  });

  test('may be others’ names, and parts of other words', () => {
    const text = "import { promisify } from 'node:util'; protobuf.util.Long = utilization;";
    expect(complaints(nameViolations, 'src/core/a.ts', text)).toEqual([]);
  });
});

describe('the shape of the tree', () => {
  test('has a README.md in every folder', () => {
    const folders = ['src', 'cli', 'cluster', 'test', 'proto'];
    expect(readmeViolations(folders.flatMap(listFiles))).toEqual([]);
    expect(readmeViolations(['a/README.md', 'a/b/c/README.md', 'a/b/c/d.ts'])).toEqual([
      'a/b: has no README.md',
    ]);
  });

  test('has at its top only what belongs there', () => {
    expect(topViolations(listTop())).toEqual([]);
    expect(topViolations(['src', 'docs', '.gitignore', 'NOTES.md'])).toHaveLength(2);
  });

  test('has no file that is too long', () => {
    expect([...src, ...cli, ...cluster].flatMap(lengthViolations)).toEqual([]);
    expect(complaints(lengthViolations, 'src/a.ts', 'f();\n'.repeat(400))).toEqual([]);
    expect(complaints(lengthViolations, 'src/a.ts', 'f();\n'.repeat(401))).toHaveLength(1);
  });

  test('has no default exports but those that tools insist on', () => {
    expect(all.flatMap(defaultExportViolations)).toEqual([]);
    for (const text of [
      'export default 1;',
      'const a = 1; export { a as default };',
      "export { default } from './b.js';",
      'export = 1;',
    ]) {
      expect(complaints(defaultExportViolations, 'src/a.ts', text)).toHaveLength(1);
    }
    expect(complaints(defaultExportViolations, 'src/a.ts', 'export const a = 1;')).toEqual([]);
  });
});
