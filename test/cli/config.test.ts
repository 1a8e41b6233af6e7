import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { environmentName, loadConfig, SETTINGS, type ConfigSources } from '../../cli/config.js';
import { KvError } from '../../src/core/errors.js';
import { DEFAULT_TEMPO } from '../../src/core/tempo.js';

const MEMBERS = 'n1=127.0.0.1:7101/z1,n2=127.0.0.1:7102/z2';
const COMPLETE = { node: 'n1', members: MEMBERS, data: 'data' };

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'quorate-config-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function load(sources: Partial<ConfigSources>) {
  return loadConfig({ flags: {}, environment: {}, file: undefined, isTerminal: false, ...sources });
}

function refusal(sources: Partial<ConfigSources>): string {
  try {
    load(sources);
  } catch (error) {
    expect(error).toBeInstanceOf(KvError);
    expect((error as KvError).code).toBe('INVALID_ARGUMENT');
    return (error as KvError).message;
  }
  throw new Error('it was accepted');
}

function tomlFile(text: string): string {
  const path = join(folder, 'node.toml');
  writeFileSync(path, text);
  return path;
}

describe('the configuration of a node', () => {
  test('takes seeds as one text or as a list, and names the one that is no address', () => {
    const seeds = ['10.0.0.1:7101', 'node-2:7101'];
    expect(load({ flags: { ...COMPLETE, seeds: seeds.join(', ') } }).seeds).toEqual(seeds);
    expect(
      load({ flags: COMPLETE, file: tomlFile(`seeds = ["${seeds.join('","')}"]`) }).seeds,
    ).toEqual(seeds);
    const message = refusal({ flags: { ...COMPLETE, seeds: '10.0.0.1:7101,node-2' } });
    expect(message).toBe('--seeds: "node-2" is not HOST:PORT with a port of 1 to 65535');
  });

  test('needs no more than its id, the member list and a folder', () => {
    expect(load({ flags: COMPLETE })).toEqual({
      cluster: 'quorate',
      node: 'n1',
      listen: { host: '127.0.0.1', port: 7101 },
      members: [
        { id: 'n1', address: '127.0.0.1:7101', zone: 'z1' },
        { id: 'n2', address: '127.0.0.1:7102', zone: 'z2' },
      ],
      seeds: [],
      replication: 3,
      data: 'data',
      maxDriftMs: 500,
      maxValueBytes: 1_048_576,
      tempo: DEFAULT_TEMPO,
      graceMs: 10_000,
      trustFolder: false,
      unsafeFaults: false,
      logLevel: 'info',
      logFormat: 'json',
    });
  });

  test('a flag wins over the environment, the environment over the file', () => {
    const file = tomlFile('replication = 1\nmax-drift-ms = 100\ncluster = "file"\n');
    const config = load({
      flags: { ...COMPLETE, replication: '5' },
      environment: { QUORATE_REPLICATION: '4', QUORATE_MAX_DRIFT_MS: '200' },
      file,
    });
    expect([config.replication, config.maxDriftMs, config.cluster]).toEqual([5, 200, 'file']);
  });

  test('every setting can come from every source', () => {
    const values: Record<string, string> = {
      cluster: 'c',
      node: 'n1',
      listen: '0.0.0.0:9',
      members: MEMBERS,
      seeds: '10.0.0.1:7101,10.0.0.2:7101',
      replication: '2',
      data: 'd',
      'max-drift-ms': '11',
      'max-value-bytes': '12',
      'anti-entropy-ms': '1000',
      'grace-ms': '13',
      'metrics-port': '9101',
      'trust-folder': 'true',
      'unsafe-faults': 'true',
      'log-level': 'warn',
      'log-format': 'pretty',
    };
    expect(Object.keys(values)).toEqual(SETTINGS.map(({ name }) => name));
    const environment = Object.fromEntries(
      Object.entries(values).map(([name, value]) => [environmentName(name), value]),
    );
    expect(Object.keys(environment)).toContain('QUORATE_MAX_DRIFT_MS');
    const toml = Object.entries(values).map(
      ([name, value]) => `${name} = ${JSON.stringify(value)}`,
    );
    const fromFlags = load({ flags: values });
    expect(load({ environment })).toEqual(fromFlags);
    expect(load({ file: tomlFile(toml.join('\n')) })).toEqual(fromFlags);
    expect(fromFlags.unsafeFaults).toBe(true);
  });

  test('a file with an unknown key is refused, naming the key', () => {
    const file = tomlFile('replicas = 3\n');
    expect(refusal({ flags: COMPLETE, file })).toMatch(
      /unknown key "replicas"; known are cluster,/,
    );
  });

  test('a file that is not TOML is refused, naming the line', () => {
    expect(refusal({ flags: COMPLETE, file: tomlFile('node = "n1"\n= 3\n') })).toMatch(/line 2/);
  });

  test('a file that is missing is refused, naming it', () => {
    expect(refusal({ file: join(folder, 'none.toml') })).toMatch(/none\.toml/);
  });

  test.each([
    ['--replication', { replication: '6' }, 'whole number from 1 to 5'],
    ['--replication', { replication: '1.5' }, 'whole number from 1 to 5'],
    ['--listen', { listen: '127.0.0.1:70000' }, 'port of 1 to 65535'],
    ['--cluster', { cluster: 'a b' }, '1 to 64 characters'],
    ['--anti-entropy-ms', { 'anti-entropy-ms': '99' }, 'whole number from 100 to 86400000'],
    ['--members', { members: 'n1' }, 'is not ID=HOST:PORT'],
    ['--members', { members: `${MEMBERS},n1=127.0.0.1:1` }, 'names a node id twice'],
    ['--members', { members: `${MEMBERS},n9=127.0.0.1:7101` }, 'names an address twice'],
    ['--max-value-bytes', { 'max-value-bytes': '9999999' }, '1 to 2097152'],
    ['--log-level', { 'log-level': 'loud' }, 'debug, info, warn or error'],
  ])('%s %j is refused with its bound', (origin, flags, bound) => {
    const message = refusal({ flags: { ...COMPLETE, ...flags } });
    expect(message).toContain(`${origin}: `);
    expect(message).toContain(bound);
  });

  test('a node that is not in the member list is refused, naming who is', () => {
    expect(refusal({ flags: { ...COMPLETE, node: 'n7' } })).toBe(
      'node: "n7" is not in the member list (n1, n2)',
    );
  });

  test('what is missing is named with the three ways to give it', () => {
    expect(refusal({ flags: { node: 'n1', members: MEMBERS } })).toBe(
      'data: missing; give --data, QUORATE_DATA or data in the config file',
    );
  });
});
