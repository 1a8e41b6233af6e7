import {
  Client,
  credentials,
  status as grpcStatus,
  type ServiceError,
  type StatusObject,
} from '@grpc/grpc-js';
import { KvError, type Outcome } from '../core/errors.js';
import { DEFAULT_LIMITS } from '../core/limits.js';
import { systemClock, type Clock } from '../io/clock.js';
import type { Version } from '../core/version.js';
import type { Welcome } from '../io/link.js';
import { systemTimers, type Timers } from '../io/timers.js';
import { versionToWire, welcomeFromWire } from './codec.js';
import { clientOptions } from './grpc-options.js';
import { v1 } from './messages.js';
import protobuf from './protobuf.js';
import {
  differenceFromWire,
  localKeyFromWire,
  peerRepairFromWire,
  repairProgressFromWire,
  verifyProgressFromWire,
  verifySummaryFromWire,
  type DifferenceReport,
  type LocalKeyReport,
  type PeerRepairReport,
  type RepairProgressReport,
  type VerifyProgressReport,
  type VerifySummaryReport,
} from './repair-reports.js';
import {
  explainFromWire,
  faultsFromWire,
  faultsToWire,
  statusFromWire,
  type ExplainReport,
  type FaultSettings,
  type NodeStatusReport,
} from './reports.js';
import {
  ADMIN_SERVICE,
  asBuffer,
  asIs,
  CLUSTER_SERVICE,
  KV_SERVICE,
  type HealthService,
  type RawMethod,
} from './services.js';
import { fromGrpcStatus, toKvError } from './status.js';
import {
  batchItem,
  batchResult,
  entryOf,
  levelFields,
  outcomeOf,
  pageOf,
  writeFields,
  writtenOf,
  type UnaryBatchItem,
  type UnaryBatchResult,
  type UnaryEntry,
  type UnaryLevel,
  type UnaryOutcome,
  type UnaryPage,
  type UnaryPutOptions,
  type UnaryReadOptions,
  type UnaryScanOptions,
  type UnaryWriteOptions,
  type UnaryWritten,
} from './unary-messages.js';

/** One node's plain gRPC services, for operators' tools and tests. Every method throws KvError. */
export interface UnaryClient {
  /** `host:port`. */
  readonly endpoint: string;
  describe(): Promise<Welcome>;
  status(): Promise<NodeStatusReport>;
  explain(key: Uint8Array): Promise<ExplainReport>;
  /** What this node alone knows of the key. */
  explainLocal(key: Uint8Array): Promise<LocalKeyReport>;
  /** Compares all replicas of all keys, for as long as the node goes on telling how far it is. */
  verify(watch: VerifyWatch): Promise<VerifySummaryReport>;
  /** Compares the node's replica with every other node's, and mends both, for as long as the node goes on telling. */
  repair(watch: RepairWatch): Promise<void>;
  getFaults(): Promise<FaultSettings>;
  /** Replaces all faults, and answers what is now in force. REFUSED unless the node allows it. */
  setFaults(faults: FaultSettings): Promise<FaultSettings>;
  get(key: Uint8Array, options?: UnaryReadOptions): Promise<UnaryEntry>;
  put(key: Uint8Array, value: Uint8Array, options?: UnaryPutOptions): Promise<UnaryWritten>;
  delete(key: Uint8Array, options?: UnaryWriteOptions): Promise<UnaryWritten>;
  /** What became of a write at LINEARIZABLE. */
  outcome(key: Uint8Array, requestId: Version): Promise<UnaryOutcome>;
  batch(items: readonly UnaryBatchItem[], options?: UnaryLevel): Promise<UnaryBatchResult[]>;
  scan(options?: UnaryScanOptions): Promise<UnaryPage>;
  /** The standard gRPC health check. */
  health(service: HealthService): Promise<HealthAnswer>;
  close(): void;
}

export type HealthAnswer = 'SERVING' | 'NOT_SERVING' | 'UNKNOWN';

export interface VerifyWatch {
  /** How many keys that differ are told, up to 10,000. Default: 100. */
  readonly limit?: number;
  readonly onProgress: (progress: VerifyProgressReport) => void;
  readonly onDifference: (difference: DifferenceReport) => void;
}

export interface RepairWatch {
  readonly onProgress: (progress: RepairProgressReport) => void;
  readonly onPeer: (repair: PeerRepairReport) => void;
}

export interface UnaryClientOptions {
  /** Every call waits at most this long; what is answered by a stream, this long for each message of it. */
  readonly timeoutMs: number;
  readonly clock?: Clock;
  readonly timers?: Timers;
}

/** Connects with the first call. */
export function openUnaryClient(endpoint: string, options: UnaryClientOptions): UnaryClient {
  const client = new Client(endpoint, credentials.createInsecure(), clientOptions(DEFAULT_LIMITS));
  const { timeoutMs, clock = systemClock, timers = systemTimers } = options;
  const caller: Caller = { client, endpoint, timeoutMs, clock, timers };
  return {
    endpoint,
    async describe() {
      return welcomeFromWire(
        await call(caller, CLUSTER_SERVICE.describe, v1.DescribeRequest.encode({}), v1.Welcome),
      );
    },
    async status() {
      return statusFromWire(
        await call(caller, CLUSTER_SERVICE.status, v1.StatusRequest.encode({}), v1.NodeStatus),
      );
    },
    async explain(key) {
      const request = v1.ExplainRequest.encode({ key });
      return explainFromWire(
        await call(caller, CLUSTER_SERVICE.explain, request, v1.ExplainResponse),
      );
    },
    async explainLocal(key) {
      const request = v1.ExplainRequest.encode({ key, local: true });
      const { local } = await call(caller, CLUSTER_SERVICE.explain, request, v1.ExplainResponse);
      return localKeyFromWire(local);
    },
    async verify({ limit = 0, onProgress, onDifference }) {
      let found: VerifySummaryReport | undefined;
      const request = v1.VerifyRequest.encode({ limit, timeoutMs: Math.ceil(timeoutMs) });
      await eachMessage(caller, CLUSTER_SERVICE.verify, request, v1.VerifyEvent, (event) => {
        const { progress, difference, summary } = event;
        if (progress) onProgress(verifyProgressFromWire(progress));
        if (difference) onDifference(differenceFromWire(difference));
        if (summary) found = verifySummaryFromWire(summary);
      });
      if (found !== undefined) return found;
      throw new KvError('INCOMPATIBLE', `${endpoint} ended without a summary`, { node: endpoint });
    },
    async repair({ onProgress, onPeer }) {
      const request = v1.RepairRequest.encode({});
      await eachMessage(caller, CLUSTER_SERVICE.repair, request, v1.RepairEvent, (event) => {
        if (event.progress) onProgress(repairProgressFromWire(event.progress));
        if (event.peer) onPeer(peerRepairFromWire(event.peer));
      });
    },
    async getFaults() {
      const request = v1.GetFaultsRequest.encode({});
      return faultsFromWire(await call(caller, ADMIN_SERVICE.getFaults, request, v1.Faults));
    },
    async setFaults(faults) {
      const request = v1.Faults.encode(faultsToWire(faults));
      return faultsFromWire(
        await call(caller, ADMIN_SERVICE.setFaults, request, v1.Faults, 'unknown'),
      );
    },
    async get(key, read = {}) {
      const request = v1.GetRequest.encode({
        key,
        ...levelFields(read),
        receipt: read.receipt ?? false,
        ...(read.minVersion === undefined ? {} : { minVersion: versionToWire(read.minVersion) }),
      });
      return entryOf(await call(caller, KV_SERVICE.get, request, v1.GetResponse));
    },
    async put(key, value, write = {}) {
      const { ttlMs = 0 } = write;
      const request = v1.PutRequest.encode({ key, value, ttlMs, ...writeFields(write) });
      return writtenOf(await call(caller, KV_SERVICE.put, request, v1.PutResponse, 'unknown'));
    },
    async delete(key, write = {}) {
      const request = v1.DeleteRequest.encode({ key, ...writeFields(write) });
      return writtenOf(await call(caller, KV_SERVICE.delete, request, v1.PutResponse, 'unknown'));
    },
    async outcome(key, requestId) {
      const request = v1.OutcomeRequest.encode({ key, requestId: versionToWire(requestId) });
      return outcomeOf(
        await call(caller, KV_SERVICE.outcome, request, v1.OutcomeResponse, 'unknown'),
      );
    },
    async batch(items, at = {}) {
      const request = v1.BatchRequest.encode({ items: items.map(batchItem), ...levelFields(at) });
      const response = await call(caller, KV_SERVICE.batch, request, v1.BatchResponse, 'unknown');
      return response.results.map(batchResult);
    },
    async scan(range = {}) {
      const request = v1.ScanRequest.encode({
        gte: range.gte ?? null,
        lt: range.lt ?? null,
        prefix: range.prefix ?? null,
        reverse: range.reverse ?? false,
        limit: range.limit ?? 0,
        keysOnly: range.keysOnly ?? false,
        token: range.token ?? null,
        ...levelFields(range),
      });
      return pageOf(await call(caller, KV_SERVICE.scan, request, v1.ScanResponse));
    },
    health: (service) => health(caller, service),
    close: () => client.close(),
  };
}

interface Caller {
  readonly client: Client;
  readonly endpoint: string;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly timers: Timers;
}

interface Encoded {
  finish(): Uint8Array;
}

interface Decoder<T> {
  decode(bytes: Uint8Array): T;
}

/** `outcome` is what a failure leaves open where the node did not tell. */
async function call<T>(
  caller: Caller,
  method: RawMethod,
  request: Encoded,
  response: Decoder<T>,
  outcome: Outcome = 'none',
): Promise<T> {
  const bytes = await unary(caller, method.path, asBuffer(request.finish()), outcome);
  return decodeAnswer(caller, response, bytes, outcome);
}

function decodeAnswer<T>(
  { endpoint }: Caller,
  response: Decoder<T>,
  bytes: Buffer,
  outcome: Outcome,
): T {
  try {
    return response.decode(bytes);
  } catch (cause) {
    throw new KvError('INCOMPATIBLE', `${endpoint} answered what is not a message of ours`, {
      outcome,
      node: endpoint,
      cause,
    });
  }
}

/** Resolves when the stream of answers has ended well. What `onMessage` throws ends it, and is thrown. */
function eachMessage<T>(
  caller: Caller,
  method: RawMethod,
  request: Encoded,
  response: Decoder<T>,
  onMessage: (message: T) => void,
): Promise<void> {
  const { client, endpoint, timeoutMs, timers } = caller;
  const bytes = asBuffer(request.finish());
  return new Promise((resolve, reject) => {
    const stream = client.makeServerStreamRequest<Buffer, Buffer>(method.path, asIs, asIs, bytes);
    const fail = (error: Error): void => {
      cancelTimer();
      reject(error);
      stream.cancel();
    };
    const waitAgain = (): (() => void) =>
      timers.after(timeoutMs, () => {
        const message = `nothing was heard of ${endpoint} for ${timeoutMs} ms`;
        fail(new KvError('TIMED_OUT', message, { outcome: 'unknown', node: endpoint }));
      });
    let cancelTimer = waitAgain();
    stream.on('data', (part: Buffer) => {
      cancelTimer();
      cancelTimer = waitAgain();
      try {
        onMessage(decodeAnswer(caller, response, part, 'unknown'));
      } catch (error) {
        fail(toKvError(error));
      }
    });
    // Every error comes as a status as well.
    stream.on('error', () => {});
    stream.on('status', (status: StatusObject) => {
      cancelTimer();
      if (status.code === grpcStatus.OK) resolve();
      else reject(fromGrpcStatus(status, endpoint, 'unknown'));
    });
  });
}

function unary(caller: Caller, path: string, bytes: Buffer, outcome: Outcome): Promise<Buffer> {
  const { client, endpoint, clock, timeoutMs } = caller;
  // gRPC takes its deadline as a moment of the wall clock.
  const deadline = clock.wallMs() + timeoutMs;
  return new Promise((resolve, reject) => {
    const settle = (error: ServiceError | null, answer?: Buffer): void => {
      if (error !== null) reject(fromGrpcStatus(error, endpoint, outcome));
      else resolve(answer ?? Buffer.alloc(0));
    };
    client.makeUnaryRequest(path, asIs, asIs, bytes, { deadline }, settle);
  });
}

const HEALTH_ANSWERS: readonly HealthAnswer[] = ['UNKNOWN', 'SERVING', 'NOT_SERVING'];

/** `grpc.health.v1.Health/Check`: two messages of one field each, too small for generated code. */
async function health(caller: Caller, service: HealthService): Promise<HealthAnswer> {
  const request = protobuf.Writer.create().uint32(10).string(service).finish();
  const path = '/grpc.health.v1.Health/Check';
  const reader = protobuf.Reader.create(await unary(caller, path, asBuffer(request), 'none'));
  let status = 0;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag === 8) status = reader.int32();
    else reader.skipType(tag & 7);
  }
  return HEALTH_ANSWERS[status] ?? 'UNKNOWN';
}
