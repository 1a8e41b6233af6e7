import type { BatchOperation, BatchResult } from '../src/index.js';
import { bytesToJson, jsonToBytes } from './byte-text.js';
import { entryView } from './entry-view.js';
import { errorView, usageError } from './failure.js';
import { parseJson } from './json-text.js';
import { parseTtlMs, TTL_RULE } from './settings.js';
import { writtenView } from './written-view.js';

const NAMES = { get: 'get', put: 'put', del: 'delete', delete: 'delete' } as const;

/** A line of a batch: `{"op":"put","key":"a","value":"b","ttl":"30s"}`, the ttl where it is to expire. Undefined fields and unknown ones are refused, by name. */
export function parseOperation(text: string): BatchOperation<Uint8Array> | { problem: string } {
  const parsed = parseJson(text);
  if (!parsed.ok) return { problem: parsed.reason };
  if (typeof parsed.value !== 'object' || parsed.value === null || Array.isArray(parsed.value)) {
    return { problem: 'is no JSON object' };
  }
  const { op, key, value, ttl, ...rest } = parsed.value as Record<string, unknown>;
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) return { problem: `has an unknown field "${unknown}"` };
  if (typeof op !== 'string' || !Object.hasOwn(NAMES, op)) {
    return { problem: 'op: must be "get", "put" or "del"' };
  }
  const type = NAMES[op as keyof typeof NAMES];
  const keyBytes = jsonToBytes(key);
  if (keyBytes === undefined) return { problem: 'key: must be text or {"base64": ...}' };
  if (type !== 'put') {
    if (value !== undefined) return { problem: `value: does not go with "${op}"` };
    return ttl === undefined
      ? { type, key: keyBytes }
      : { problem: `ttl: does not go with "${op}"` };
  }
  const valueBytes = jsonToBytes(value);
  if (valueBytes === undefined) return { problem: 'value: must be text or {"base64": ...}' };
  const put = { type, key: keyBytes, value: valueBytes };
  if (ttl === undefined) return put;
  const ttlMs = typeof ttl === 'string' ? parseTtlMs(ttl) : undefined;
  return ttlMs === undefined ? { problem: `ttl: must be ${TTL_RULE}` } : { ...put, ttlMs };
}

/** The line that answers an operation. */
export function resultLine(
  operation: BatchOperation<Uint8Array>,
  result: BatchResult<Uint8Array>,
): string {
  const op = operation.type === 'delete' ? 'del' : operation.type;
  const about = { op, key: bytesToJson(operation.key as Uint8Array) };
  if (!result.ok) {
    const { message, ...error } = errorView(result.error);
    // The SDK names the place in the batch, which is not the line.
    const problem = message.replace(/^operations\[\d+\]\.?/, '');
    return line({ ok: false, ...about, error: { ...error, message: problem } });
  }
  if (result.type === 'get') {
    return result.entry === undefined
      ? line({ ok: true, ...about, found: false })
      : line({ ok: true, op, found: true, ...entryView(result.entry) });
  }
  return line({ ok: true, op, ...writtenView(operation.key as Uint8Array, result.written) });
}

/** The line that answers a line which is no operation. */
export function problemLine(lineNumber: number, problem: string): string {
  const error = errorView(usageError(`line ${lineNumber}: ${problem}`, ''));
  return line({ ok: false, line: lineNumber, error });
}

function line(view: unknown): string {
  return `${JSON.stringify(view)}\n`;
}
