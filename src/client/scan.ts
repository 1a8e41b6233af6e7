import { ERROR_CODES, KvError, type ErrorCode } from '../core/errors.js';
import { hash32 } from '../core/hash.js';
import { decodeRecord, isHead, isIntact, versionOf, type RecordFields } from '../core/record.js';
import type { NodePage, NodeScan } from '../io/link.js';
import {
  countAttempts,
  describeAttempts,
  FAILURES_OF_THE_NODE,
  shareOf,
  type PastAttempt,
} from './attempts.js';
import type { Plan } from './request-options.js';
import type { Session } from './session.js';
import { abortWith, releaseFrom } from './signals.js';

/** What is scanned: keys as they are stored, namespaces included. */
export interface ScanRange {
  readonly gte: Uint8Array;
  /** Empty: to the last key. */
  readonly lt: Uint8Array;
  readonly reverse: boolean;
  /** Infinity: no bound. */
  readonly limit: number;
  readonly pageSize: number;
  readonly keysOnly: boolean;
}

export interface ScannedRecord {
  readonly key: Uint8Array;
  /** The whole record; in a scan of keys only, its head. */
  readonly record: Uint8Array;
  /** Undefined in a scan of keys only. */
  readonly fields: RecordFields | undefined;
}

interface Page {
  readonly records: readonly ScannedRecord[];
  readonly token: Uint8Array;
}

interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
}

const NO_BYTES = new Uint8Array(0);

/**
 * The records of a range, page by page. The next page is on its way while this one is read, and any node can give it, since
 * the token holds all that there is to know. Each page has the timeout of the plan for itself.
 */
export async function* scanRecords(
  session: Session,
  range: ScanRange,
  plan: Plan,
): AsyncGenerator<readonly ScannedRecord[], void, void> {
  const { signal: callers } = plan;
  const own = new AbortController();
  if (callers?.aborted === true) own.abort(callers.reason);
  else if (callers !== undefined) abortWith(callers, own);
  let more = true;
  try {
    let left = range.limit;
    let next = fetchPage(session, range, plan, left, NO_BYTES, own.signal);
    while (more) {
      const { records, token } = await next;
      left -= records.length;
      more = token.length > 0 && left > 0;
      if (more) {
        next = fetchPage(session, range, plan, left, token, own.signal);
        // If it fails, that is thrown when its turn comes; until then nobody listens.
        next.catch(() => undefined);
      }
      yield records;
    }
  } finally {
    if (callers !== undefined) releaseFrom(callers, own);
    // An error with its stack, for nobody, if no page is under way.
    if (more) own.abort();
  }
}

/** One page. After a failure it is asked for again, from another node where there is one. */
async function fetchPage(
  session: Session,
  range: ScanRange,
  plan: Plan,
  left: number,
  token: Uint8Array,
  signal: AbortSignal,
): Promise<Page> {
  const deadlineMs = session.nowMs() + plan.timeoutMs;
  const tried: PastAttempt[] = [];
  const keyHash = session.anyHash();
  const route = { kind: 'get', zone: plan.zone, keyHash, gatheredBytes: 0, tried } as const;
  session.budget.deposit(session.nowMs());
  for (let waits = 0; ; waits++) {
    if (signal.aborted) throw cancelled(signal);
    session.checkOpen();
    const nowMs = session.nowMs();
    const remainingMs = deadlineMs - nowMs;
    if (remainingMs < 1) throw timedOut(session, plan, tried);
    const node = session.map.route(route, nowMs);
    if (node !== undefined && (tried.length === 0 || session.budget.withdraw(nowMs))) {
      const alone = !session.map.hasOther(node, nowMs);
      const request: NodeScan = {
        gte: range.gte,
        lt: range.lt,
        reverse: range.reverse,
        limit: Math.min(range.pageSize, left),
        keysOnly: range.keysOnly,
        token,
        level: plan.level,
        zone: plan.zone,
        timeoutMs: Math.ceil(alone ? remainingMs : shareOf(remainingMs)),
        traceparent: NO_BYTES,
      };
      const answer = await node.link.scan(request, signal);
      if (signal.aborted) throw cancelled(signal);
      const page = answer.kind === 'page' ? verifiedPage(answer, range.keysOnly) : answer;
      if ('records' in page) {
        node.answered();
        // As after a get: this connection never stamps below what it has read.
        for (const { record, fields } of page.records) {
          session.observe(fields?.version ?? versionOf(record));
        }
        return page;
      }
      const { code, message } = page;
      const ofTheNode = FAILURES_OF_THE_NODE.has(code);
      if (ofTheNode) node.failed(session.nowMs());
      tried.push({ node, call: request, outcome: 'none', code, message });
      if (!ERROR_CODES[code].retryable && !ofTheNode) {
        throw new KvError(code, message, { node: node.name });
      }
      if (ofTheNode && tried.length === 1) continue;
    }
    // Half of what remains at the most, so that the last attempt has time as well.
    const mostMs = (deadlineMs - session.nowMs()) / 2;
    await session.pause(Math.max(Math.min(session.backoffMs(waits), mostMs), 1), signal);
  }
}

/** Checks every record, as a get does. Heads carry no more than version and expiry, and cannot be checked. */
function verifiedPage(page: NodePage, keysOnly: boolean): Page | Failure {
  const records: ScannedRecord[] = [];
  for (const { key, record } of page.entries) {
    const fields = !keysOnly && isIntact(hash32(key), record) ? decodeRecord(record) : undefined;
    if (keysOnly ? !isHead(record) : fields === undefined) {
      return { code: 'RECORD_CORRUPT', message: 'a record of the page fails its checksum' };
    }
    records.push({ key, record, fields });
  }
  return { records, token: page.token };
}

/** Time is over: the code is that of the last answer, since it says more than that time is over. */
function timedOut(session: Session, plan: Plan, tried: readonly PastAttempt[]): KvError {
  const last = tried.at(-1);
  if (last?.code === undefined) {
    return new KvError('UNAVAILABLE', `No node is connected: ${session.unreachable()}`);
  }
  const story = `${countAttempts(tried)} at a page within ${plan.timeoutMs} ms`;
  return new KvError(last.code, `${last.message} (${story}: ${describeAttempts(tried)})`, {
    node: last.node.name,
  });
}

function cancelled(signal: AbortSignal): KvError {
  return new KvError('CANCELLED', 'The caller cancelled the scan.', {
    cause: signal.reason as unknown,
  });
}
