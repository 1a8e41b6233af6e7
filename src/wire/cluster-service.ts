import type { UntypedServiceImplementation } from '@grpc/grpc-js';
import { invalidArgument, KvError } from '../core/errors.js';
import { hash32 } from '../core/hash.js';
import { checkKey, type Limits } from '../core/limits.js';
import type { Clock } from '../io/clock.js';
import type { Welcome } from '../io/link.js';
import { welcomeToWire } from './codec.js';
import { explain, type Copy } from './explanation.js';
import type { InjectedFaults } from './link-faults.js';
import { v1 } from './messages.js';
import {
  explainToWire,
  faultsFromWire,
  faultsToWire,
  statusToWire,
  type NodeStatusReport,
} from './reports.js';
import { unaryHandler } from './unary-handler.js';

/** Longer than any deadline: a fault beyond it is a partition, and should be asked for as one. */
const MAX_DELAY_MS = 60_000;
/** A day, either way. */
const MAX_SKEW_MS = 86_400_000;

export interface ClusterServiceOptions {
  readonly welcome: () => Welcome;
  readonly release: string;
  readonly limits: Limits;
  readonly status: () => NodeStatusReport | Promise<NodeStatusReport>;
  /** What every replica of a key holds. */
  readonly copies: (key: Uint8Array, deadlineMs: number) => Promise<readonly Copy[]>;
  readonly clock: Clock;
}

/** What operators ask of a node. */
export function createClusterService(options: ClusterServiceOptions): UntypedServiceImplementation {
  const { welcome, release, limits, status, copies, clock } = options;
  const ports = { nodeId: welcome().nodeId, clock };
  return {
    describe: unaryHandler(ports, v1.DescribeRequest, v1.Welcome, () =>
      welcomeToWire(welcome(), release),
    ),
    status: unaryHandler(ports, v1.StatusRequest, v1.NodeStatus, async () =>
      statusToWire(await status()),
    ),
    explain: unaryHandler(ports, v1.ExplainRequest, v1.ExplainResponse, async ({ key }, at) => {
      const problem = checkKey(key, limits);
      if (problem !== undefined) throw problem;
      return explainToWire(explain(hash32(key), await copies(key, at.deadlineMs), clock.wallMs()));
    }),
  };
}

export interface AdminServiceOptions {
  readonly nodeId: string;
  readonly members: () => Welcome['members'];
  /** Undefined: the node was not started to take faults, and refuses. */
  readonly faults: InjectedFaults | undefined;
  readonly clock: Clock;
}

/** Injects faults, for tests and demonstrations. */
export function createAdminService(options: AdminServiceOptions): UntypedServiceImplementation {
  const { nodeId, clock } = options;
  const ports = { nodeId, clock };
  const faults = (): InjectedFaults => {
    if (options.faults !== undefined) return options.faults;
    throw new KvError('REFUSED', `node ${nodeId} was not started with --unsafe-faults`, {
      node: nodeId,
    });
  };
  return {
    getFaults: unaryHandler(ports, v1.GetFaultsRequest, v1.Faults, () =>
      faultsToWire(faults().settings),
    ),
    setFaults: unaryHandler(ports, v1.Faults, v1.Faults, (request) => {
      const injected = faults();
      checkFaults(request, nodeId, options.members());
      injected.set(faultsFromWire(request));
      return faultsToWire(injected.settings);
    }),
  };
}

function checkFaults(faults: v1.Faults, nodeId: string, members: Welcome['members']): void {
  const others = members.map(({ id }) => id).filter((id) => id !== nodeId);
  for (const [field, nodes] of [
    ['drop_to', faults.dropTo],
    ['drop_from', faults.dropFrom],
  ] as const) {
    const stranger = nodes.find((node) => !others.includes(node));
    if (stranger !== undefined) {
      throw invalidArgument(field, `"${stranger}" is none of the others (${others.join(', ')})`);
    }
  }
  if (faults.delayMs > MAX_DELAY_MS) {
    throw invalidArgument('delay_ms', `${faults.delayMs}, the limit is ${MAX_DELAY_MS}`);
  }
  if (Math.abs(faults.skewMs) > MAX_SKEW_MS) {
    throw invalidArgument('skew_ms', `${faults.skewMs}, the limit is ${MAX_SKEW_MS} either way`);
  }
}
