import { hostname } from 'node:os';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { CONSISTENCY_LEVELS, type Consistency } from '../src/core/consistency.js';
import { DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS, MAX_TTL_MS } from '../src/core/limits.js';
import { hexToBytes } from './byte-text.js';
import { formatDuration, parseDurationMs } from './durations.js';
import { usageError } from './failure.js';
import { OUTPUT_FORMATS, type OutputFormat } from './output.js';

const STATUS_TIMEOUT_MS = 1_500;
const DEFAULT_ENDPOINTS = '127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103';

/** What the global options say. They may stand before or after the command. */
export interface Settings {
  readonly endpoints: readonly string[];
  /** Undefined: the default of the SDK, QUORUM. */
  readonly consistency: Consistency | undefined;
  readonly timeoutMs: number;
  /** For what a node answers from memory: shorter, so that one that stands still costs little. What --timeout says, if it is given. */
  readonly statusTimeoutMs: number;
  /** Undefined: what suits the command. */
  readonly output: OutputFormat | undefined;
  readonly zone: string | undefined;
}

export function addGlobalOptions(program: Command): Command {
  return program
    .addOption(
      new Option('--endpoints <list>', 'nodes to find the cluster by, HOST:PORT,...')
        .env('KVCTL_ENDPOINTS')
        .default(DEFAULT_ENDPOINTS),
    )
    .addOption(
      new Option('--consistency <level>', 'how many replicas must answer (default: QUORUM)')
        .choices(CONSISTENCY_LEVELS)
        .argParser(levelArgument),
    )
    .addOption(
      new Option('--timeout <duration>', 'for each request, retries included: 500ms, 5s, 1m')
        .default(DEFAULT_TIMEOUT_MS, '5s')
        .argParser(timeoutArgument),
    )
    .option('--zone <zone>', 'zone whose replicas the LOCAL levels count')
    .addOption(new Option('-o, --output <format>', 'how data is printed').choices(OUTPUT_FORMATS));
}

export function settingsOf(command: Command): Settings {
  const options: {
    endpoints: string;
    consistency?: Consistency;
    timeout: number;
    output?: OutputFormat;
    zone?: string;
  } = command.optsWithGlobals();
  return {
    endpoints: parseEndpoints(options.endpoints),
    consistency: options.consistency,
    timeoutMs: options.timeout,
    statusTimeoutMs:
      command.getOptionValueSourceWithGlobals('timeout') === 'default'
        ? STATUS_TIMEOUT_MS
        : options.timeout,
    output: options.output,
    zone: options.zone,
  };
}

/** `HOST:PORT,HOST:PORT`; IPv6 hosts in brackets. Refuses anything else, naming it. */
export function parseEndpoints(list: string): readonly string[] {
  const endpoints = list
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (endpoints.length === 0) throw usageError('--endpoints: names no endpoint');
  for (const endpoint of endpoints) {
    const match = /^(?:\[[0-9a-fA-F:.]+\]|[^:[\]/\s]+):(\d{1,5})$/.exec(endpoint);
    const port = Number(match?.[1]);
    if (match === null || port < 1 || port > 65_535) {
      throw usageError(`--endpoints: "${endpoint}" is not HOST:PORT with a port of 1 to 65535`);
    }
  }
  return [...new Set(endpoints)];
}

/** A KEY argument as bytes. */
export function keyArgument(key: string, isHex: boolean): Uint8Array {
  if (!isHex) return Buffer.from(key, 'utf8');
  const bytes = hexToBytes(key);
  if (bytes === undefined) {
    throw usageError(`--key-hex: "${key}" is not an even number of hexadecimal digits`);
  }
  return bytes;
}

export const keyHexOption = (): Option =>
  new Option('--key-hex', 'keys are hexadecimal digits instead of text');

/** For `argParser`: a duration of at least one millisecond. */
export function durationArgument(text: string): number {
  const durationMs = parseDurationMs(text);
  if (durationMs === undefined || durationMs < 1) {
    throw new InvalidArgumentError('It must be a duration with a unit: 500ms, 5s, 2m, 1h.');
  }
  return durationMs;
}

/** `30s`, `12h` or `7d` as the time that a value lives, in milliseconds; undefined for anything else and beyond the bound. */
export function parseTtlMs(text: string): number | undefined {
  const ttlMs = parseDurationMs(text);
  return ttlMs !== undefined && ttlMs >= 1 && ttlMs <= MAX_TTL_MS ? ttlMs : undefined;
}

export const TTL_RULE = `a duration of 1ms to ${MAX_TTL_MS / 86_400_000}d with its unit, as in 500ms, 30s, 12h or 7d`;

/** For `argParser`. */
export function ttlArgument(text: string): number {
  const ttlMs = parseTtlMs(text);
  if (ttlMs === undefined) throw new InvalidArgumentError(`It must be ${TTL_RULE}.`);
  return ttlMs;
}

/** For `argParser`: the bounds that the SDK has for a lock and an election. */
function leaseTtlArgument(text: string): number {
  const ttlMs = parseDurationMs(text);
  if (ttlMs === undefined || ttlMs < 100 || ttlMs > 86_400_000) {
    throw new InvalidArgumentError('It must be a duration of 100ms to 24h with its unit: 30s, 5m.');
  }
  return ttlMs;
}

export const leaseTtlOption = (): Option =>
  new Option(
    '--ttl <duration>',
    'how long it outlives a holder that has died, 100ms to 24h (default: 10s)',
  ).argParser(leaseTtlArgument);

export const leaseAsOption = (description: string): Option =>
  new Option('--as <text>', `${description} (default: HOST:PID)`);

/** HOST:PID. */
export const thisProcess = (): string => `${hostname()}:${process.pid}`;

export const waitOption = (): Option =>
  new Option('--wait <duration>', 'give up waiting after so long (default: never)').argParser(
    durationArgument,
  );

/** For `argParser`: a whole number within bounds. */
export function countArgument(min: number, max: number): (text: string) => number {
  return (text) => {
    const count = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(count >= min && count <= max)) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return count;
  };
}

function timeoutArgument(text: string): number {
  const timeoutMs = durationArgument(text);
  if (timeoutMs > MAX_TIMEOUT_MS) {
    throw new InvalidArgumentError(`The limit is ${formatDuration(MAX_TIMEOUT_MS)}.`);
  }
  return timeoutMs;
}

function levelArgument(text: string): Consistency {
  const level = CONSISTENCY_LEVELS.find((known) => known === text.toUpperCase());
  if (level === undefined) {
    throw new InvalidArgumentError(`Allowed choices are ${CONSISTENCY_LEVELS.join(', ')}.`);
  }
  return level;
}
