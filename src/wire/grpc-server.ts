import { fileURLToPath } from 'node:url';
import {
  logVerbosity,
  Server,
  ServerCredentials,
  setLogVerbosity,
  type handleBidiStreamingCall,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { HealthImplementation } from 'grpc-health-check';
import { KvError } from '../core/errors.js';
import type { Limits } from '../core/limits.js';
import type { Log } from '../io/log.js';
import type { Timers } from '../io/timers.js';
import { ServerChannel, type ChannelHost, type ChannelStream } from './channel-server.js';
import { serverOptions } from './grpc-options.js';
import { widenReceiveWindow } from './receive-window.js';
import {
  ADMIN_SERVICE,
  CLUSTER_SERVICE,
  HEALTH_SERVICES,
  KV_SERVICE,
  PEER_SERVICE,
  type HealthService,
} from './services.js';

/** Where the build puts the proto, seen from the compiled file. */
/** What reflection tells of: our own services, and health as its library speaks it. */
const PROTO_FILES = [
  fileURLToPath(new URL('../../proto/quorate.proto', import.meta.url)),
  fileURLToPath(import.meta.resolve('grpc-health-check/proto/health/v1/health.proto')),
];

export interface GrpcServerOptions {
  /** `host:port`; port 0 takes a free one. */
  readonly listen: string;
  readonly kv: UntypedServiceImplementation;
  readonly kvChannel: ChannelHost;
  readonly peerChannel: ChannelHost;
  readonly cluster: UntypedServiceImplementation;
  readonly admin: UntypedServiceImplementation;
  readonly limits: Limits;
  readonly timers: Timers;
  readonly log: Log;
}

export interface GrpcServer {
  /** `host:port` that it listens on, the real port included. */
  readonly address: string;
  readonly port: number;
  /** Calls of channels that are not answered yet. */
  readonly inFlight: number;
  readonly channels: number;
  /** What the standard health check says, to those who watch too. Nothing serves until it is said to. */
  setServing(service: HealthService, serving: boolean): void;
  /** Tells channels to drain and waits for what is under way, at most `graceMs` in all; then cuts what is left. */
  close(graceMs: number): Promise<void>;
}

/** Binds the services to a port. Throws UNAVAILABLE naming the address when it cannot be had. */
export async function startGrpcServer(options: GrpcServerOptions): Promise<GrpcServer> {
  const { listen, limits, timers } = options;
  // What gRPC would print on stderr reaches its callers as errors, and the node's log through them.
  setLogVerbosity(logVerbosity.NONE);
  const server = new Server(serverOptions(limits));
  const channels = new Set<ServerChannel>();
  const forget = (channel: ServerChannel): void => void channels.delete(channel);
  const serve =
    (host: ChannelHost): handleBidiStreamingCall<Buffer, Buffer> =>
    (stream: ChannelStream) => {
      widenReceiveWindow(stream);
      channels.add(new ServerChannel(stream, host, options, forget));
    };
  server.addService(KV_SERVICE, { ...options.kv, channel: serve(options.kvChannel) });
  server.addService(PEER_SERVICE, { channel: serve(options.peerChannel) });
  server.addService(CLUSTER_SERVICE, options.cluster);
  server.addService(ADMIN_SERVICE, options.admin);
  const health = new HealthImplementation(
    Object.fromEntries(HEALTH_SERVICES.map((service) => [service, 'NOT_SERVING' as const])),
  );
  health.addToServer(server);
  new ReflectionService(loadSync(PROTO_FILES)).addToServer(server);
  const port = await bind(server, listen);
  return {
    address: listen.replace(/:\d+$/, `:${port}`),
    port,
    get inFlight() {
      let calls = 0;
      for (const channel of channels) calls += channel.inFlight;
      return calls;
    },
    get channels() {
      return channels.size;
    },
    setServing(service, serving) {
      health.setStatus(service, serving ? 'SERVING' : 'NOT_SERVING');
    },
    async close(graceMs) {
      for (const service of HEALTH_SERVICES) health.setStatus(service, 'NOT_SERVING');
      for (const channel of channels) channel.drain();
      await shutDown(server, timers, graceMs);
    },
  };
}

function bind(server: Server, listen: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, port) => {
      if (error === null) resolve(port);
      else reject(bindError(listen, error));
    });
  });
}

function bindError(listen: string, cause: Error): KvError {
  const why = cause.message.includes('EADDRINUSE')
    ? 'the address is in use by another process'
    : cause.message;
  return new KvError('UNAVAILABLE', `cannot listen on ${listen}: ${why}`, { node: listen, cause });
}

/** tryShutdown alone would wait for ever for a stream that somebody holds open, such as a watch of health. */
function shutDown(server: Server, timers: Timers, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cancel = timers.after(graceMs, () => {
      server.forceShutdown();
      resolve();
    });
    server.tryShutdown(() => {
      cancel();
      resolve();
    });
  });
}
