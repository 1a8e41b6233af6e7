import { setMaxListeners } from 'node:events';
import type { handleUnaryCall, sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS } from '../core/limits.js';
import { systemClock, type Clock } from '../io/clock.js';
import { decodeBody } from './range-codec.js';
import { asBuffer } from './services.js';
import { toGrpcStatus, toKvError } from './status.js';

const MAX_HEAD_START_MS = 50;

/** What a unary request brings besides its message. */
export interface UnaryContext {
  /** On the node's monotonic clock: the caller's gRPC deadline, or the default. */
  readonly deadlineMs: number;
  /** Aborted when the caller has gone. */
  readonly signal: AbortSignal;
}

export interface GeneratedRequest<T> {
  readonly name: string;
  decode(bytes: Uint8Array): T;
}

export interface GeneratedResponse<T> {
  encode(message: T): { finish(): Uint8Array };
}

export interface UnaryPorts {
  /** The id of this node, for errors that name none. */
  readonly nodeId: string;
  readonly clock: Clock;
}

/**
 * A gRPC handler of an async function: decodes the request, encodes what the function returns, and turns what it throws
 * into a status with our trailers. A request that is no message of ours gets INVALID_ARGUMENT.
 */
export function unaryHandler<Request, Response>(
  ports: UnaryPorts,
  request: GeneratedRequest<Request>,
  response: GeneratedResponse<Response>,
  handle: (message: Request, context: UnaryContext) => Promise<Response> | Response,
): handleUnaryCall<Buffer, Buffer> {
  const answer = async (call: ServerUnaryCall<Buffer, Buffer>): Promise<Buffer> => {
    const message = decodeBody(() => request.decode(call.request), request.name);
    const abort = new AbortController();
    // A batch listens once for each item under way, and Node.js would warn of a leak.
    setMaxListeners(0, abort.signal);
    // grpc-js calls it cancelled too when it has been answered.
    let answered = false;
    call.on('cancelled', () => {
      if (!answered) abort.abort();
    });
    const deadlineMs = ports.clock.monotonicMs() + remainingMs(call);
    let result: Response;
    try {
      result = await handle(message, { deadlineMs, signal: abort.signal });
    } finally {
      answered = true;
    }
    return asBuffer(response.encode(result).finish());
  };
  const respond = async (
    call: ServerUnaryCall<Buffer, Buffer>,
    callback: sendUnaryData<Buffer>,
  ): Promise<void> => {
    let bytes: Buffer;
    try {
      bytes = await answer(call);
    } catch (error) {
      callback(toGrpcStatus(toKvError(error), ports.nodeId));
      return;
    }
    callback(null, bytes);
  };
  return (call, callback) => void respond(call, callback);
}

/**
 * What is left of the caller's deadline. grpc-js has added what the caller sent to the machine's wall clock, whatever clock
 * the node goes by. A little is kept back, so that our answer, which says more than gRPC's own, still arrives in time.
 */
function remainingMs(call: ServerUnaryCall<Buffer, Buffer>): number {
  const deadline = call.getDeadline();
  const atMs = deadline instanceof Date ? deadline.getTime() : deadline;
  if (!Number.isFinite(atMs)) return DEFAULT_TIMEOUT_MS;
  const leftMs = atMs - systemClock.wallMs();
  return Math.min(leftMs - Math.min(leftMs * 0.1, MAX_HEAD_START_MS), MAX_TIMEOUT_MS);
}
