import { clusterIdOf } from './core/cluster-id.js';
import { DEFAULT_LIMITS, type Limits } from './core/limits.js';
import type { PartitionSet } from './core/partition-set.js';
import { createPlacement, type Member } from './core/placement.js';
import { createCoordinator, type NodeCoordinator } from './coordinator/coordinator.js';
import { sharedPartitions } from './core/shared-partitions.js';
import { DEFAULT_TEMPO, type Tempo } from './core/tempo.js';
import type { Clock } from './io/clock.js';
import type { Welcome } from './io/link.js';
import type { Log } from './io/log.js';
import type { Peer, PeerEvents } from './io/peer.js';
import type { Random } from './io/random.js';
import type { StoreOpener } from './io/store.js';
import type { Timers } from './io/timers.js';
import { startAntiEntropy, type AntiEntropy } from './maintenance/anti-entropy.js';
import { startClockWatch, type ClockWatch } from './maintenance/clock-watch.js';
import { ExchangeTurns } from './maintenance/exchange-turns.js';
import { Foreground } from './maintenance/foreground.js';
import { startHintDelivery, type HintDelivery } from './maintenance/hint-delivery.js';
import { answerOwe, HintKeepers } from './maintenance/hint-keepers.js';
import type { HintsStatus } from './replica/hints.js';
import { openLocalReplica, type LocalReplica } from './replica/local-replica.js';

/** What a node must know of itself and its cluster. */
export interface NodeIdentity {
  readonly cluster: string;
  readonly node: string;
  /** The first member list, the same on every node. */
  readonly members: readonly Member[];
  readonly replication: number;
  readonly maxDriftMs: number;
  readonly maxValueBytes: number;
  /** Default: {@link DEFAULT_TEMPO}. */
  readonly tempo?: Tempo;
}

/** Everything that a node touches of the world. The simulation gives its own. */
export interface NodePorts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly log: Log;
  readonly opener: StoreOpener;
  /** The way to another member. Connects by itself, again and again, and stays the caller's to close. */
  readonly peerTo: (member: Member, events: PeerEvents) => Peer;
}

/** A node put together, without a server: it coordinates, stores and watches its clock. */
export interface Node {
  readonly clusterId: string;
  readonly coordinator: NodeCoordinator;
  readonly replica: LocalReplica;
  readonly watch: ClockWatch;
  /** What other replicas are owed, as far as this node knows. */
  hints(): HintsStatus;
  readonly antiEntropy: AntiEntropy;
  /** Comparisons with others that this node begins: one at a time. */
  readonly exchanges: ExchangeTurns;
  /** What the node tells whoever connects. */
  welcome(): Welcome;
  /** Answers what is under way, for up to `graceMs`, and closes the data folder. Peers are closed by whoever made them. */
  stop(graceMs: number): Promise<void>;
}

/** Opens the data folder and puts the parts together. Rejects with a KvError when the folder is not to be had. */
export async function createNode(identity: NodeIdentity, ports: NodePorts): Promise<Node> {
  const { clock, timers, random, log } = ports;
  const { node: nodeId, cluster: clusterName, members, replication, maxDriftMs } = identity;
  const clusterId = clusterIdOf(clusterName, members, replication);
  const limits: Limits = { ...DEFAULT_LIMITS, maxValueBytes: identity.maxValueBytes };
  const placement = createPlacement(members, replication);

  // The replica and the watch need each other: until there is a watch, no clock has been found wrong.
  let watch: ClockWatch | undefined;
  const quarantined = () => watch?.quarantined() ?? false;
  const replica = await openLocalReplica({
    opener: ports.opener,
    identity: { clusterId, clusterName, nodeId },
    clock,
    timers,
    random,
    log,
    maxDriftMs,
    placementVersion: () => placement.version,
    quarantined,
  });

  // No clock is trusted for longer than it takes to ask: a node that starts with a wrong one is told so at once.
  let antiEntropy: AntiEntropy | undefined;
  let delivery: HintDelivery | undefined;
  const eventsOf = (peerId: string): PeerEvents => ({
    onConnected() {
      watch?.measure().catch((error: unknown) => {
        log.error({ err: error }, 'measuring the clocks of the peers failed');
      });
      delivery?.onConnected(peerId);
      antiEntropy?.connected(peerId);
    },
    onLives: () => {},
    onCommitCounter: () => {},
  });
  const peers = new Map<string, Peer>([[nodeId, replica]]);
  for (const member of members) {
    if (member.id !== nodeId) peers.set(member.id, ports.peerTo(member, eventsOf(member.id)));
  }
  const peerOf = (id: string): Peer | undefined => peers.get(id);
  const hintKeepers = new HintKeepers({ peerOf, clock, timers });
  replica.answer(
    'owe',
    answerOwe(replica.hints, limits, (id) => id !== nodeId && peers.has(id)),
  );
  const coordinator = createCoordinator({
    nodeId,
    clusterId,
    placement: () => placement,
    peerOf: (id) => peers.get(id) as Peer,
    owed(id, key, keeper) {
      if (keeper === nodeId) replica.hints.mark(id, key);
      else hintKeepers.owe(keeper, id, key);
    },
    clock,
    timers,
    limits,
    maxDriftMs,
    stamp: () => replica.stamp(),
    observe: (version) => void replica.hlc.observe(version),
    quarantined,
    log,
  });
  const others = [...peers.values()].filter((peer) => peer !== replica);
  watch = startClockWatch({
    peers: () => others,
    clock,
    timers,
    maxDriftMs,
    onPing: (id, roundTripMs) => coordinator.pinged(id, roundTripMs),
    log,
  });
  const { counters } = coordinator;
  delivery = startHintDelivery({
    keeper: replica,
    peerOf,
    placementVersion: () => placement.version,
    busy: () => counters.inFlight > 0,
    clock,
    timers,
  });
  const exchanges = new ExchangeTurns({
    self: replica,
    clock,
    timers,
    placementVersion: () => placement.version,
    begin: () => replica.compared.beginExchange(),
  });
  const foreground = new Foreground({
    clock,
    underWay: () => counters.inFlight,
    begun: () => counters.reads + counters.scans + replica.writesTaken,
  });
  const shared = new Map(
    others.map((peer) => [peer.nodeId, sharedPartitions(placement, nodeId, peer.nodeId)]),
  );
  antiEntropy = startAntiEntropy({
    turns: exchanges,
    peers: () => others,
    sharedWith: (id) => shared.get(id) as PartitionSet,
    tempo: identity.tempo ?? DEFAULT_TEMPO,
    clock,
    timers,
    random,
    log,
    busy: () => foreground.busy,
  });

  return {
    clusterId,
    coordinator,
    replica,
    watch,
    hints() {
      const { owed, delivered, dropped } = replica.hints.status();
      return { owed, delivered, dropped: dropped + hintKeepers.dropped };
    },
    antiEntropy,
    exchanges,
    welcome: () => ({
      nodeId,
      clusterName,
      clusterId,
      members: placement.members,
      replicationFactor: replication,
      placementVersion: placement.version,
      wallMs: clock.wallMs(),
      quarantined: quarantined(),
      maxDriftMs,
      maxKeyBytes: limits.maxKeyBytes,
      maxValueBytes: limits.maxValueBytes,
    }),
    async stop(graceMs) {
      await coordinator.drain(graceMs);
      watch.stop();
      delivery.stop();
      hintKeepers.stop();
      antiEntropy.stop();
      await exchanges.stop();
      await replica.close();
    },
  };
}
