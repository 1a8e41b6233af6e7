import {
  CONSISTENCY_LEVELS,
  DEFAULT_CONSISTENCY,
  isConsistency,
  isLocal,
  type Consistency,
} from '../core/consistency.js';
import { invalidArgument } from '../core/errors.js';
import { DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS, MAX_TTL_MS } from '../core/limits.js';
import { MAX_LOGICAL, MAX_WALL_MS, encodeVersion, type Version } from '../core/version.js';
import { encodeText, typeOf } from './codec.js';
import type { BatchOptions, KvDefaults, PutOptions, ReadOptions } from './kv.js';

/** How one request is to be carried out: checked, and with nothing left open. */
export interface Plan {
  readonly level: Consistency;
  /** Empty: none was named. */
  readonly zone: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly receipt: boolean;
  /** Of a get: 16 bytes, or empty. */
  readonly minVersion: Uint8Array;
  /** Of a compare-and-set: what it expects, encoded. Otherwise empty. */
  readonly expect: Uint8Array;
  /** Of a write that is sent again: the stamp that it had. */
  readonly version: Version | undefined;
  /** Of a put: how long after its stamp it expires. */
  readonly ttlMs: number | undefined;
  /** Of a put, instead of that: when it expires. */
  readonly expiresAtMs: number | undefined;
}

/** What the requests of one Kv leave out. Plans for requests without options are made once. */
export interface Profile {
  readonly read: Plan;
  readonly write: Plan;
}

const NO_BYTES = new Uint8Array(0);

const BASE_PLAN: Plan = {
  level: DEFAULT_CONSISTENCY,
  zone: '',
  timeoutMs: DEFAULT_TIMEOUT_MS,
  signal: undefined,
  receipt: false,
  minVersion: NO_BYTES,
  expect: NO_BYTES,
  version: undefined,
  ttlMs: undefined,
  expiresAtMs: undefined,
};

export const BASE_PROFILE: Profile = { read: BASE_PLAN, write: BASE_PLAN };

/** `profile` with the defaults laid over it. A local level without a zone is refused when it is used, not here. */
export function profileWith(profile: Profile, defaults: KvDefaults): Profile {
  checkObject('options', defaults);
  const { consistency, profile: levels, zone, timeoutMs } = defaults;
  if (levels !== undefined) checkObject('profile', levels);
  const shared = {
    ...(consistency === undefined ? {} : { level: checkLevel('consistency', consistency) }),
    ...(zone === undefined ? {} : { zone: checkZone(zone) }),
    ...(timeoutMs === undefined ? {} : { timeoutMs: checkTimeout('timeoutMs', timeoutMs) }),
  };
  const { read, write } = levels ?? {};
  return {
    read: {
      ...profile.read,
      ...shared,
      ...(read === undefined ? {} : { level: checkLevel('profile.read', read) }),
    },
    write: {
      ...profile.write,
      ...shared,
      ...(write === undefined ? {} : { level: checkLevel('profile.write', write) }),
    },
  };
}

/** The plan of a request. Throws INVALID_ARGUMENT for what is out of bounds. */
export function planRequest(
  base: Plan,
  options: (ReadOptions & PutOptions) | BatchOptions | undefined,
  expect: Uint8Array = NO_BYTES,
): Plan {
  if (options === undefined) {
    if (isLocal(base.level) && base.zone === '') throw zoneMissing(base.level);
    return expect.length === 0 ? base : { ...base, expect };
  }
  checkObject('options', options);
  const asked = options as ReadOptions & PutOptions;
  const { consistency, zone, timeoutMs, signal, receipt, minVersion, version } = asked;
  const { ttlMs, expiresAtMs } = lifetimeOf(asked);
  const plan: Plan = {
    level: consistency === undefined ? base.level : checkLevel('consistency', consistency),
    zone: zone === undefined ? base.zone : checkZone(zone),
    timeoutMs: timeoutMs === undefined ? base.timeoutMs : checkTimeout('timeoutMs', timeoutMs),
    signal: signal === undefined ? undefined : checkSignal(signal),
    receipt: receipt === undefined ? base.receipt : checkFlag('receipt', receipt),
    minVersion:
      minVersion === undefined ? NO_BYTES : encodeVersion(checkVersion('minVersion', minVersion)),
    expect,
    version: version === undefined ? undefined : checkVersion('version', version),
    ttlMs,
    expiresAtMs,
  };
  if (isLocal(plan.level) && plan.zone === '') throw zoneMissing(plan.level);
  return plan;
}

/** When a put expires, checked as far as it can be before the stamp is known. */
function lifetimeOf(
  options: Pick<PutOptions, 'ttlMs' | 'expiresAtMs'>,
): Pick<Plan, 'ttlMs' | 'expiresAtMs'> {
  const { ttlMs, expiresAtMs } = options;
  if (ttlMs !== undefined && expiresAtMs !== undefined) {
    throw invalidArgument('ttlMs', 'goes without expiresAtMs, which says the same in another way');
  }
  if (ttlMs !== undefined) checkInteger('ttlMs', ttlMs, 1, MAX_TTL_MS);
  if (expiresAtMs !== undefined) checkInteger('expiresAtMs', expiresAtMs, 0, MAX_WALL_MS);
  return { ttlMs, expiresAtMs };
}

/** The plan of a batch's write, with what this write says for itself. */
export function planOfItem(
  plan: Plan,
  item: Pick<PutOptions, 'version' | 'ttlMs' | 'expiresAtMs'>,
): Plan {
  const { version } = item;
  const { ttlMs, expiresAtMs } = lifetimeOf(item);
  if (version === undefined && ttlMs === undefined && expiresAtMs === undefined) return plan;
  const stamp = version === undefined ? undefined : checkVersion('version', version);
  return { ...plan, version: stamp, ttlMs, expiresAtMs };
}

/** A delete does not expire. */
export function checkNoLifetime({ ttlMs, expiresAtMs }: Plan): void {
  if (ttlMs === undefined && expiresAtMs === undefined) return;
  throw invalidArgument('ttlMs', 'goes with a put alone: a delete does not expire');
}

export function checkObject(field: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) {
    throw invalidArgument(field, `must be an object, got ${typeOf(value)}`);
  }
}

export function checkInteger(field: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw invalidArgument(field, `must be a whole number from ${min} to ${max}, got ${show(value)}`);
}

export function checkFlag(field: string, value: boolean): boolean {
  if (typeof value === 'boolean') return value;
  throw invalidArgument(field, `must be true or false, got ${show(value)}`);
}

export function checkTimeout(field: string, value: number): number {
  if (typeof value === 'number' && value >= 1 && value <= MAX_TIMEOUT_MS) return value;
  throw invalidArgument(
    field,
    `must be from 1 to ${MAX_TIMEOUT_MS} milliseconds, got ${show(value)}`,
  );
}

export function checkSignal(signal: AbortSignal): AbortSignal {
  if (signal instanceof AbortSignal) return signal;
  throw invalidArgument('signal', `must be an AbortSignal, got ${typeOf(signal)}`);
}

export function checkVersion(field: string, version: Version): Version {
  checkObject(field, version);
  checkInteger(`${field}.wallMs`, version.wallMs, 0, MAX_WALL_MS);
  checkInteger(`${field}.logical`, version.logical, 0, MAX_LOGICAL);
  checkInteger(`${field}.writerHi`, version.writerHi, 0, 0xffff_ffff);
  checkInteger(`${field}.writerLo`, version.writerLo, 0, 0xffff_ffff);
  return version;
}

function checkLevel(field: string, level: Consistency): Consistency {
  if (isConsistency(level)) return level;
  throw invalidArgument(
    field,
    `unknown level ${show(level)}; the levels are ${CONSISTENCY_LEVELS.join(', ')}`,
  );
}

function checkZone(zone: string): string {
  if (typeof zone === 'string' && zone.length > 0 && zone.length <= 64) {
    encodeText('zone', zone);
    return zone;
  }
  throw invalidArgument('zone', `must be a string of 1 to 64 characters, got ${show(zone)}`);
}

function zoneMissing(level: Consistency): Error {
  return invalidArgument('zone', `${level} counts the replicas of one zone: name it`);
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : typeOf(value);
}
