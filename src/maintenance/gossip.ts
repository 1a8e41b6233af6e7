import { LinkRhythm } from '../core/failure-detector.js';
import {
  Membership,
  MAX_RUMOURS,
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

/** Peers pinged in one round at most. With no more others than that, each is in every round. */
const PINGS = 8;
/** Of those, this many may go to suspects: what decides about them comes soon, and the others still have their turn. */
const SUSPECT_PINGS = 2;
/** Pings out of turn in one round at most: of members about whom there is bad news. */
const EXTRA_PINGS = 4;
/** Others that are asked to probe whoever did not answer. */
const RELAYS = 3;
/** Parts of the time between rounds: see {@link LinkRhythm}. */
const UNTRIED_PARTS = 3;
const DEVIATION_PARTS = 40;
/** However slow a link is, it is not waited for longer than so many rounds before others are asked. */
const PATIENCE_ROUNDS = 5;
/** What should have happened this part of a round ago tells of the own sleep, and of nobody else. */
const SLEPT_PARTS = 2;

const UNREACHED = Promise.resolve(false);
const NEVER = new Promise<boolean>(() => {});

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
  /** Addresses to ask for news when no member can be reached: the member list may be older than where they are now. */
  readonly seeds?: readonly string[];
  /** Asks whoever is at the address for all that it knows of the members. */
  readonly askSeed?: (
    address: string,
    deadlineMs: number,
  ) => Promise<AskReply<'members'> | ReplicaFailure>;
}

/** What the node knows of one other member at first hand. */
interface View {
  readonly nodeId: string;
  readonly peer: Peer;
  readonly rhythm: LinkRhythm;
  /** The ping under way. Whoever wants to know meanwhile waits for it, so there is never more than one. */
  ping: Promise<boolean> | undefined;
  probing: boolean;
  /** Since when something asked of it has not been answered; undefined: it answers. */
  waitingSinceMs: number | undefined;
  heardAtMs: number;
  /** When a probe of it last failed, direct and indirect. */
  missedAtMs: number;
  standing: MemberStatus;
  address: string;
}

/**
 * Who is there, and where: the failure detector and the gossip of one node, by SWIM (Das, Gupta and Motivala 2002; rules in
 * core/membership.ts). One loop sends all pings of the node: each round to a bounded number of members, in an order shuffled
 * anew for each pass. Who does not answer within what its link is used to is probed through three others, and who has not
 * answered anybody by the end of the round is suspected. Time is counted in rounds during which this node was awake, so
 * neither a clock that jumps nor a process that was stopped declares anybody dead.
 */
export class Gossip {
  readonly #options: GossipOptions;
  readonly #members: Membership;
  readonly #views: readonly View[];
  readonly #viewOf: ReadonlyMap<string, View>;
  readonly #stop: CancelTimer;
  /** The order of this pass over the others, and how far it has come. */
  #pass: View[] = [];
  #turn = 0;
  #roundAtMs: number;
  #rounds = 0;
  #mayAskMembers = true;
  #extraPings = EXTRA_PINGS;
  /** What waits for a moment; each ends early when the node stops. */
  readonly #waits = new Set<() => void>();
  #askingSeed = false;
  #stopped = false;

  /** Starts at once with a first round. */
  constructor(options: GossipOptions) {
    const { nodeId, members, clock, timers, intervalMs } = options;
    this.#options = options;
    this.#roundAtMs = clock.monotonicMs();
    this.#members = new Membership(nodeId, Math.max(1, clock.wallMs()), members, this.#roundAtMs);
    const bounds = {
      untriedMs: intervalMs / UNTRIED_PARTS,
      leastDeviationMs: intervalMs / DEVIATION_PARTS,
      mostMs: PATIENCE_ROUNDS * intervalMs,
    };
    this.#views = options.peers.map((peer) => ({
      nodeId: peer.nodeId,
      peer,
      rhythm: new LinkRhythm(bounds),
      ping: undefined,
      probing: false,
      waitingSinceMs: undefined,
      heardAtMs: -Infinity,
      missedAtMs: -Infinity,
      standing: 'alive',
      address: this.#members.of(peer.nodeId)?.address ?? '',
    }));
    this.#viewOf = new Map(this.#views.map((view) => [view.nodeId, view]));
    this.#stop = timers.every(intervalMs, () => this.#round());
    this.#round();
  }

  /** Takes what the sender of a ping says, and gives what it is to be answered. */
  exchange({ from, rumours }: PingRequest): readonly Rumour[] {
    if (this.#members.of(from) === undefined) return [];
    this.#take(rumours.slice(0, 2 * MAX_RUMOURS));
    return this.#members.news(
      from,
      rumours.find(({ nodeId }) => nodeId === from),
    );
  }

  /** Whether this node can reach `target`, for a node that cannot: SWIM's indirect probe. */
  async reaches(target: string, deadlineMs: number): Promise<boolean> {
    if (target === this.#options.nodeId) return true;
    const view = this.#viewOf.get(target);
    return view !== undefined && this.#ping(view, deadlineMs);
  }

  /** All that this node knows of all members. */
  get rumours(): readonly Rumour[] {
    return this.#members.all;
  }

  /** Rumours of nodes that are no members, ignored. */
  get strangers(): number {
    return this.#members.strangers;
  }

  addressOf(nodeId: string): string | undefined {
    return this.#members.of(nodeId)?.address;
  }

  /** What this node believes of each member, itself included, in the order of ids. */
  beliefs(): readonly MemberBelief[] {
    const nowMs = this.#options.clock.monotonicMs();
    return this.#members.all.map((rumour) => {
      const view = this.#viewOf.get(rumour.nodeId);
      const waitingMs = nowMs - (view?.waitingSinceMs ?? nowMs);
      return {
        ...rumour,
        forMs: nowMs - this.#members.sinceMs(rumour.nodeId),
        phi: view === undefined || waitingMs === 0 ? 0 : view.rhythm.phi(waitingMs),
        heardAgoMs:
          view === undefined || view.heardAtMs === -Infinity ? undefined : nowMs - view.heardAtMs,
      };
    });
  }

  /** The way to the member is open: it is pinged at once, and once in a round somebody new is asked for all it knows. */
  connected(nodeId: string): void {
    const view = this.#viewOf.get(nodeId);
    if (view === undefined || this.#stopped) return;
    this.#pingAtOnce(view);
    if (!this.#mayAskMembers) return;
    this.#mayAskMembers = false;
    const request = { from: this.#options.nodeId };
    const deadlineMs = this.#options.clock.monotonicMs() + this.#options.intervalMs;
    void this.#learnFrom(view.peer.ask('members', request, deadlineMs));
  }

  /** The member has answered a request. If it is not believed to be alive, it is told so at once, and can refute it. */
  heard(nodeId: string): void {
    const view = this.#viewOf.get(nodeId);
    if (view === undefined || this.#stopped) return;
    this.#answered(view);
    if (this.#members.of(nodeId)?.status !== 'alive') this.#pingOutOfTurn(view);
  }

  stop(): void {
    this.#stopped = true;
    this.#stop();
    for (const end of this.#waits) end();
  }

  #round(): void {
    const { clock, intervalMs, onRound, log } = this.#options;
    const nowMs = clock.monotonicMs();
    if (this.#slept(this.#roundAtMs + intervalMs, nowMs)) this.#members.forgiveSleep();
    this.#roundAtMs = nowMs;
    this.#rounds++;
    this.#mayAskMembers = true;
    this.#extraPings = EXTRA_PINGS;
    onRound?.();
    const answers = (nodeId: string): boolean =>
      (this.#viewOf.get(nodeId)?.heardAtMs ?? nowMs) >= this.#members.sinceMs(nodeId);
    for (const nodeId of this.#members.passRound(answers, nowMs)) {
      log.warn({ peer: nodeId }, `${nodeId} is dead: it has not refuted that it is suspected`);
      this.#settle(this.#viewOf.get(nodeId));
    }
    for (const view of this.#targets()) void this.#probe(view);
    this.#askSeed();
  }

  /** Whom to ping in this round. */
  #targets(): readonly View[] {
    if (this.#views.length <= PINGS) return this.#views;
    const { suspects } = this.#members;
    const targets = new Set<View>();
    for (let i = 0; i < Math.min(suspects.length, SUSPECT_PINGS); i++) {
      const at = (this.#rounds * SUSPECT_PINGS + i) % suspects.length;
      targets.add(this.#viewOf.get(suspects[at] as string) as View);
    }
    while (targets.size < PINGS) {
      if (this.#turn === this.#pass.length) {
        this.#pass = this.#shuffled(this.#views);
        this.#turn = 0;
      }
      targets.add(this.#pass[this.#turn++] as View);
    }
    return [...targets];
  }

  /** Pings the member, and has others ping it when it is late. Suspects it when it has answered nobody. */
  async #probe(view: View): Promise<void> {
    if (view.probing || this.#stopped) return;
    view.probing = true;
    const { clock, intervalMs } = this.#options;
    const beganAtMs = clock.monotonicMs();
    const { timeoutMs } = view.rhythm;
    // Whatever the link is used to, the others have as long as it had, and half again.
    const endAtMs = beganAtMs + Math.max(intervalMs, 2.5 * timeoutMs);
    const direct = this.#ping(view, endAtMs);
    let reached = await this.#within(direct, beganAtMs + timeoutMs);
    const { nodeId } = view;
    if (!reached && this.#members.of(nodeId)?.status === 'alive') {
      const indirect = this.#relaysFor(view).map(async (relay) => {
        const answer = await relay.peer.ask('probe', { target: nodeId }, endAtMs);
        return answer.kind === 'reply' && answer.reached;
      });
      reached = await this.#within(anyOf([direct, ...indirect]), endAtMs);
    } else if (!reached) {
      reached = await this.#within(direct, endAtMs);
    }
    if (!reached) await this.#until(endAtMs);
    view.probing = false;
    const nowMs = clock.monotonicMs();
    if (reached || this.#stopped || view.heardAtMs >= beganAtMs) return;
    if (this.#slept(endAtMs, nowMs)) return;
    view.missedAtMs = nowMs;
    if (this.#members.suspect(nodeId, nowMs)) {
      this.#options.log.info({ peer: nodeId }, `${nodeId} is suspected: it answers nobody`);
    }
    this.#settle(view);
  }

  /** One ping. Resolves when it was answered, whatever with, or failed; never rejects. */
  #ping(view: View, deadlineMs: number): Promise<boolean> {
    if (view.ping !== undefined) return view.ping;
    if (!view.peer.connected || this.#stopped) {
      view.waitingSinceMs ??= this.#options.clock.monotonicMs();
      return UNREACHED;
    }
    const ping = this.#send(view, deadlineMs).finally(() => {
      view.ping = undefined;
    });
    view.ping = ping;
    return ping;
  }

  async #send(view: View, deadlineMs: number): Promise<boolean> {
    const { nodeId: from, clock, onPing, onPong } = this.#options;
    const { nodeId, peer } = view;
    const sentAtMs = clock.monotonicMs();
    view.waitingSinceMs ??= sentAtMs;
    const answer = await peer.ping({ from, rumours: this.#members.news(nodeId) }, deadlineMs);
    if (this.#stopped) return false;
    const roundTripMs = clock.monotonicMs() - sentAtMs;
    // A call that was not sent says nothing, and a refusal says that the peer lives.
    if (answer.kind === 'unreachable') return false;
    if (answer.kind === 'failed') {
      onPing?.(nodeId, undefined);
      return false;
    }
    onPing?.(nodeId, roundTripMs);
    view.rhythm.observe(roundTripMs);
    if (answer.kind === 'pong') {
      onPong?.(nodeId, answer, sentAtMs);
      this.#take(answer.rumours.slice(0, 2 * MAX_RUMOURS));
    }
    this.#answered(view);
    return true;
  }

  #pingAtOnce(view: View): void {
    const { clock, intervalMs } = this.#options;
    void this.#ping(view, clock.monotonicMs() + intervalMs);
  }

  #pingOutOfTurn(view: View): void {
    if (this.#extraPings > 0 && view.ping === undefined) {
      this.#extraPings--;
      this.#pingAtOnce(view);
    }
  }

  #answered(view: View): void {
    view.heardAtMs = this.#options.clock.monotonicMs();
    view.waitingSinceMs = undefined;
    this.#settle(view);
  }

  #take(rumours: readonly Rumour[]): void {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    for (const rumour of rumours) {
      const { nodeId } = rumour;
      const fate = this.#members.take(rumour, nowMs);
      if (fate === 'refuted') {
        log.info({ said: rumour.status }, 'gossip had it wrong about this node, and is told so');
      }
      if (fate !== 'news') continue;
      const view = this.#viewOf.get(nodeId);
      if (view === undefined) continue;
      const { address, status } = this.#members.of(nodeId) as Rumour;
      if (address !== view.address) {
        log.info({ peer: nodeId, address }, `${nodeId} has moved`);
        view.address = address;
        this.#options.onMoved?.(nodeId, address);
      }
      this.#settle(view);
      // Somebody cannot reach it. Perhaps this node can: then it hears of it sooner, and refutes it.
      if (status !== 'alive') this.#pingOutOfTurn(view);
    }
  }

  /** Tells how requests are to be steered, when that has changed. */
  #settle(view: View | undefined): void {
    if (view === undefined) return;
    const standing = this.#standingOf(view);
    if (standing === view.standing) return;
    view.standing = standing;
    this.#options.onStanding?.(view.nodeId, standing);
  }

  /**
   * What the node has heard itself goes before rumours: a member that has answered since is alive, and one whose link stands
   * is not taken for dead before that link has failed too.
   */
  #standingOf({ nodeId, peer, heardAtMs, missedAtMs }: View): MemberStatus {
    const status = this.#members.of(nodeId)?.status ?? 'alive';
    const sinceMs = this.#members.sinceMs(nodeId);
    if (status === 'alive' || heardAtMs >= sinceMs) return 'alive';
    return status === 'dead' && peer.connected && missedAtMs < sinceMs ? 'suspect' : status;
  }

  #relaysFor(target: View): readonly View[] {
    const able = this.#views.filter(
      (view) => view !== target && view.peer.connected && view.standing === 'alive',
    );
    return this.#shuffled(able).slice(0, RELAYS);
  }

  /** The first `RELAYS` or all: Fisher and Yates. */
  #shuffled(views: readonly View[]): View[] {
    const shuffled = [...views];
    for (let i = 0; i < shuffled.length - 1; i++) {
      const j = i + Math.floor(this.#options.random.fraction() * (shuffled.length - i));
      [shuffled[i], shuffled[j]] = [shuffled[j] as View, shuffled[i] as View];
    }
    return shuffled;
  }

  /** While nobody can be reached, one seed after the other is asked where everybody is. */
  #askSeed(): void {
    const { seeds = [], askSeed, clock, intervalMs } = this.#options;
    const seed = seeds[this.#rounds % seeds.length];
    if (seed === undefined || askSeed === undefined || this.#askingSeed) return;
    if (this.#views.some(({ peer }) => peer.connected)) return;
    this.#askingSeed = true;
    const deadlineMs = clock.monotonicMs() + PATIENCE_ROUNDS * intervalMs;
    void this.#learnFrom(askSeed(seed, deadlineMs)).finally(() => {
      this.#askingSeed = false;
    });
  }

  async #learnFrom(reply: Promise<AskReply<'members'> | ReplicaFailure>): Promise<void> {
    const answer = await reply;
    if (!isReplicaFailure(answer) && !this.#stopped) this.#take(answer.members);
  }

  /** False when the moment comes first. */
  #within(answer: Promise<boolean>, untilMs: number): Promise<boolean> {
    if (this.#stopped) return UNREACHED;
    return new Promise((resolve) => {
      const settle = (reached: boolean): void => {
        cancel();
        this.#waits.delete(end);
        resolve(reached);
      };
      const end = (): void => settle(false);
      const leftMs = Math.max(0, untilMs - this.#options.clock.monotonicMs());
      const cancel = this.#options.timers.after(leftMs, end);
      this.#waits.add(end);
      void answer.then(settle);
    });
  }

  #until(atMs: number): Promise<boolean> {
    return this.#within(NEVER, atMs);
  }

  #slept(dueAtMs: number, nowMs: number): boolean {
    return nowMs - dueAtMs > this.#options.intervalMs / SLEPT_PARTS;
  }
}

/** True as soon as one is, false when all are. */
function anyOf(answers: readonly Promise<boolean>[]): Promise<boolean> {
  return new Promise((resolve) => {
    let open = answers.length;
    const settle = (reached: boolean): void => {
      if (reached || --open === 0) resolve(reached);
    };
    for (const answer of answers) void answer.then(settle);
  });
}
