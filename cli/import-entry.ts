import { bytesToJson, jsonToBytes } from './byte-text.js';
import { fieldOf, renderKey, type KeyTemplate } from './key-template.js';
import type { InputRecord } from './record-reader.js';

/** How records become keys and values. */
export interface ImportPlan {
  /** Undefined: records are entries, `{"key": ..., "value": ...}`, as `export` writes them. */
  readonly key: KeyTemplate | undefined;
  /** The field that is the value; undefined: the whole record, as JSON. */
  readonly valueField: readonly string[] | undefined;
}

export type ImportEntry =
  | { readonly ok: true; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly ok: false; readonly reason: string; readonly text: string };

/** For people and for resume points: two runs with the same text do the same. */
export function planText({ key, valueField }: ImportPlan): string {
  const from = key === undefined ? 'entries' : `--key ${key.source}`;
  return valueField === undefined ? from : `${from} --value ${valueField.join('.')}`;
}

/** The key and the value of a record, or why it is rejected. Bounds are the SDK's to check. */
export function entryOf(plan: ImportPlan, record: InputRecord): ImportEntry {
  if ('problem' in record) return { ok: false, reason: record.problem, text: record.text };
  const reject = (reason: string): ImportEntry => ({ ok: false, reason, text: record.json });
  if (plan.key === undefined) return entryAsExported(record.value, reject);
  const key = renderKey(plan.key, record.value);
  if (!key.ok) return reject(key.reason);
  const keyBytes = jsonToBytes(key.key);
  if (keyBytes === undefined) return reject('its key holds half a surrogate pair');
  if (plan.valueField === undefined) {
    return { ok: true, key: keyBytes, value: Buffer.from(record.json, 'utf8') };
  }
  const value = fieldOf(record.value, plan.valueField);
  if (value === undefined) return reject(`has no field "${plan.valueField.join('.')}"`);
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const valueBytes = jsonToBytes(text);
  if (valueBytes === undefined) return reject('its value holds half a surrogate pair');
  return { ok: true, key: keyBytes, value: valueBytes };
}

/** An entry as one line of an export. */
export function exportedEntry(key: Uint8Array, value: Uint8Array, version: string): string {
  return JSON.stringify({ key: bytesToJson(key), value: bytesToJson(value), version });
}

function entryAsExported(record: unknown, reject: (reason: string) => ImportEntry): ImportEntry {
  const key = jsonToBytes(fieldOf(record, ['key']));
  const value = jsonToBytes(fieldOf(record, ['value']));
  if (key === undefined || value === undefined) {
    return reject(
      `has no "${key === undefined ? 'key' : 'value'}" that is text or {"base64": ...}; --key says how to make keys from other fields`,
    );
  }
  return { ok: true, key, value };
}
