import type { handleServerStreamingCall, ServerWritableStream } from '@grpc/grpc-js';
import { decodeBody } from './range-codec.js';
import { asBuffer } from './services.js';
import { toGrpcStatus, toKvError } from './status.js';
import type { GeneratedRequest, GeneratedResponse, UnaryPorts } from './unary-handler.js';

/** What a request brings that is answered by many messages. */
export interface StreamContext<Event> {
  /** Sends one message. Harmless when the caller has gone. */
  readonly send: (event: Event) => void;
  /** Aborted when the caller has gone, or has no time left. */
  readonly signal: AbortSignal;
}

/**
 * A gRPC handler of an async function that answers with a stream of messages, and ends it by returning. For messages that are
 * few and small: nothing holds the function back when they are read slowly. What it throws becomes a status as of unary calls.
 */
export function streamHandler<Request, Event>(
  { nodeId }: UnaryPorts,
  request: GeneratedRequest<Request>,
  event: GeneratedResponse<Event>,
  handle: (message: Request, context: StreamContext<Event>) => Promise<void>,
): handleServerStreamingCall<Buffer, Buffer> {
  const answer = async (call: ServerWritableStream<Buffer, Buffer>): Promise<void> => {
    const abort = new AbortController();
    call.on('cancelled', () => abort.abort());
    call.on('error', () => abort.abort());
    try {
      const message = decodeBody(() => request.decode(call.request), request.name);
      await handle(message, {
        signal: abort.signal,
        send: (sent) => {
          if (!abort.signal.aborted) call.write(asBuffer(event.encode(sent).finish()));
        },
      });
    } catch (error) {
      call.emit('error', toGrpcStatus(toKvError(error), nodeId));
      return;
    }
    call.end();
  };
  return (call) => void answer(call);
}
