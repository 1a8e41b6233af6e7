import type { Consistency } from '../core/consistency.js';
import { KvError, type ErrorCode, type Outcome } from '../core/errors.js';
import type { Expectation } from '../core/linear-decision.js';
import type { Receipt } from '../core/receipt.js';
import type { Version } from '../core/version.js';
import { consistencyToWire, receiptFromWire, versionFromWire, versionToWire } from './codec.js';
import { EMPTY_BYTES, v1 } from './messages.js';
import { codeFromWire, outcomeFromWire } from './status.js';

export interface UnaryLevel {
  readonly consistency?: Consistency;
  /** For the local levels. */
  readonly zone?: string;
}

export interface UnaryReadOptions extends UnaryLevel {
  readonly minVersion?: Version;
  readonly receipt?: boolean;
}

export interface UnaryWriteOptions extends UnaryLevel {
  /** The caller's own stamp: makes a retry apply once. */
  readonly version?: Version;
  readonly receipt?: boolean;
  /** At LINEARIZABLE: a compare-and-set. */
  readonly expect?: Expectation;
}

export interface UnaryPutOptions extends UnaryWriteOptions {
  /** Counted from the stamp. */
  readonly ttlMs?: number;
}

export interface UnaryEntry {
  readonly found: boolean;
  readonly value: Uint8Array;
  /** Also of a tombstone; absent when nothing was ever written. */
  readonly version?: Version;
  /** Wall ms; absent: never. */
  readonly expiresAtMs?: number;
  readonly receipt?: Receipt;
}

export interface UnaryWritten {
  /** Absent when it lost. */
  readonly version?: Version;
  /** At LINEARIZABLE: what its outcome can be asked for by. */
  readonly requestId?: Version;
  /** Of a compare-and-set that lost: what is there. */
  readonly found?: UnaryEntry;
  /** A newer version that hides this write. */
  readonly shadowedBy?: Version;
  readonly receipt?: Receipt;
}

export interface UnaryOutcome {
  readonly result: 'applied' | 'lost' | 'never' | 'forgotten';
  readonly version?: Version;
}

export interface UnaryBatchItem {
  readonly kind: 'get' | 'put' | 'delete';
  readonly key: Uint8Array;
  readonly value?: Uint8Array;
  readonly version?: Version;
  /** Of a put. */
  readonly ttlMs?: number;
}

export interface UnaryBatchResult {
  /** Undefined: it succeeded. */
  readonly code: ErrorCode | undefined;
  readonly outcome: Outcome;
  readonly message: string;
  readonly found: boolean;
  readonly value: Uint8Array;
  readonly version?: Version;
  readonly shadowedBy?: Version;
  readonly expiresAtMs?: number;
}

export interface UnaryScanOptions extends UnaryLevel {
  readonly gte?: Uint8Array;
  readonly lt?: Uint8Array;
  readonly prefix?: Uint8Array;
  readonly reverse?: boolean;
  readonly limit?: number;
  readonly keysOnly?: boolean;
  readonly token?: Uint8Array;
}

export interface UnaryPage {
  readonly entries: readonly UnaryPageEntry[];
  /** Empty: the end. */
  readonly token: Uint8Array;
}

export interface UnaryPageEntry {
  readonly key: Uint8Array;
  /** Empty with `keysOnly`. */
  readonly value: Uint8Array;
  readonly version: Version;
  readonly expiresAtMs?: number;
}

export function levelFields(options: UnaryLevel): { consistency: v1.Consistency; zone: string } {
  return {
    consistency:
      options.consistency === undefined
        ? v1.Consistency.CONSISTENCY_UNSPECIFIED
        : consistencyToWire(options.consistency),
    zone: options.zone ?? '',
  };
}

export function writeFields(write: UnaryWriteOptions): v1.DeleteRequest.$Properties {
  return {
    ...levelFields(write),
    receipt: write.receipt ?? false,
    ...(write.version === undefined ? {} : { version: versionToWire(write.version) }),
    ...(write.expect === undefined ? {} : { expect: expectationToWire(write.expect) }),
  };
}

function expectationToWire(expect: Expectation): v1.Expectation.$Properties {
  switch (expect.kind) {
    case 'version':
      return { version: versionToWire(expect.version) };
    case 'value':
      return { value: expect.value };
    case 'absent':
      return { absent: true };
  }
}

export function entryOf(response: v1.GetResponse.$Properties): UnaryEntry {
  return {
    found: response.found ?? false,
    value: response.value ?? EMPTY_BYTES,
    ...(response.version ? { version: versionFromWire(response.version, 'version') } : {}),
    ...(response.expiresAtMs ? { expiresAtMs: response.expiresAtMs } : {}),
    ...(response.receipt ? { receipt: receiptFromWire(response.receipt) } : {}),
  };
}

export function writtenOf(response: v1.PutResponse): UnaryWritten {
  return {
    ...(response.lost ? {} : { version: versionFromWire(response.version ?? {}, 'version') }),
    ...(response.requestId ? { requestId: versionFromWire(response.requestId, 'request_id') } : {}),
    ...(response.found ? { found: entryOf(response.found) } : {}),
    ...(response.shadowedBy
      ? { shadowedBy: versionFromWire(response.shadowedBy, 'shadowed_by') }
      : {}),
    ...(response.receipt ? { receipt: receiptFromWire(response.receipt) } : {}),
  };
}

const RESULTS: Readonly<Record<number, UnaryOutcome['result']>> = {
  [v1.OutcomeResponse.Result.APPLIED]: 'applied',
  [v1.OutcomeResponse.Result.LOST]: 'lost',
  [v1.OutcomeResponse.Result.NEVER]: 'never',
  [v1.OutcomeResponse.Result.FORGOTTEN]: 'forgotten',
};

export function outcomeOf({ result, version }: v1.OutcomeResponse): UnaryOutcome {
  const became = RESULTS[result];
  if (became === undefined) throw new KvError('INCOMPATIBLE', `${result} is no known result`);
  return version
    ? { result: became, version: versionFromWire(version, 'version') }
    : { result: became };
}

const BATCH_KINDS = {
  get: v1.BatchItem.Kind.GET,
  put: v1.BatchItem.Kind.PUT,
  delete: v1.BatchItem.Kind.DELETE,
} as const;

export function batchItem(item: UnaryBatchItem): v1.BatchItem.$Properties {
  return {
    kind: BATCH_KINDS[item.kind],
    key: item.key,
    value: item.value ?? EMPTY_BYTES,
    ttlMs: item.ttlMs ?? 0,
    ...(item.version === undefined ? {} : { version: versionToWire(item.version) }),
  };
}

export function batchResult(result: v1.BatchResult.$Properties): UnaryBatchResult {
  return {
    code: codeFromWire(result.code ?? v1.ErrorCode.ERROR_NONE),
    outcome: outcomeFromWire(result.outcome ?? v1.Outcome.NONE),
    message: result.message ?? '',
    found: result.found ?? false,
    value: result.value ?? EMPTY_BYTES,
    ...(result.expiresAtMs ? { expiresAtMs: result.expiresAtMs } : {}),
    ...(result.version ? { version: versionFromWire(result.version, 'version') } : {}),
    ...(result.shadowedBy ? { shadowedBy: versionFromWire(result.shadowedBy, 'shadowed_by') } : {}),
  };
}

export function pageOf(response: v1.ScanResponse): UnaryPage {
  return {
    entries: response.entries.map((entry) => ({
      key: entry.key ?? EMPTY_BYTES,
      value: entry.value ?? EMPTY_BYTES,
      version: versionFromWire(entry.version ?? {}, 'entries.version'),
      ...(entry.expiresAtMs ? { expiresAtMs: entry.expiresAtMs } : {}),
    })),
    token: response.token,
  };
}
