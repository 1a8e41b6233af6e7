import {
  MAX_RUMOURS,
  Membership,
  type MemberBelief,
  type MemberStatus,
  type Rumour,
} from '../core/membership.js';
import type { Member } from '../core/placement.js';
import type { Clock } from '../io/clock.js';
import type { Log } from '../io/log.js';
import {
  isReplicaFailure,
  type Peer,
  type PingAnswer,
  type PingRequest,
  type ReplicaFailure,
} from '../io/peer.js';
import type { AskReply } from '../io/peer-asks.js';
import type { Random } from '../io/random.js';
import type { CancelTimer, Timers } from '../io/timers.js';
import { Probe, sleptSince, type ProbePorts } from './probe.js';
import { Waits } from './waits.js';

/** Members probed in one round at most. With no more others than that, each is in every round. */
const PROBES = 8;
/** Of those, this many may go to suspects: what decides about them comes soon, and the others still have their turn. */
const SUSPECT_PROBES = 2;
/** Pings out of turn in one round at most: to members about whom there is bad news. */
const EXTRA_PINGS = 4;
/** Others that are asked to ping whoever did not answer. */
const RELAYS = 3;
/** A seed has so many rounds to be connected to and to answer. */
const SEED_ROUNDS = 5;

export interface GossipOptions {
  readonly nodeId: string;
  /** The agreed list; the node's own entry says where others reach it. */
  readonly members: readonly Member[];
  /** The way to each other member. */
  readonly peers: readonly Peer[];
  /** Between two rounds. */
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly log: Log;
  /** A round begins. */
  readonly onRound?: () => void;
  /** A peer answered a ping that was sent at `sentAtMs` of the monotonic clock. */
  readonly onPong?: (nodeId: string, pong: PingAnswer, sentAtMs: number) => void;
  /** What came of a ping: its round trip, or undefined when there was no answer. For breakers and latencies. */
  readonly onPing?: (nodeId: string, roundTripMs: number | undefined) => void;
  /** Requests are to be steered by this from now on; at the start everybody is alive. */
  readonly onStanding?: (nodeId: string, standing: MemberStatus) => void;
  /** The member is at another address now. */
  readonly onMoved?: (nodeId: string, address: string) => void;
  /** Addresses to ask for news while no member can be reached: the member list may be older than where they are now. */
  readonly seeds?: readonly string[];
  /** Asks whoever is at the address for all that it knows of the members. */
  readonly askSeed?: AskSeed;
}

export type AskSeed = (
  address: string,
  deadlineMs: number,
) => Promise<AskReply<'members'> | ReplicaFailure>;

/**
 * Who is there, and where: the failure detector and the gossip of one node, by SWIM (Das, Gupta and Motivala 2002; rules in
 * core/membership.ts). One loop sends all pings of the node: each round to a bounded number of members, in an order shuffled
 * anew for each pass. Who does not answer within what its link is used to is pinged through three others, and who has not
 * answered anybody by the end of the round is suspected. Time is counted in rounds during which this node was awake, so
 * neither a clock that jumps nor a process that was stopped declares anybody dead.
 */
export class Gossip {
  readonly #options: GossipOptions;
  readonly #members: Membership;
  readonly #probes: readonly Probe[];
  readonly #probeOf: ReadonlyMap<string, Probe>;
  readonly #waits: Waits;
  readonly #stopRounds: CancelTimer;
  /** What was told last, where it differs from `alive`. */
  readonly #standings = new Map<string, MemberStatus>();
  /** The order of this pass over the others, and how far it has come. */
  #pass: readonly Probe[] = [];
  #turn = 0;
  #rounds = 0;
  #roundAtMs: number;
  #extraPings = EXTRA_PINGS;
  #mayAskMembers = true;
  #askingSeed = false;

  /** Starts at once with a first round. */
  constructor(options: GossipOptions) {
    const { nodeId, members, clock, timers, intervalMs } = options;
    this.#options = options;
    this.#roundAtMs = clock.monotonicMs();
    this.#members = new Membership(nodeId, Math.max(1, clock.wallMs()), members, this.#roundAtMs);
    this.#waits = new Waits(clock, timers);
    const ports: ProbePorts = {
      nodeId,
      intervalMs,
      clock,
      waits: this.#waits,
      news: (to) => this.#members.news(to),
      take: (rumours) => this.#take(rumours),
      onPong: options.onPong ?? (() => {}),
      onPing: options.onPing ?? (() => {}),
      onAnswered: (probe) => this.#settle(probe),
      onMissed: (probe) => this.#onMissed(probe),
    };
    this.#probes = options.peers.map((peer) => new Probe(peer, ports));
    this.#probeOf = new Map(this.#probes.map((probe) => [probe.nodeId, probe]));
    this.#stopRounds = timers.every(intervalMs, () => this.#round());
    this.#round();
  }

  /** Takes what the sender of a ping says, and gives what it is to be answered. */
  exchange({ from, rumours }: PingRequest): readonly Rumour[] {
    if (!this.#probeOf.has(from)) return [];
    this.#take(rumours.slice(0, MAX_RUMOURS));
    return this.#members.news(
      from,
      rumours.find(({ nodeId }) => nodeId === from),
    );
  }

  /** Whether this node can reach `target`, for a node that cannot: SWIM's indirect probe. */
  async reaches(target: string, deadlineMs: number): Promise<boolean> {
    if (target === this.#options.nodeId) return true;
    return this.#probeOf.get(target)?.ping(deadlineMs) ?? false;
  }

  /** All that this node knows of all members. */
  get rumours(): readonly Rumour[] {
    return this.#members.all;
  }

  /** Rumours of nodes that are no members, ignored. */
  get strangers(): number {
    return this.#members.strangers;
  }

  /** How often others had it wrong about this node, and were told so. */
  get refutations(): number {
    return this.#members.refutations;
  }

  /** Where the member is; undefined when there is no such member. */
  addressOf(nodeId: string): string | undefined {
    return this.#members.of(nodeId)?.address;
  }

  /** What this node believes of each member, itself included, in the order of ids. */
  beliefs(): readonly MemberBelief[] {
    const nowMs = this.#options.clock.monotonicMs();
    return this.#members.all.map((rumour) => {
      const { nodeId } = rumour;
      const { heardAtMs = -Infinity } = this.#probeOf.get(nodeId) ?? {};
      return {
        ...rumour,
        forMs: nowMs - this.#members.sinceMs(nodeId),
        phi: this.#probeOf.get(nodeId)?.phi(nowMs) ?? 0,
        heardAgoMs: heardAtMs === -Infinity ? undefined : nowMs - heardAtMs,
      };
    });
  }

  /** The way to the member is open: it is pinged at once, and once in a round somebody new is asked for all it knows. */
  connected(nodeId: string): void {
    const probe = this.#probeOf.get(nodeId);
    if (probe === undefined || this.#waits.stopped) return;
    const deadlineMs = this.#options.clock.monotonicMs() + this.#options.intervalMs;
    void probe.ping(deadlineMs);
    if (!this.#mayAskMembers) return;
    this.#mayAskMembers = false;
    void this.#learnFrom(probe.peer.ask('members', { from: this.#options.nodeId }, deadlineMs));
  }

  /** The member has answered a request. If it is not believed to be alive, it is told so at once, and can refute it. */
  heard(nodeId: string): void {
    const probe = this.#probeOf.get(nodeId);
    if (probe === undefined || this.#waits.stopped) return;
    probe.answered();
    if (this.#members.of(nodeId)?.status !== 'alive') this.#pingOutOfTurn(probe);
  }

  stop(): void {
    this.#stopRounds();
    this.#waits.stop();
  }

  #round(): void {
    const { clock, intervalMs, onRound, log } = this.#options;
    const nowMs = clock.monotonicMs();
    if (sleptSince(this.#roundAtMs + intervalMs, nowMs, intervalMs)) this.#members.forgiveSleep();
    this.#roundAtMs = nowMs;
    this.#rounds++;
    this.#extraPings = EXTRA_PINGS;
    this.#mayAskMembers = true;
    onRound?.();
    for (const nodeId of this.#members.passRound((id) => this.#hasAnswered(id), nowMs)) {
      log.warn({ peer: nodeId }, `${nodeId} is dead: it has not refuted that it is suspected`);
      this.#settle(this.#probeOf.get(nodeId));
    }
    for (const probe of this.#targets()) {
      // At the start links are only opening: that one is not open yet is no reason to suspect anybody.
      if (this.#rounds === 1) void probe.ping(nowMs + intervalMs);
      else void probe.run(() => this.#relaysFor(probe));
    }
    this.#askSeed();
  }

  /** Whom to probe in this round. */
  #targets(): Iterable<Probe> {
    if (this.#probes.length <= PROBES) return this.#probes;
    const { suspects } = this.#members;
    const targets = new Set<Probe>();
    for (let i = 0; i < Math.min(suspects.length, SUSPECT_PROBES); i++) {
      const nodeId = suspects[(this.#rounds * SUSPECT_PROBES + i) % suspects.length] as string;
      targets.add(this.#probeOf.get(nodeId) as Probe);
    }
    while (targets.size < PROBES) {
      if (this.#turn === this.#pass.length) {
        this.#pass = this.#some(this.#probes, this.#probes.length);
        this.#turn = 0;
      }
      targets.add(this.#pass[this.#turn++] as Probe);
    }
    return targets;
  }

  /** Only who was believed to be alive is worth the others' work. */
  #relaysFor({ nodeId }: Probe): readonly Probe[] {
    if (this.#members.of(nodeId)?.status !== 'alive') return [];
    const able = this.#probes.filter(
      (probe) =>
        probe.nodeId !== nodeId && probe.peer.connected && !this.#standings.has(probe.nodeId),
    );
    return this.#some(able, RELAYS);
  }

  #onMissed(probe: Probe): void {
    const { nodeId } = probe;
    if (this.#members.suspect(nodeId, probe.missedAtMs)) {
      this.#options.log.info({ peer: nodeId }, `${nodeId} is suspected: it answers nobody`);
    }
    this.#settle(probe);
  }

  #take(rumours: readonly Rumour[]): void {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const rumour of rumours) {
      const { nodeId } = rumour;
      const before = this.#members.of(nodeId);
      const fate = this.#members.take(rumour, nowMs);
      if (fate === 'refuted') {
        log.info({ said: rumour.status }, 'others had it wrong about this node, and are told so');
      }
      if (fate === 'news') this.#onNews(this.#probeOf.get(nodeId) as Probe, before as Rumour);
    }
  }

  #onNews(probe: Probe, before: Rumour): void {
    const { nodeId } = probe;
    const { address, status } = this.#members.of(nodeId) as Rumour;
    if (address !== before.address) {
      this.#options.log.info({ peer: nodeId, address }, `${nodeId} has moved`);
      this.#options.onMoved?.(nodeId, address);
    }
    this.#settle(probe);
    // Somebody cannot reach it. If this node can, it hears of it sooner, and refutes it.
    if (status !== 'alive') this.#pingOutOfTurn(probe);
  }

  #pingOutOfTurn(probe: Probe): void {
    if (this.#extraPings === 0 || probe.pinging) return;
    this.#extraPings--;
    void probe.ping(this.#options.clock.monotonicMs() + this.#options.intervalMs);
  }

  /** It has answered this node since it came to be believed what it is. */
  #hasAnswered(nodeId: string): boolean {
    const heardAtMs = this.#probeOf.get(nodeId)?.heardAtMs ?? -Infinity;
    return heardAtMs >= this.#members.sinceMs(nodeId);
  }

  /** Tells how requests are to be steered, when that has changed. */
  #settle(probe: Probe | undefined): void {
    if (probe === undefined) return;
    const { nodeId } = probe;
    const standing = this.#standingOf(probe);
    if (standing === (this.#standings.get(nodeId) ?? 'alive')) return;
    if (standing === 'alive') this.#standings.delete(nodeId);
    else this.#standings.set(nodeId, standing);
    this.#options.onStanding?.(nodeId, standing);
  }

  /**
   * What the node has heard itself goes before rumours: a member that has answered since is alive, and one whose link stands
   * is not taken for dead before that link has failed too.
   */
  #standingOf({ nodeId, peer, missedAtMs }: Probe): MemberStatus {
    const status = this.#members.of(nodeId)?.status ?? 'alive';
    if (status === 'alive' || this.#hasAnswered(nodeId)) return 'alive';
    const hasFailed = !peer.connected || missedAtMs >= this.#members.sinceMs(nodeId);
    return status === 'dead' && !hasFailed ? 'suspect' : status;
  }

  /** `count` of them, or all when there are fewer, in any order (Fisher and Yates). */
  #some(probes: readonly Probe[], count: number): readonly Probe[] {
    const drawn = [...probes];
    const size = Math.min(count, drawn.length);
    for (let i = 0; i < size; i++) {
      const j = i + Math.floor(this.#options.random.fraction() * (drawn.length - i));
      [drawn[i], drawn[j]] = [drawn[j] as Probe, drawn[i] as Probe];
    }
    return drawn.slice(0, size);
  }

  /** While nobody can be reached, one seed after the other is asked where everybody is. */
  #askSeed(): void {
    const { seeds = [], askSeed, clock, intervalMs } = this.#options;
    const seed = seeds[this.#rounds % seeds.length];
    if (seed === undefined || askSeed === undefined || this.#askingSeed) return;
    if (this.#probes.length === 0 || this.#probes.some(({ peer }) => peer.connected)) return;
    this.#askingSeed = true;
    const deadlineMs = clock.monotonicMs() + SEED_ROUNDS * intervalMs;
    void this.#learnFrom(askSeed(seed, deadlineMs)).finally(() => {
      this.#askingSeed = false;
    });
  }

  async #learnFrom(reply: Promise<AskReply<'members'> | ReplicaFailure>): Promise<void> {
    const answer = await reply;
    if (!isReplicaFailure(answer) && !this.#waits.stopped) this.#take(answer.members);
  }
}
