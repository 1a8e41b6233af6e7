import type { Coordinator } from './coordinator/operation.js';
import type { Limits } from './core/limits.js';
import type { Clock } from './io/clock.js';
import type { Welcome } from './io/link.js';
import type { Log } from './io/log.js';
import type { Peer } from './io/peer.js';
import type { Timers } from './io/timers.js';
import type { FrameSender } from './wire/channel-server.js';
import {
  createAdminService,
  createClusterService,
  type NodeRepairs,
} from './wire/cluster-service.js';
import { startGrpcServer, type GrpcServer } from './wire/grpc-server.js';
import { createKvChannelHost } from './wire/kv-channel.js';
import { createKvService } from './wire/kv-service.js';
import { NO_FAULTS, type InjectedFaults } from './wire/link-faults.js';
import { createPeerChannelHost } from './wire/peer-channel.js';
import type { NodeStatusReport } from './wire/reports.js';

export interface ServerOptions {
  /** `host:port`; port 0 takes a free one. */
  readonly listen: string;
  readonly coordinator: Coordinator;
  /** This node's own replica. */
  readonly replica: Peer & FrameSender;
  /** What the node says of itself and its cluster to whoever connects, now. */
  readonly welcome: () => Welcome;
  /** The version of the package. */
  readonly release: string;
  readonly status: () => NodeStatusReport | Promise<NodeStatusReport>;
  readonly repairs: NodeRepairs;
  /** Given: the Admin service changes them. Absent: it refuses. */
  readonly faults?: InjectedFaults;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly log: Log;
}

/**
 * Binds a node's parts to gRPC: the unary services and the channel of clients to the coordinator, the channel of other nodes
 * to the replica. Health says NOT_SERVING until `setServing` is called. Throws UNAVAILABLE when the address cannot be had.
 */
export async function startServer(options: ServerOptions): Promise<GrpcServer> {
  const { coordinator, replica, welcome, release, status, limits, clock, timers, log } = options;
  const faults = options.faults ?? NO_FAULTS;
  const { nodeId } = welcome();
  const server = await startGrpcServer({
    listen: options.listen,
    kv: createKvService({ nodeId, backend: coordinator, limits, faults, clock, timers }),
    kvChannel: createKvChannelHost({
      backend: coordinator,
      welcome,
      release,
      faults,
      clock,
      timers,
    }),
    peerChannel: createPeerChannelHost({
      replica,
      sender: replica,
      welcome,
      release,
      limits,
      faults,
      clock,
      timers,
    }),
    cluster: createClusterService({
      welcome,
      release,
      limits,
      status,
      copies: (key, deadlineMs) => coordinator.explain(key, deadlineMs),
      repairs: options.repairs,
      clock,
      timers,
    }),
    admin: createAdminService({
      nodeId,
      members: () => welcome().members,
      faults: options.faults,
      clock,
    }),
    limits,
    timers,
    log,
  });
  log.info({ address: server.address }, 'listening');
  return server;
}
