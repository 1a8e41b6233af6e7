import type { ServerHttp2Session } from 'node:http2';
import type { ChannelStream } from './channel-server.js';
import { FLOW_CONTROL_WINDOW_BYTES } from './grpc-options.js';

/** What grpc-js has below a stream of a server. Its types hide it, and it has no other way to a connection's window. */
interface StreamOfServer {
  /** The session is undefined once the stream is destroyed. */
  readonly call: { readonly stream: { readonly session: ServerHttp2Session | undefined } };
}

const widened = new WeakSet<ServerHttp2Session>();

/**
 * Lets whoever is connected send so much before it has to hear that some has been read. grpc-js takes the option for that on clients
 * alone and leaves servers at 64 KiB, which is less than one frame of ours: a sender would wait within each for both event loops.
 */
export function widenReceiveWindow(stream: ChannelStream): void {
  const { session } = (stream as unknown as StreamOfServer).call.stream;
  // Whoever began the stream may be gone by now.
  if (session === undefined || session.destroyed || session.closed) return;
  if (widened.has(session)) return;
  widened.add(session);
  // Of streams, this one too (RFC 9113, 6.9.2), and of the connection as a whole.
  session.settings({ initialWindowSize: FLOW_CONTROL_WINDOW_BYTES });
  session.setLocalWindowSize(FLOW_CONTROL_WINDOW_BYTES);
}
