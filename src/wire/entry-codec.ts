import { KvError } from '../core/errors.js';
import { changedOf, decodeRecord, expiryOf, type RecordFields } from '../core/record.js';
import { versionToWire } from './codec.js';
import type { v1 } from './messages.js';

/** A record as a get answers it. */
export function entryToWire(record: Uint8Array | undefined): v1.GetResponse.$Properties {
  if (record === undefined) return { found: false };
  const fields = fieldsOf(record);
  return fields.tombstone
    ? { found: false, version: versionToWire(fields.changed ?? fields.version) }
    : { found: true, ...valueFields(fields) };
}

/** A record as a scan answers it; with `keysOnly`, its head. */
export function scanEntryToWire(
  key: Uint8Array,
  record: Uint8Array,
  keysOnly: boolean,
): v1.ScanEntry.$Properties {
  if (!keysOnly) return { key, ...valueFields(fieldsOf(record)) };
  const version = versionToWire(changedOf(record));
  const expiresAtMs = expiryOf(record);
  return expiresAtMs === undefined ? { key, version } : { key, version, expiresAtMs };
}

interface ValueFields {
  value: Uint8Array;
  version: v1.Version.$Properties;
  expiresAtMs?: number;
}

/** Users see the version at which the value last changed. */
function valueFields(fields: RecordFields): ValueFields {
  const { value, expiresAtMs } = fields;
  const version = versionToWire(fields.changed ?? fields.version);
  return expiresAtMs === undefined ? { value, version } : { value, version, expiresAtMs };
}

function fieldsOf(record: Uint8Array): RecordFields {
  const fields = decodeRecord(record);
  if (fields === undefined) throw new KvError('RECORD_CORRUPT', 'the record cannot be decoded');
  return fields;
}
