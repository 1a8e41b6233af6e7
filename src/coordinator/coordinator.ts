import { KvError } from '../core/errors.js';
import { hash32 } from '../core/hash.js';
import { HedgeBudget } from '../core/hedge-budget.js';
import { checkKey, type Limits } from '../core/limits.js';
import type { MemberStatus } from '../core/membership.js';
import type { Member, Placement } from '../core/placement.js';
import { readVersion, type Version } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { Random } from '../io/random.js';
import type { NodeAnswer, NodeScan } from '../io/link.js';
import { silentLog, type Log } from '../io/log.js';
import type { Peer } from '../io/peer.js';
import type { Timers } from '../io/timers.js';
import { refusal } from './answers.js';
import type { Context, Counters, Lives, Rounds } from './context.js';
import { checkGet, checkOutcome, checkPut, checkScan, checkStamp, levelOn } from './door.js';
import { Explanation } from './explain.js';
import { DEFAULT_IN_FLIGHT, InFlight, type InFlightBounds } from './in-flight.js';
import type { Coordinator, CoordinatorCounters, Operation } from './operation.js';
import { LinearRounds } from './linear-rounds.js';
import { PeerState, type PeerStateEvents } from './peer-state.js';
import { ReadOperation } from './read-operation.js';
import { createRouteTable, routeOf, type RouteTable } from './routes.js';
import { failureOf, ScanOperation } from './scan-operation.js';
import { ScanPlans } from './scan-plan.js';
import { WriteOperation } from './write-operation.js';

export interface CoordinatorOptions {
  readonly nodeId: string;
  /** Scan tokens are bound to it. */
  readonly clusterId: string;
  /** The placement in force. A new object when the member list changes. */
  readonly placement: () => Placement;
  /** The way to a member; for the node itself, its own replica. Asked once for each. */
  readonly peerOf: (nodeId: string) => Peer;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly limits: Limits;
  readonly maxDriftMs: number;
  /** The node's own clock: a stamp above all it has issued or seen. */
  readonly stamp: () => Promise<Version>;
  /** Lets the node's clock see a version that is answered, so that it never stamps below it. */
  readonly observe: (version: Version) => void;
  /** Whether the node's clock is so wrong that it may coordinate no writes. */
  readonly quarantined: () => boolean;
  /**
   * The replica `nodeId` did not take a write that `keeper` has on disk: it is owed the key, and the keeper can deliver it. The
   * keeper is this node where it can be.
   */
  readonly owed?: (nodeId: string, key: Uint8Array, keeper: string) => void;
  /** A node has answered a request, though it is believed to be dead or suspected. */
  readonly onAlive?: (nodeId: string) => void;
  /** Default: no replica ever forgets. */
  readonly lives?: Lives;
  readonly inFlight?: InFlightBounds;
  readonly log?: Log;
}

/** A coordinator with what only the node that composes it needs. */
export interface NodeCoordinator extends Coordinator {
  /** A ping of a peer came back after `roundTripMs`, or did not (undefined): news for its breaker and its latency. */
  pinged(nodeId: string, roundTripMs: number | undefined): void;
  /** What gossip believes of a node: nothing is sent to a dead one until it answers, and a suspect is asked last. */
  believed(nodeId: string, standing: MemberStatus): void;
  /**
   * Runs a round of the key that changes nothing, so that its replicas are equal and no promise is left over from others.
   * `above`, 16 bytes, is what this node's replica has promised: a majority could do without it, and leave it behind.
   */
  settle(key: Uint8Array, above: Uint8Array, deadlineMs: number): Promise<NodeAnswer>;
  /** Whether the peer's circuit breaker keeps calls from it. */
  tripped(nodeId: string): boolean;
  /** Whether calls can get to the peer: a channel is not enough before it has been introduced. */
  reaches(nodeId: string): boolean;
}

const NO_BYTES = new Uint8Array(0);
const LINEARIZABLE = { level: 'LINEARIZABLE', zone: '', traceparent: NO_BYTES } as const;
const ONE_LIFE: Lives = { version: 0, changedAt: () => 0 };

/** Puts a coordinator together. It opens nothing and holds no resource but a timer while operations are under way. */
export function createCoordinator(options: CoordinatorOptions): NodeCoordinator {
  const { nodeId, clock, limits, maxDriftMs } = options;
  const log = options.log ?? silentLog;
  const inFlight = new InFlight(clock, options.timers, options.inFlight ?? DEFAULT_IN_FLIGHT);
  const counters: Counters & CoordinatorCounters = {
    get inFlight() {
      return inFlight.count;
    },
    writes: 0,
    reads: 0,
    scans: 0,
    rounds: 0,
    repairs: 0,
    hedges: 0,
    shed: 0,
    driftRefusals: 0,
  };
  const context: Context = {
    nodeId,
    lives: options.lives ?? ONE_LIFE,
    clock,
    timers: options.timers,
    inFlight,
    hedges: new HedgeBudget(),
    counters,
    observe: options.observe,
    owed: options.owed ?? (() => {}),
    get rounds(): Rounds {
      return rounds;
    },
  };
  const quarantine = (): KvError =>
    new KvError('QUARANTINED', `the clock of ${nodeId} is too far from its peers`);
  const stamp = (): Promise<Version> =>
    // Not even taken: a stamp of a wrong clock would keep the node's versions ahead after the clock is right again.
    options.quarantined() ? Promise.reject(quarantine()) : options.stamp();
  const { timers, random } = options;
  const rounds = new LinearRounds({ context, timers, random, stamp, maxDriftMs });
  const peers = new Map<string, PeerState>();
  let table: RouteTable | undefined;
  let plans: ScanPlans | undefined;
  let isStopping = false;

  const events: PeerStateEvents = {
    onBreaker(peerId, isOpen) {
      if (isOpen) log.warn({ peer: peerId }, 'peer keeps failing: its circuit breaker is open');
      else log.info({ peer: peerId }, 'peer answers again: its circuit breaker is closed');
    },
    onAlive: options.onAlive ?? (() => {}),
  };

  const peerState = (member: Member): PeerState => {
    let state = peers.get(member.id);
    if (state === undefined) {
      const peer = options.peerOf(member.id);
      state = new PeerState(peer, member, member.id === nodeId, clock, events);
      peers.set(member.id, state);
    }
    return state;
  };

  const routes = (): RouteTable => {
    const placement = options.placement();
    if (table === undefined || table.placement !== placement) {
      table = createRouteTable(placement, placement.members.map(peerState));
      plans = undefined;
    }
    return table;
  };

  /** Why nothing may be begun that weighs `bytes` and has until `deadlineMs`; undefined when it may. */
  const closedDoor = (bytes: number, deadlineMs: number, nowMs: number): KvError | undefined => {
    if (isStopping) return new KvError('UNAVAILABLE', `${nodeId} is stopping`);
    if (!inFlight.hasRoom(bytes)) {
      counters.shed++;
      return new KvError('OVERLOADED', `${nodeId} has ${inFlight.count} operations under way`);
    }
    return nowMs < deadlineMs
      ? undefined
      : new KvError('TIMED_OUT', 'the deadline had passed when the operation came');
  };

  const put = (operation: Operation, nowMs: number): KvError | undefined => {
    const keyHash = hash32(operation.key);
    const version = checkPut(operation, keyHash, limits);
    if (version instanceof KvError) return version;
    if (options.quarantined()) {
      return quarantine();
    }
    const drift = checkStamp(version, clock.wallMs(), maxDriftMs);
    if (drift !== undefined) {
      counters.driftRefusals++;
      return drift;
    }
    const route = routeOf(routes(), keyHash);
    const level = levelOn(route, operation.level, operation.zone);
    if (level instanceof KvError) return level;
    counters.writes++;
    options.observe(version);
    if (operation.level === 'LINEARIZABLE') rounds.carryOut(operation, keyHash, route, level);
    else new WriteOperation(context, operation, keyHash, route, level, nowMs).start();
    return undefined;
  };

  const outcome = (operation: Operation): KvError | undefined => {
    const bad = checkOutcome(operation, limits);
    if (bad !== undefined) return bad;
    const keyHash = hash32(operation.key);
    const route = routeOf(routes(), keyHash);
    const level = levelOn(route, operation.level, operation.zone);
    if (level instanceof KvError) return level;
    options.observe(readVersion(operation.minVersion, 0));
    rounds.carryOut(operation, keyHash, route, level);
    return undefined;
  };

  const begin = (operation: Operation, nowMs: number): KvError | undefined => {
    switch (operation.kind) {
      case 'get':
        return get(operation, nowMs);
      case 'put':
        return put(operation, nowMs);
      case 'outcome':
        return outcome(operation);
    }
  };

  const get = (operation: Operation, nowMs: number): KvError | undefined => {
    const bad = checkGet(operation, limits);
    if (bad !== undefined) return bad;
    const keyHash = hash32(operation.key);
    counters.reads++;
    return read(operation, keyHash, nowMs);
  };

  const read = (operation: Operation, keyHash: number, nowMs: number): KvError | undefined => {
    const route = routeOf(routes(), keyHash);
    const level = levelOn(route, operation.level, operation.zone);
    if (level instanceof KvError) return level;
    new ReadOperation(context, operation, keyHash, route, level, nowMs).start();
    return undefined;
  };

  /** A key of a scan on which replicas differ is read again like any other; the scan has been let in already. */
  const readAgain = (
    request: NodeScan,
    deadlineMs: number,
    key: Uint8Array,
    keyHash: number,
    minVersion: Uint8Array,
  ): Promise<NodeAnswer> =>
    new Promise((resolve) => {
      const operation = readOf(key, minVersion, request, deadlineMs, resolve);
      const refused = read(operation, keyHash, clock.monotonicMs());
      if (refused !== undefined) resolve(refusal(refused));
    });

  return {
    counters,

    execute(operation) {
      const nowMs = clock.monotonicMs();
      const bytes = operation.key.length + operation.record.length;
      const refused = closedDoor(bytes, operation.deadlineMs, nowMs) ?? begin(operation, nowMs);
      if (refused !== undefined) operation.onAnswer(refusal(refused));
    },

    cancel(operation) {
      inFlight.find(operation)?.cancel();
    },

    scan(request, deadlineMs, signal) {
      const nowMs = clock.monotonicMs();
      const refused = closedDoor(0, deadlineMs, nowMs) ?? checkScan(request, limits);
      if (refused !== undefined) return Promise.resolve(failureOf(refused));
      const current = routes();
      plans ??= new ScanPlans(current);
      const scan = new ScanOperation(
        context,
        current,
        plans,
        options.clusterId,
        request,
        deadlineMs,
        (key, keyHash, minVersion) => readAgain(request, deadlineMs, key, keyHash, minVersion),
      );
      counters.scans++;
      scan.start();
      if (signal === undefined) return scan.answer;
      const onAbort = (): void => scan.cancel();
      if (signal.aborted) onAbort();
      signal.addEventListener('abort', onAbort, { once: true });
      return scan.answer.finally(() => signal.removeEventListener('abort', onAbort));
    },

    async explain(key, deadlineMs) {
      const nowMs = clock.monotonicMs();
      const refused = checkKey(key, limits) ?? closedDoor(key.length, deadlineMs, nowMs);
      if (refused !== undefined) throw refused;
      const keyHash = hash32(key);
      const route = routeOf(routes(), keyHash);
      const explanation = new Explanation(inFlight, key, keyHash, route, deadlineMs, nowMs);
      explanation.start();
      return explanation.copies;
    },

    stamp,

    drain(graceMs) {
      isStopping = true;
      return new Promise((resolve) => {
        const cancelGrace = options.timers.after(graceMs, resolve);
        inFlight.whenEmpty(() => {
          cancelGrace();
          resolve();
        });
      });
    },

    pinged(peerId, roundTripMs) {
      routes();
      const state = peers.get(peerId);
      if (state === undefined) return;
      if (roundTripMs === undefined) {
        state.failing(clock.monotonicMs());
        return;
      }
      state.latency.observe(roundTripMs);
      state.alive();
    },

    believed(peerId, standing) {
      routes();
      const state = peers.get(peerId);
      if (state !== undefined && !state.local) state.standing = standing;
    },

    settle: (key, above, deadlineMs) =>
      new Promise((resolve) => {
        const operation = readOf(key, NO_BYTES, LINEARIZABLE, deadlineMs, resolve);
        const keyHash = hash32(key);
        const route = routeOf(routes(), keyHash);
        const level = levelOn(route, operation.level, operation.zone);
        if (isStopping || options.quarantined() || level instanceof KvError)
          resolve(refusal(quarantine()));
        else rounds.read(operation, keyHash, route, level, above);
      }),

    tripped: (peerId) => peers.get(peerId)?.breaker.closed === false,

    reaches(peerId) {
      routes();
      return peers.get(peerId)?.peer.connected === true;
    },
  };
}

/** A read that the node itself asks for, the way `asked` says. */
function readOf(
  key: Uint8Array,
  minVersion: Uint8Array,
  asked: Pick<Operation, 'level' | 'zone' | 'traceparent'>,
  deadlineMs: number,
  onAnswer: (answer: NodeAnswer) => void,
): Operation {
  const { level, zone, traceparent } = asked;
  return {
    kind: 'get',
    key,
    record: NO_BYTES,
    minVersion,
    expect: NO_BYTES,
    level,
    zone,
    deadlineMs,
    receipt: false,
    traceparent,
    onAnswer,
  };
}
