import { formatVersion, type Version } from '../src/core/version.js';
import type { Entry } from '../src/index.js';
import { bytesToJson, type BytesJson } from './byte-text.js';
import { receiptView, type ReceiptView } from './failure.js';

/** An entry in machine output. Documented in cli/README.md. */
export interface EntryView {
  readonly key: BytesJson;
  readonly value?: BytesJson;
  readonly version: string;
  readonly writtenAt: string;
  readonly expiresAt?: string;
  readonly receipt?: ReceiptView;
}

export function entryView(entry: Entry<Uint8Array | undefined>): EntryView {
  const { key, value, version, expiresAtMs, receipt } = entry;
  return {
    key: bytesToJson(key),
    ...(value !== undefined && { value: bytesToJson(value) }),
    version: formatVersion(version),
    writtenAt: writtenAt(version),
    ...(expiresAtMs !== undefined && { expiresAt: isoTime(expiresAtMs) }),
    ...(receipt !== undefined && { receipt: receiptView(receipt) }),
  };
}

/** When the writer's clock stamped it. */
export function writtenAt(version: Version): string {
  return isoTime(version.wallMs);
}

/** ISO 8601 with milliseconds, or the number itself where a date cannot say it. */
export function isoTime(wallMs: number): string {
  const date = new Date(wallMs);
  return Number.isNaN(date.getTime()) ? `${wallMs} ms` : date.toISOString();
}
