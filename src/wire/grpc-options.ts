import type { ChannelOptions } from '@grpc/grpc-js';
import type { Limits } from '../core/limits.js';

/** Room in a message for what surrounds its records. */
const MESSAGE_SLACK_BYTES = 64 * 1024;
/** What may be on its way to one side of a channel: some frames. Of servers `receive-window.ts` sees to it. */
export const FLOW_CONTROL_WINDOW_BYTES = 1024 * 1024;

/** A peer that is stopped, not closed, is found out after at most the sum of the two. */
const KEEPALIVE_EVERY_MS = 5_000;
const KEEPALIVE_PATIENCE_MS = 4_000;

/** What HTTP/2 may hold for one connection, in MB: several windows of frames both ways. */
const SESSION_MEMORY_MB = 64;
/** A connection carries one channel and a few unary calls; more is not a client of ours. */
const MAX_CONCURRENT_STREAMS = 1_024;

function messageOptions(limits: Limits): ChannelOptions {
  const bytes = limits.maxFrameBytes + MESSAGE_SLACK_BYTES;
  return {
    'grpc.max_receive_message_length': bytes,
    'grpc.max_send_message_length': bytes,
    'grpc.keepalive_time_ms': KEEPALIVE_EVERY_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_PATIENCE_MS,
    'grpc-node.max_session_memory': SESSION_MEMORY_MB,
  };
}

/**
 * No connection age: it would drop live channels without warning. Channelz stays on, because grpc-js's forceShutdown finds
 * only the connections that channelz counts.
 */
export function serverOptions(limits: Limits): ChannelOptions {
  return {
    ...messageOptions(limits),
    'grpc.max_concurrent_streams': MAX_CONCURRENT_STREAMS,
  };
}

/** Each client has a connection of its own, tries no request twice, and finds its server by name and nothing else. */
export function clientOptions(limits: Limits): ChannelOptions {
  return {
    ...messageOptions(limits),
    'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW_BYTES,
    'grpc.enable_channelz': 0,
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.enable_http_proxy': 0,
    'grpc.service_config_disable_resolution': 1,
  };
}
