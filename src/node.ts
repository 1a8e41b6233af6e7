import { clusterIdOf } from './core/cluster-id.js';
import { DEFAULT_LIMITS, type Limits } from './core/limits.js';
import type { MemberBelief } from './core/membership.js';
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
import { replicaGroups } from './core/replica-groups.js';
import { IntroducedPeer } from './replica/introduced-peer.js';
import { startAdmission, type Admission } from './maintenance/admission.js';
import { Refill } from './maintenance/refill.js';
import { startAntiEntropy, type AntiEntropy } from './maintenance/anti-entropy.js';
import { createClockWatch, type ClockWatch } from './maintenance/clock-watch.js';
import { CatchUp } from './maintenance/catch-up.js';
import { startFenceRounds, type FenceRounds } from './maintenance/fence-round.js';
import { ExchangeTurns } from './maintenance/exchange-turns.js';
import { Foreground } from './maintenance/foreground.js';
import { Gossip, type AskSeed } from './maintenance/gossip.js';
import { startMending } from './maintenance/mend.js';
import { startSettling } from './maintenance/settle-rounds.js';
import { startScrub } from './maintenance/scrub.js';
import { startHintDelivery, type HintDelivery } from './maintenance/hint-delivery.js';
import { answerOwe, HintKeepers } from './maintenance/hint-keepers.js';
import type { HintsStatus } from './replica/hints.js';
import { verify, type VerifyOptions, type VerifyReport } from './maintenance/verify.js';
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
  /** Addresses of nodes to ask where the members are now, when the list is older than that. Default: none. */
  readonly seeds?: readonly string[];
  /** A person's word that what the data folder holds is all there is, though the node may have forgotten. Default: false. */
  readonly trustFolder?: boolean;
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
  /** The member is at another address now: its peer is to go there. */
  readonly onMoved?: (nodeId: string, address: string) => void;
  /** Asks whoever is at the address, a seed, for all that it knows of the members. */
  readonly askSeed?: AskSeed;
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
  /** Lets deletes be forgotten. */
  readonly fenceRounds: FenceRounds;
  /** Compares all replicas of all partitions with each other, and changes nothing. */
  verify(options: VerifyOptions): Promise<VerifyReport>;
  /** What this node believes of each member, itself included, in the order of ids. */
  beliefs(): readonly MemberBelief[];
  /** The ids of the replicas of a partition, in the order of its preference list. */
  replicasOf(partition: number): readonly string[];
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
  const placementVersion = (): number => placement.version;
  const tempo = identity.tempo ?? DEFAULT_TEMPO;

  const others = members.map(({ id }) => id).filter((id) => id !== nodeId);
  const watch = createClockWatch({ peers: () => others, clock, maxDriftMs, log });
  const quarantined = () => watch.quarantined();

  // The replica and gossip need each other: until there is gossip, there is nothing to tell.
  let gossip: Gossip | undefined;
  const replica = await openLocalReplica({
    opener: ports.opener,
    identity: { clusterId, clusterName, nodeId },
    clock,
    timers,
    random,
    log,
    maxDriftMs,
    placementVersion,
    quarantined,
    fenceLagMs: tempo.fenceLagMs,
    longestRequestMs: tempo.longestRequestMs,
    gossip: (request) => gossip?.exchange(request) ?? [],
    trustFolder: identity.trustFolder ?? false,
  });

  const catchUp = new CatchUp(clock, (id) => replica.hints.owedTo(id));
  replica.compared.waitsFor((id) => catchUp.isUnderWay(id));
  let antiEntropy: AntiEntropy | undefined;
  let delivery: HintDelivery | undefined;
  let admission: Admission | undefined;
  const introduced = new Map<string, IntroducedPeer>();
  for (const member of members) {
    if (member.id === nodeId) continue;
    const peer = new IntroducedPeer({
      nodeId: member.id,
      connect: (events) => ports.peerTo(member, events),
      clock,
      timers,
      memory: replica.memory,
      introduction: () => replica.introductions.introduction(member.id, nodeId),
      // No clock is trusted for longer than it takes to ask: a node that starts with a wrong one is told so at once.
      onReachable: () => gossip?.connected(member.id),
      onMet: (reply) => admission?.met(member.id, reply),
      onIntroduced() {
        catchUp.connected(member.id);
        delivery?.onConnected(member.id);
        antiEntropy?.connected(member.id);
      },
    });
    introduced.set(member.id, peer);
  }
  replica.memory.onLaterLife = (id) => introduced.get(id)?.outlived();
  replica.answer('introduce', async (request) => {
    const reply = replica.introductions.introduce(request);
    introduced.get(request.nodeId)?.heard(request);
    return reply;
  });
  const peers = new Map<string, Peer>([[nodeId, replica], ...introduced]);
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
    lives: replica.memory,
    clock,
    timers,
    random,
    limits,
    maxDriftMs,
    stamp: () => replica.stamp(),
    observe: (version) => void replica.hlc.observe(version),
    quarantined,
    onAlive: (id) => gossip?.heard(id),
    log,
  });
  const otherPeers = [...introduced.values()];
  const { onMoved, askSeed } = ports;
  const started = new Gossip({
    nodeId,
    members,
    peers: otherPeers.map(({ way }) => way),
    intervalMs: tempo.gossipMs,
    clock,
    timers,
    random,
    log,
    onRound: () => watch.judge(),
    onPong: (id, pong, sentAtMs) => watch.heard(id, pong, sentAtMs),
    onPing: (id, roundTripMs) => coordinator.pinged(id, roundTripMs),
    onStanding: (id, standing) => coordinator.believed(id, standing),
    seeds: identity.seeds ?? [],
    ...(onMoved === undefined ? {} : { onMoved }),
    ...(askSeed === undefined ? {} : { askSeed }),
  });
  gossip = started;
  replica.answer('probe', async ({ target }, deadlineMs) => ({
    kind: 'reply',
    reached: await started.reaches(target, deadlineMs),
  }));
  replica.answer('members', async () => ({ kind: 'reply', members: started.rumours }));
  const { counters } = coordinator;
  const exchanges = new ExchangeTurns({
    self: replica,
    clock,
    timers,
    placementVersion,
    begin: () => replica.compared.beginExchange(),
  });
  const foreground = new Foreground({
    clock,
    underWay: () => counters.inFlight,
    begun: () => counters.reads + counters.scans + replica.writesTaken,
  });
  delivery = startHintDelivery({
    keeper: replica,
    peerOf,
    placementVersion,
    busy: () => foreground.busy,
    clock,
    timers,
    log,
  });
  const shared = new Map(others.map((id) => [id, sharedPartitions(placement, nodeId, id)]));
  antiEntropy = startAntiEntropy({
    turns: exchanges,
    peers: () => otherPeers,
    sharedWith: (id) => shared.get(id) as PartitionSet,
    tempo,
    clock,
    timers,
    random,
    log,
    serving: () => replica.connected,
    busy: () => foreground.busy,
    isCatchingUp: (id) => catchUp.isUnderWay(id),
  });
  const fenceRounds = startFenceRounds({
    replica,
    turns: exchanges,
    peerOf,
    placement: () => placement,
    tempo,
    clock,
    timers,
    random,
    log,
    busy: () => foreground.busy,
    quarantined,
  });

  const { antiEntropyMs, scrubMs } = tempo;
  const stopMending = startMending({
    replica,
    placement: () => placement,
    peerOf,
    clock,
    timers,
    log,
    everyMs: antiEntropyMs,
  });
  const stopSettling = startSettling({
    replica,
    settle: (key, above, deadlineMs) => coordinator.settle(key, above, deadlineMs),
    clock,
    timers,
    random,
  });
  const stopScrub = startScrub({ replica, timers, random, log, everyMs: scrubMs });
  admission = startAdmission({
    replica,
    groups: replicaGroups(placement, nodeId),
    peerOf: (id) => introduced.get(id) as IntroducedPeer,
    tempo,
    sharedWith: (id) => shared.get(id) as PartitionSet,
    newRefill: (signal) => {
      const { whileRefilling: self, fences, sweeper, promiseAnswers: promises } = replica;
      const own = { self, fences, sweeper, promises };
      return new Refill({ ...own, clock, timers, placementVersion }, signal);
    },
    clock,
    timers,
    log,
  });
  replica.standing.onChange = () => {
    admission?.changed();
    for (const peer of otherPeers) peer.announce();
  };

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
    fenceRounds,
    verify: (options) =>
      verify(
        { nodeId, turns: exchanges, placement: () => placement, peerOf, clock, timers },
        options,
      ),
    beliefs: () => started.beliefs(),
    replicasOf: (partition) =>
      (placement.preference[partition] ?? []).map((at) => placement.members[at]?.id ?? ''),
    welcome: () => ({
      nodeId,
      clusterName,
      clusterId,
      members: placement.members.map((member) => ({
        ...member,
        address: started.addressOf(member.id) ?? member.address,
      })),
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
      started.stop();
      for (const peer of otherPeers) peer.close();
      await admission.stop();
      delivery.stop();
      hintKeepers.stop();
      antiEntropy.stop();
      fenceRounds.stop();
      await exchanges.stop();
      stopMending();
      stopScrub();
      stopSettling();
      await replica.close();
    },
  };
}
