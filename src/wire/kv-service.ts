import type { UntypedServiceImplementation } from '@grpc/grpc-js';
import { invalidArgument, KvError, type KvErrorDetails, type Outcome } from '../core/errors.js';
import { expiryAfter } from '../core/expiry.js';
import { prefixEnd } from '../core/key-range.js';
import { checkKey, checkValue, MAX_SCAN_LIMIT, MAX_TTL_MS, type Limits } from '../core/limits.js';
import { encodeRecord, versionOf } from '../core/record.js';
import { formatRequestId } from '../core/request-id.js';
import { encodeVersion, type Version } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { NodeAnswer, NodeFailure } from '../io/link.js';
import { sleep, type Timers } from '../io/timers.js';
import { receiptToWire, requireConsistency, versionFromWire, versionToWire } from './codec.js';
import { entryToWire, scanEntryToWire } from './entry-codec.js';
import type { KvBackend, KvOperation } from './kv-backend.js';
import { expectationFromWire, FORGOTTEN, linearToReply, outcomeToReply } from './linear-replies.js';
import type { LinkFaults } from './link-faults.js';
import { EMPTY_BYTES, v1 } from './messages.js';
import { codeToWire, outcomeToWire, toKvError } from './status.js';
import { unaryHandler, type UnaryContext } from './unary-handler.js';

const MAX_BATCH_ITEMS = 10_000;
/** Of one batch, at once. */
const BATCH_PARALLELISM = 256;
/** The values that a batch answers with may fill this share of a frame; the rest is for keys, versions and messages. */
const BATCH_VALUE_SHARE = 0.5;
const DEFAULT_SCAN_LIMIT = 1_000;

export interface KvServiceOptions {
  readonly nodeId: string;
  readonly backend: KvBackend;
  readonly limits: Limits;
  readonly faults: LinkFaults;
  readonly clock: Clock;
  readonly timers: Timers;
}

/** The unary calls of Kv: one operation each, for clients of every language. */
export function createKvService(options: KvServiceOptions): UntypedServiceImplementation {
  const service = new KvService(options);
  const ports = { nodeId: options.nodeId, clock: options.clock };
  const { GetRequest, GetResponse, PutRequest, PutResponse, DeleteRequest } = v1;
  const { BatchRequest, BatchResponse, ScanRequest, ScanResponse } = v1;
  const { OutcomeRequest, OutcomeResponse } = v1;
  return {
    get: unaryHandler(ports, GetRequest, GetResponse, (request, at) => service.get(request, at)),
    put: unaryHandler(ports, PutRequest, PutResponse, (request, at) => service.put(request, at)),
    delete: unaryHandler(ports, DeleteRequest, PutResponse, (request, at) =>
      service.delete(request, at),
    ),
    batch: unaryHandler(ports, BatchRequest, BatchResponse, (request, at) =>
      service.batch(request, at),
    ),
    outcome: unaryHandler(ports, OutcomeRequest, OutcomeResponse, (request, at) =>
      service.outcome(request, at),
    ),
    scan: unaryHandler(ports, ScanRequest, ScanResponse, (request, at) =>
      service.scan(request, at),
    ),
  };
}

/** What a write says besides its value. */
interface Write {
  readonly key: Uint8Array;
  /** Undefined: a delete. */
  readonly value: Uint8Array | undefined;
  /** 0: it does not expire. */
  readonly ttlMs: number;
  readonly version: v1.Version.$Properties | null | undefined;
  readonly consistency: v1.Consistency;
  readonly zone: string;
  readonly receipt: boolean;
  readonly expect?: v1.Expectation.$Properties | null | undefined;
}

interface Written {
  readonly version: Version;
  readonly answer: NodeAnswer;
}

type Target = Pick<KvOperation, 'kind' | 'key' | 'level' | 'zone' | 'receipt'> &
  Partial<Pick<KvOperation, 'record' | 'minVersion' | 'expect'>>;

class KvService {
  readonly #options: KvServiceOptions;

  constructor(options: KvServiceOptions) {
    this.#options = options;
  }

  async get(request: v1.GetRequest, context: UnaryContext): Promise<v1.GetResponse.$Properties> {
    const answer = await this.#execute(
      {
        kind: 'get',
        key: this.#checkedKey(request.key),
        minVersion: request.minVersion
          ? encodeVersion(versionFromWire(request.minVersion, 'min_version'))
          : EMPTY_BYTES,
        level: requireConsistency(request.consistency),
        zone: request.zone,
        receipt: request.receipt,
      },
      context,
    );
    return {
      ...entryToWire(answer.record),
      ...(answer.receipt === undefined ? {} : { receipt: receiptToWire(answer.receipt) }),
    };
  }

  put(request: v1.PutRequest, context: UnaryContext): Promise<v1.PutResponse.$Properties> {
    return this.#write(
      { ...writeFields(request), value: request.value, ttlMs: request.ttlMs },
      context,
    );
  }

  delete(request: v1.DeleteRequest, context: UnaryContext): Promise<v1.PutResponse.$Properties> {
    return this.#write({ ...writeFields(request), value: undefined, ttlMs: 0 }, context);
  }

  async outcome(
    request: v1.OutcomeRequest,
    context: UnaryContext,
  ): Promise<v1.OutcomeResponse.$Properties> {
    const id = versionFromWire(request.requestId ?? {}, 'request_id');
    const target: Target = {
      kind: 'outcome',
      key: this.#checkedKey(request.key),
      minVersion: encodeVersion(id),
      level: 'LINEARIZABLE',
      zone: '',
      receipt: false,
    };
    try {
      return outcomeToReply(await this.#execute(target, context));
    } catch (error) {
      if (error instanceof KvError && error.code === 'REFUSED') return FORGOTTEN;
      throw error;
    }
  }

  /** Runs a bounded number of items at once; each has its own result, in the order of the items. */
  async batch(
    request: v1.BatchRequest,
    context: UnaryContext,
  ): Promise<v1.BatchResponse.$Properties> {
    const { items, zone } = request;
    const { signal } = context;
    if (items.length > MAX_BATCH_ITEMS) {
      throw invalidArgument('items', `${items.length}, the limit is ${MAX_BATCH_ITEMS}`);
    }
    const { consistency } = request;
    requireConsistency(consistency);
    const results = Array.from<v1.BatchResult.$Properties>({ length: items.length });
    let next = 0;
    let valueBytes = 0;
    const maxValueBytes = this.#options.limits.maxFrameBytes * BATCH_VALUE_SHARE;
    const work = async (): Promise<void> => {
      while (next < items.length && !signal.aborted) {
        const index = next++;
        const item = items[index] as v1.BatchItem;
        let result: v1.BatchResult.$Properties;
        try {
          result = await this.#item(item, { consistency, zone }, context);
        } catch (error) {
          result = failedResult(toKvError(error));
        }
        valueBytes += result.value?.length ?? 0;
        if (valueBytes > maxValueBytes && result.value !== undefined) {
          const problem = `the values of this batch exceed ${maxValueBytes} bytes; ask for fewer`;
          result = failedResult(invalidArgument('items', problem));
        }
        results[index] = result;
      }
    };
    await Promise.all(Array.from({ length: Math.min(BATCH_PARALLELISM, items.length) }, work));
    if (signal.aborted) throw callerGone('unknown');
    return { results };
  }

  async scan(request: v1.ScanRequest, context: UnaryContext): Promise<v1.ScanResponse.$Properties> {
    const { limit, keysOnly } = request;
    if (limit > MAX_SCAN_LIMIT) {
      throw invalidArgument('limit', `${limit}, the limit is ${MAX_SCAN_LIMIT}`);
    }
    const page = await this.#options.backend.scan(
      {
        ...rangeOf(request),
        reverse: request.reverse,
        limit: limit === 0 ? DEFAULT_SCAN_LIMIT : limit,
        keysOnly,
        token: request.token,
        level: requireConsistency(request.consistency),
        zone: request.zone,
        timeoutMs: 0,
        traceparent: EMPTY_BYTES,
      },
      context.deadlineMs,
      context.signal,
    );
    if (page.kind === 'failure') throw failureError(page);
    await this.#injectedDelay();
    return {
      token: page.token,
      entries: page.entries.map(({ key, record }) => scanEntryToWire(key, record, keysOnly)),
    };
  }

  async #item(
    item: v1.BatchItem,
    level: { readonly consistency: v1.Consistency; readonly zone: string },
    context: UnaryContext,
  ): Promise<v1.BatchResult.$Properties> {
    const { kind, key, version, value, ttlMs } = item;
    if (ttlMs !== 0 && kind !== v1.BatchItem.Kind.PUT) {
      throw invalidArgument('ttl_ms', 'goes with a put alone');
    }
    switch (kind) {
      case v1.BatchItem.Kind.GET: {
        const answer = await this.#execute(
          {
            kind: 'get',
            key: this.#checkedKey(key),
            level: requireConsistency(level.consistency),
            zone: level.zone,
            receipt: false,
          },
          context,
        );
        return entryToWire(answer.record);
      }
      case v1.BatchItem.Kind.PUT:
        return batchedWrite(
          await this.#write({ key, value, ttlMs, version, ...level, receipt: false }, context),
        );
      case v1.BatchItem.Kind.DELETE:
        return batchedWrite(
          await this.#write(
            { key, value: undefined, ttlMs, version, ...level, receipt: false },
            context,
          ),
        );
    }
    throw invalidArgument('kind', `${String(kind)} is none of GET, PUT, DELETE`);
  }

  async #write(write: Write, context: UnaryContext): Promise<v1.PutResponse.$Properties> {
    const { version, answer } = await this.#coordinateWrite(write, context);
    if (answer.result !== undefined) return linearToReply(version, answer);
    return {
      version: versionToWire(version),
      ...(answer.shadow === undefined
        ? {}
        : { shadowedBy: versionToWire(versionOf(answer.shadow)) }),
      ...(answer.receipt === undefined ? {} : { receipt: receiptToWire(answer.receipt) }),
    };
  }

  async #coordinateWrite(write: Write, context: UnaryContext): Promise<Written> {
    const { value, ttlMs, zone, receipt } = write;
    const key = this.#checkedKey(write.key);
    const level = requireConsistency(write.consistency);
    const expect = expectationFromWire(write.expect);
    const tooLarge = checkValue(value?.length ?? 0, this.#options.limits);
    if (tooLarge !== undefined) throw tooLarge;
    const version = write.version
      ? versionFromWire(write.version, 'version')
      : await this.#options.backend.stamp();
    if (ttlMs !== 0) this.#checkTtl(ttlMs, version, Boolean(write.version));
    const tombstone = value === undefined;
    const record = encodeRecord(key, {
      version,
      tombstone,
      ...(ttlMs === 0 ? {} : { expiresAtMs: expiryAfter(version, ttlMs) }),
      value: value ?? EMPTY_BYTES,
    });
    const target: Target = { kind: 'put', key, record, level, zone, receipt, expect };
    const answer = await this.#execute(target, context);
    return { version, answer };
  }

  /** Refuses a ttl out of bounds, and one that is over already when it counts from a stamp of the caller's. */
  #checkTtl(ttlMs: number, version: Version, isCallersStamp: boolean): void {
    if (ttlMs > MAX_TTL_MS) {
      throw invalidArgument('ttl_ms', `${ttlMs}, the limit is ${MAX_TTL_MS}`);
    }
    const agoMs = this.#options.clock.wallMs() - expiryAfter(version, ttlMs);
    if (isCallersStamp && agoMs >= 0) {
      throw invalidArgument(
        'ttl_ms',
        `${ttlMs}, counted from the stamp it was over ${agoMs} ms ago`,
      );
    }
  }

  /** Resolves with the answer of what succeeded, and throws the error of what did not. */
  async #execute(target: Target, context: UnaryContext): Promise<NodeAnswer> {
    const { backend } = this.#options;
    const { signal, deadlineMs } = context;
    if (signal.aborted) throw callerGone('none');
    const answer = await new Promise<NodeAnswer>((resolve) => {
      const operation: KvOperation = {
        record: EMPTY_BYTES,
        minVersion: EMPTY_BYTES,
        expect: EMPTY_BYTES,
        traceparent: EMPTY_BYTES,
        ...target,
        deadlineMs,
        onAnswer(given) {
          signal.removeEventListener('abort', onAbort);
          resolve(given);
        },
      };
      const onAbort = (): void => backend.cancel(operation);
      signal.addEventListener('abort', onAbort);
      backend.execute(operation);
    });
    await this.#injectedDelay();
    if (answer.code === undefined) return answer;
    throw new KvError(answer.code, answer.message, {
      outcome: answer.outcome,
      node: this.#options.nodeId,
      ...requestIdOf(target, answer),
      ...(answer.receipt === undefined ? {} : { receipt: answer.receipt }),
    });
  }

  async #injectedDelay(): Promise<void> {
    const { faults, timers } = this.#options;
    if (faults.delayMs > 0) await sleep(timers, faults.delayMs);
  }

  #checkedKey(key: Uint8Array): Uint8Array {
    const problem = checkKey(key, this.#options.limits);
    if (problem !== undefined) throw problem;
    return key;
  }
}

function writeFields(request: v1.PutRequest | v1.DeleteRequest): Omit<Write, 'value' | 'ttlMs'> {
  const { key, version, consistency, zone, receipt, expect } = request;
  return { key, version, consistency, zone, receipt, expect };
}

function rangeOf(request: v1.ScanRequest): { gte: Uint8Array; lt: Uint8Array } {
  const { gte, lt, prefix } = request;
  if (prefix.length === 0) return { gte, lt };
  if (gte.length > 0 || lt.length > 0) {
    throw invalidArgument('prefix', 'it stands instead of gte and lt, not beside them');
  }
  return { gte: prefix, lt: prefixEnd(prefix) ?? EMPTY_BYTES };
}

function batchedWrite({
  version,
  shadowedBy,
}: v1.PutResponse.$Properties): v1.BatchResult.$Properties {
  return {
    ...(version ? { version } : {}),
    ...(shadowedBy ? { shadowedBy } : {}),
  };
}

function failedResult(error: KvError): v1.BatchResult.$Properties {
  return {
    code: codeToWire(error.code),
    outcome: outcomeToWire(error.outcome),
    message: error.message,
  };
}

/** A write at LINEARIZABLE that may have taken effect can be asked about. */
function requestIdOf(
  { key, kind, level, record }: Target,
  { outcome }: NodeAnswer,
): Pick<KvErrorDetails, 'requestId'> {
  if (outcome === 'none' || kind !== 'put' || level !== 'LINEARIZABLE') return {};
  return { requestId: formatRequestId({ key, version: versionOf(record ?? EMPTY_BYTES) }) };
}

function callerGone(outcome: Outcome): KvError {
  return new KvError('CANCELLED', 'the caller has gone', { outcome });
}

function failureError({ code, outcome, message }: NodeFailure): KvError {
  return new KvError(code, message, { outcome });
}
