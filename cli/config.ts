import { readFileSync } from 'node:fs';
import { parse as parseToml, TomlError } from 'smol-toml';
import * as v from 'valibot';
import { KvError } from '../src/core/errors.js';
import { DEFAULT_LIMITS, DEFAULT_MAX_DRIFT_MS } from '../src/core/limits.js';
import type { Member } from '../src/core/placement.js';
import { DEFAULT_TEMPO, type Tempo } from '../src/core/tempo.js';

/** Everything a node is told at its start. One schema, whichever of the three sources a value comes from. */
export interface NodeConfig {
  readonly cluster: string;
  readonly node: string;
  /** Where it listens. Others reach it at the address that the member list gives it. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly members: readonly Member[];
  /** Where to ask for the members' addresses when none of those in the list answers. */
  readonly seeds: readonly string[];
  readonly replication: number;
  readonly data: string;
  readonly maxDriftMs: number;
  readonly maxValueBytes: number;
  readonly tempo: Tempo;
  /** How long a stop waits for requests under way. */
  readonly graceMs: number;
  /** Of 127.0.0.1, for Prometheus. Undefined: no metrics are served. */
  readonly metricsPort: number | undefined;
  readonly trustFolder: boolean;
  readonly unsafeFaults: boolean;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly logFormat: 'json' | 'pretty';
}

/** One setting: its name in a TOML file, its flag and environment variable follow from it. */
export interface Setting {
  readonly name: keyof typeof schemas;
  readonly placeholder: string;
  readonly help: string;
}

export const SETTINGS: readonly Setting[] = [
  { name: 'cluster', placeholder: 'NAME', help: 'name of the cluster (default: quorate)' },
  { name: 'node', placeholder: 'ID', help: 'id of this node in the member list' },
  {
    name: 'listen',
    placeholder: 'HOST:PORT',
    help: "address to listen on (default: this node's address in the member list)",
  },
  {
    name: 'members',
    placeholder: 'LIST',
    help: 'first member list, the same on every node: ID=HOST:PORT/ZONE,... (the zone may be left out)',
  },
  {
    name: 'seeds',
    placeholder: 'LIST',
    help: 'addresses of running nodes, for when members have moved since the list was written: HOST:PORT,...',
  },
  { name: 'replication', placeholder: 'N', help: 'replicas of each key, 1 to 5 (default: 3)' },
  { name: 'data', placeholder: 'FOLDER', help: 'data folder, made when it is missing' },
  {
    name: 'max-drift-ms',
    placeholder: 'MS',
    help: `clock drift that is tolerated, 10 to 60000 (default: ${DEFAULT_MAX_DRIFT_MS})`,
  },
  {
    name: 'max-value-bytes',
    placeholder: 'BYTES',
    help: `largest value, 1 to 2097152 (default: ${DEFAULT_LIMITS.maxValueBytes})`,
  },
  {
    name: 'anti-entropy-ms',
    placeholder: 'MS',
    help: `how often the node compares what it holds with one of its peers, 100 to 86400000 (default: ${DEFAULT_TEMPO.antiEntropyMs})`,
  },
  {
    name: 'grace-ms',
    placeholder: 'MS',
    help: 'how long a stop waits for requests under way, 0 to 600000 (default: 10000)',
  },
  {
    name: 'metrics-port',
    placeholder: 'PORT',
    help: 'port of 127.0.0.1 at which Prometheus finds /metrics (default: none)',
  },
  {
    name: 'trust-folder',
    placeholder: '',
    help: 'serve from the data folder as it is, though the node may have forgotten; for one start, when its peers cannot refill it',
  },
  {
    name: 'unsafe-faults',
    placeholder: '',
    help: 'let the admin service inject faults; for tests and demonstrations only',
  },
  { name: 'log-level', placeholder: 'LEVEL', help: 'debug, info, warn or error (default: info)' },
  {
    name: 'log-format',
    placeholder: 'FORMAT',
    help: 'json or pretty (default: pretty on a terminal, else json)',
  },
];

const NAME = /^[a-zA-Z0-9._-]{1,64}$/;
const NAME_RULE = 'must be 1 to 64 characters of a-z A-Z 0-9 . _ -';

const name = v.pipe(v.string(), v.regex(NAME, NAME_RULE));
const address = v.pipe(
  v.string(),
  v.check(
    (text) => parseAddress(text) !== undefined,
    'must be HOST:PORT with a port of 1 to 65535',
  ),
);
const schemas = {
  cluster: name,
  node: name,
  listen: address,
  members: v.pipe(
    v.union([v.array(v.string()), v.string()], 'must be a list of ID=HOST:PORT/ZONE'),
    v.transform((list) => (typeof list === 'string' ? list.split(',') : list)),
    v.minLength(1, 'must name at least one node'),
    v.maxLength(100, 'must name at most 100 nodes'),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      const members = dataset.value.map((text) => parseMember(text.trim()));
      const at = members.indexOf(undefined);
      if (at !== -1) {
        addIssue({
          message: `"${dataset.value[at] ?? ''}" is not ID=HOST:PORT or ID=HOST:PORT/ZONE`,
        });
        return NEVER;
      }
      return members as Member[];
    }),
    v.check((members) => allDistinct(members.map(({ id }) => id)), 'names a node id twice'),
    v.check((members) => allDistinct(members.map((m) => m.address)), 'names an address twice'),
  ),
  seeds: v.pipe(
    v.union([v.array(v.string()), v.string()], 'must be a list of HOST:PORT'),
    v.transform((list) =>
      (typeof list === 'string' ? list.split(',') : list).map((text) => text.trim()),
    ),
    v.maxLength(100, 'must name at most 100 addresses'),
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed) return;
      const wrong = dataset.value.find((text) => parseAddress(text) === undefined);
      if (wrong !== undefined) {
        addIssue({ message: `"${wrong}" is not HOST:PORT with a port of 1 to 65535` });
      }
    }),
  ),
  replication: wholeNumber(1, 5),
  data: v.pipe(v.string(), v.minLength(1, 'must not be empty')),
  'max-drift-ms': wholeNumber(10, 60_000),
  'max-value-bytes': wholeNumber(1, 2_097_152),
  'anti-entropy-ms': wholeNumber(100, 86_400_000),
  'grace-ms': wholeNumber(0, 600_000),
  'metrics-port': wholeNumber(1, 65_535),
  'trust-folder': yesOrNo(),
  'unsafe-faults': yesOrNo(),
  'log-level': v.picklist(['debug', 'info', 'warn', 'error'], 'must be debug, info, warn or error'),
  'log-format': v.picklist(['json', 'pretty'], 'must be json or pretty'),
};

type Values = { [K in keyof typeof schemas]?: v.InferOutput<(typeof schemas)[K]> };

export interface ConfigSources {
  /** By setting name; what the command line gave. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Path of a TOML file, from `--config` or QUORATE_CONFIG. */
  readonly file: string | undefined;
  readonly isTerminal: boolean;
}

/** `max-drift-ms` becomes `QUORATE_MAX_DRIFT_MS`. */
export function environmentName(setting: string): string {
  return `QUORATE_${setting.toUpperCase().replaceAll('-', '_')}`;
}

/**
 * The configuration of a node: a flag wins over the environment, the environment over the file, the file over the default.
 * Throws INVALID_ARGUMENT naming the setting, where it came from and what it may be. Reads the file, touches nothing else.
 */
export function loadConfig(sources: ConfigSources): NodeConfig {
  const fromFile = sources.file === undefined ? {} : readFile(sources.file);
  const values: Record<string, unknown> = {};
  for (const { name: setting } of SETTINGS) {
    const variable = environmentName(setting);
    const candidates = [
      [sources.flags[setting], `--${setting}`],
      [sources.environment[variable], variable],
      [fromFile[setting], `${setting} in ${sources.file ?? ''}`],
    ] as const;
    const found = candidates.find(([value]) => value !== undefined && value !== '');
    if (found !== undefined) values[setting] = checked(setting, found[0], found[1]);
  }
  return complete(values, sources.isTerminal);
}

function readFile(path: string): Record<string, unknown> {
  let table: Record<string, unknown>;
  try {
    table = parseToml(readFileSync(path, 'utf8'));
  } catch (error) {
    const why =
      error instanceof TomlError
        ? `line ${error.line}: ${error.message.split('\n', 1)[0] ?? ''}`
        : (error as Error).message;
    throw new KvError('INVALID_ARGUMENT', `config file ${path}: ${why}`, { cause: error });
  }
  for (const key of Object.keys(table)) {
    if (!(key in schemas)) {
      throw new KvError(
        'INVALID_ARGUMENT',
        `config file ${path}: unknown key "${key}"; known are ${Object.keys(schemas).join(', ')}`,
      );
    }
  }
  return table;
}

function checked(setting: keyof typeof schemas, value: unknown, origin: string): unknown {
  const result = v.safeParse(schemas[setting], value);
  if (result.success) return result.output;
  throw new KvError('INVALID_ARGUMENT', `${origin}: ${result.issues[0].message}`);
}

function complete(values: Values, isTerminal: boolean): NodeConfig {
  const node = values.node ?? missing('node');
  const members = values.members ?? missing('members');
  const self = members.find(({ id }) => id === node);
  if (self === undefined) {
    const known = members.map(({ id }) => id).join(', ');
    throw new KvError('INVALID_ARGUMENT', `node: "${node}" is not in the member list (${known})`);
  }
  return {
    cluster: values.cluster ?? 'quorate',
    node,
    listen: parseAddress(values.listen ?? self.address) as { host: string; port: number },
    members,
    seeds: values.seeds ?? [],
    replication: values.replication ?? 3,
    data: values.data ?? missing('data'),
    maxDriftMs: values['max-drift-ms'] ?? DEFAULT_MAX_DRIFT_MS,
    maxValueBytes: values['max-value-bytes'] ?? DEFAULT_LIMITS.maxValueBytes,
    tempo: {
      ...DEFAULT_TEMPO,
      antiEntropyMs: values['anti-entropy-ms'] ?? DEFAULT_TEMPO.antiEntropyMs,
    },
    graceMs: values['grace-ms'] ?? 10_000,
    metricsPort: values['metrics-port'],
    trustFolder: values['trust-folder'] ?? false,
    unsafeFaults: values['unsafe-faults'] ?? false,
    logLevel: values['log-level'] ?? 'info',
    logFormat: values['log-format'] ?? (isTerminal ? 'pretty' : 'json'),
  };
}

function missing(setting: keyof typeof schemas): never {
  throw new KvError(
    'INVALID_ARGUMENT',
    `${setting}: missing; give --${setting}, ${environmentName(setting)} or ${setting} in the config file`,
  );
}

function yesOrNo() {
  return v.pipe(
    v.union([v.boolean(), v.picklist(['true', 'false'])], 'must be true or false'),
    v.transform((value) => value === true || value === 'true'),
  );
}

function wholeNumber(min: number, max: number) {
  const rule = `must be a whole number from ${min} to ${max}`;
  return v.pipe(
    v.union(
      [v.number(), v.pipe(v.string(), v.regex(/^\d{1,9}$/, rule), v.transform(Number))],
      rule,
    ),
    v.integer(rule),
    v.minValue(min, rule),
    v.maxValue(max, rule),
  );
}

function parseMember(text: string): Member | undefined {
  const match = /^([^=]+)=([^/]+)(?:\/(.+))?$/.exec(text);
  if (match === null) return undefined;
  const [, id = '', hostAndPort = '', zone = 'default'] = match;
  if (!NAME.test(id) || !NAME.test(zone) || parseAddress(hostAndPort) === undefined)
    return undefined;
  return { id, address: hostAndPort, zone };
}

function parseAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]/\s]+):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const port = Number(match[2]);
  return port >= 1 && port <= 65_535 ? { host: match[1] as string, port } : undefined;
}

function allDistinct(items: readonly string[]): boolean {
  return new Set(items).size === items.length;
}
