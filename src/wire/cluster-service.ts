import type { UntypedServiceImplementation } from '@grpc/grpc-js';
import { invalidArgument, KvError } from '../core/errors.js';
import { hash32 } from '../core/hash.js';
import { checkKey, type Limits } from '../core/limits.js';
import { PARTITIONS } from '../core/placement.js';
import type { Clock } from '../io/clock.js';
import type { Welcome } from '../io/link.js';
import type { Timers } from '../io/timers.js';
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
import {
  differenceToWire,
  localKeyToWire,
  verifySummaryToWire,
  type DifferenceReport,
  type LocalKeyReport,
  type PeerRepairReport,
  type RepairProgressReport,
  type VerifyProgressReport,
  type VerifySummaryReport,
} from './repair-reports.js';
import { streamHandler } from './stream-handler.js';
import { unaryHandler } from './unary-handler.js';

/** Longer than any deadline: a fault beyond it is a partition, and should be asked for as one. */
const MAX_DELAY_MS = 60_000;
const PROGRESS_EVERY_MS = 250;
/** Keys that differ, as a verification lists them. */
const DEFAULT_LISTED = 100;
const MAX_LISTED = 10_000;
const DEFAULT_VERIFY_TIMEOUT_MS = 5_000;
/** A day, either way. */
const MAX_SKEW_MS = 86_400_000;

export interface ClusterServiceOptions {
  readonly welcome: () => Welcome;
  readonly release: string;
  readonly limits: Limits;
  readonly status: () => NodeStatusReport | Promise<NodeStatusReport>;
  /** What every replica of a key holds. */
  readonly copies: (key: Uint8Array, deadlineMs: number) => Promise<readonly Copy[]>;
  readonly repairs: NodeRepairs;
  readonly clock: Clock;
  readonly timers: Timers;
}

/** What a node can be asked to compare and to mend. Both run until they are done or `signal` is aborted, and throw KvError. */
export interface NodeRepairs {
  verify(run: {
    /** How many keys that differ are told. */
    readonly limit: number;
    /** A replica that leaves a question unanswered for so long is not compared. */
    readonly timeoutMs: number;
    readonly signal: AbortSignal;
    readonly onProgress: (progress: VerifyProgressReport) => void;
    readonly onDifference: (difference: DifferenceReport) => void;
  }): Promise<VerifySummaryReport>;
  /** With every other node, one after the other. */
  repair(run: {
    readonly signal: AbortSignal;
    readonly onProgress: (progress: RepairProgressReport) => void;
    readonly onPeer: (repair: PeerRepairReport) => void;
  }): Promise<void>;
  /** What the node knows of a key beside its record. */
  local(key: Uint8Array): LocalKeyReport;
}

/** What operators ask of a node. */
export function createClusterService(options: ClusterServiceOptions): UntypedServiceImplementation {
  const { welcome, release, limits, status, copies, repairs, clock, timers } = options;
  const ports = { nodeId: welcome().nodeId, clock };
  return {
    describe: unaryHandler(ports, v1.DescribeRequest, v1.Welcome, () =>
      welcomeToWire(welcome(), release),
    ),
    status: unaryHandler(ports, v1.StatusRequest, v1.NodeStatus, async () =>
      statusToWire(await status()),
    ),
    explain: unaryHandler(
      ports,
      v1.ExplainRequest,
      v1.ExplainResponse,
      async ({ key, local }, at) => {
        const problem = checkKey(key, limits);
        if (problem !== undefined) throw problem;
        if (local) return { local: localKeyToWire(repairs.local(key)) };
        return explainToWire(
          explain(hash32(key), await copies(key, at.deadlineMs), clock.wallMs()),
        );
      },
    ),
    verify: streamHandler(ports, v1.VerifyRequest, v1.VerifyEvent, async (request, context) => {
      const { send, signal } = context;
      if (request.limit > MAX_LISTED) {
        throw invalidArgument('limit', `${request.limit}, the limit is ${MAX_LISTED}`);
      }
      const nothing: VerifyProgressReport = { partitions: PARTITIONS, done: 0, differing: 0 };
      const meter = new Meter(timers, nothing, (progress) => send({ progress }));
      try {
        const summary = await repairs.verify({
          limit: request.limit === 0 ? DEFAULT_LISTED : request.limit,
          timeoutMs: request.timeoutMs === 0 ? DEFAULT_VERIFY_TIMEOUT_MS : request.timeoutMs,
          signal,
          onProgress: (progress) => meter.show(progress),
          onDifference: (found) => send({ difference: differenceToWire(found) }),
        });
        send({ summary: verifySummaryToWire(summary) });
      } finally {
        meter.stop();
      }
    }),
    repair: streamHandler(ports, v1.RepairRequest, v1.RepairEvent, async (_, { send, signal }) => {
      const nothing: RepairProgressReport = {
        peer: '',
        partitions: 0,
        done: 0,
        copied: 0,
        bytes: 0,
      };
      const meter = new Meter(timers, nothing, (progress) => send({ progress }));
      try {
        await repairs.repair({
          signal,
          onProgress: (progress) => meter.show(progress),
          onPeer: (repair) => send({ peer: { ...repair } }),
        });
      } finally {
        meter.stop();
      }
    }),
  };
}

/** Passes on how far something has come, every now and then: whoever waits knows by it that the node is alive. */
class Meter<Progress> {
  readonly stop: () => void;
  #latest: Progress;

  constructor(timers: Timers, nothing: Progress, send: (progress: Progress) => void) {
    this.#latest = nothing;
    this.stop = timers.every(PROGRESS_EVERY_MS, () => send(this.#latest));
  }

  show(progress: Progress): void {
    this.#latest = progress;
  }
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
