import { bytesToJson, jsonToBytes } from './byte-text.js';
import { fieldOf, renderKey, type KeyTemplate } from './key-template.js';
import type { InputRecord } from './record-reader.js';
import { parseTtlMs, TTL_RULE } from './settings.js';

/** How records become keys and values. */
export interface ImportPlan {
  /** Undefined: records are entries, `{"key": ..., "value": ...}`, as `export` writes them. */
  readonly key: KeyTemplate | undefined;
  /** The field that is the value; undefined: the whole record, as JSON. */
  readonly valueField: readonly string[] | undefined;
  /** How long a record lives that does not say so itself; undefined: for ever. */
  readonly ttlMs: number | undefined;
}

/** When a record expires: at a moment, or so long after it is stored. */
export type ImportedLife = { readonly expiresAtMs: number } | { readonly ttlMs: number };

export type ImportEntry =
  | {
      readonly ok: true;
      readonly key: Uint8Array;
      readonly value: Uint8Array;
      /** Undefined: it does not expire. */
      readonly life: ImportedLife | undefined;
    }
  | { readonly ok: false; readonly reason: string; readonly text: string };

/** For people and for resume points: two runs with the same text do the same. */
export function planText({ key, valueField, ttlMs }: ImportPlan): string {
  const from = key === undefined ? 'entries' : `--key ${key.source}`;
  const value = valueField === undefined ? '' : ` --value ${valueField.join('.')}`;
  return `${from}${value}${ttlMs === undefined ? '' : ` --ttl ${ttlMs}ms`}`;
}

/** The key and the value of a record, or why it is rejected. Bounds are the SDK's to check. */
export function entryOf(plan: ImportPlan, record: InputRecord): ImportEntry {
  if ('problem' in record) return { ok: false, reason: record.problem, text: record.text };
  const reject = (reason: string): ImportEntry => ({ ok: false, reason, text: record.json });
  const life = plan.ttlMs === undefined ? undefined : { ttlMs: plan.ttlMs };
  if (plan.key === undefined) return entryAsExported(record.value, life, reject);
  const key = renderKey(plan.key, record.value);
  if (!key.ok) return reject(key.reason);
  const keyBytes = jsonToBytes(key.key);
  if (keyBytes === undefined) return reject('its key holds half a surrogate pair');
  if (plan.valueField === undefined) {
    return { ok: true, key: keyBytes, value: Buffer.from(record.json, 'utf8'), life };
  }
  const value = fieldOf(record.value, plan.valueField);
  if (value === undefined) return reject(`has no field "${plan.valueField.join('.')}"`);
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const valueBytes = jsonToBytes(text);
  if (valueBytes === undefined) return reject('its value holds half a surrogate pair');
  return { ok: true, key: keyBytes, value: valueBytes, life };
}

/** An entry as one line of an export. */
export function exportedEntry(
  key: Uint8Array,
  value: Uint8Array,
  version: string,
  expiresAt: string | undefined,
): string {
  return JSON.stringify({ key: bytesToJson(key), value: bytesToJson(value), version, expiresAt });
}

function entryAsExported(
  record: unknown,
  life: ImportedLife | undefined,
  reject: (reason: string) => ImportEntry,
): ImportEntry {
  const key = jsonToBytes(fieldOf(record, ['key']));
  const value = jsonToBytes(fieldOf(record, ['value']));
  if (key === undefined || value === undefined) {
    return reject(
      `has no "${key === undefined ? 'key' : 'value'}" that is text or {"base64": ...}; --key says how to make keys from other fields`,
    );
  }
  const ownLife = lifeOf(fieldOf(record, ['expiresAt']), fieldOf(record, ['ttl']));
  if (typeof ownLife === 'string') return reject(ownLife);
  return { ok: true, key, value, life: ownLife ?? life };
}

/** What an entry says of its own end, or why that cannot be understood. The empty cells of a CSV file say nothing. */
function lifeOf(expiresAt: unknown, ttl: unknown): ImportedLife | string | undefined {
  const hasExpiry = isSaid(expiresAt);
  if (isSaid(ttl)) {
    if (hasExpiry) return 'has both "expiresAt" and "ttl"';
    const ttlMs = typeof ttl === 'string' ? parseTtlMs(ttl) : undefined;
    return ttlMs === undefined ? `has a "ttl" that is not ${TTL_RULE}` : { ttlMs };
  }
  if (!hasExpiry) return undefined;
  const expiresAtMs =
    typeof expiresAt === 'string' && ISO_TIME.test(expiresAt) ? Date.parse(expiresAt) : Number.NaN;
  return Number.isNaN(expiresAtMs)
    ? 'has an "expiresAt" that is no ISO 8601 time with its zone, as in 2026-11-22T18:00:00.000Z'
    : { expiresAtMs };
}

function isSaid(field: unknown): boolean {
  return field !== undefined && field !== null && field !== '';
}

const ISO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)$/;
