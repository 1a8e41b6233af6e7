import { LinkRhythm } from '../core/failure-detector.js';
import { MAX_RUMOURS, type Rumour } from '../core/membership.js';
import type { Clock } from '../io/clock.js';
import type { Peer, PingAnswer } from '../io/peer.js';
import type { Waits } from './waits.js';

/** Parts of the time between rounds: see {@link LinkRhythm}. */
const UNTRIED_PARTS = 3;
const DEVIATION_PARTS = 40;
/** However slow a link is, others are asked after so many rounds. */
const PATIENCE_ROUNDS = 5;
/** Of the time that a link is given, those who are asked have this much again: they have a way more to go. */
const RELAY_SHARE = 1.5;
/** Of a round. A probe is over before the next round begins, so that each round may begin one. */
const PROBE_SHARE = 0.9;
/** What should have happened this part of a round ago tells of the own sleep, and of nobody else. */
const SLEPT_PARTS = 2;

const UNREACHED = Promise.resolve(false);

/** What the probes of one node have in common. */
export interface ProbePorts {
  readonly nodeId: string;
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly waits: Waits;
  /** What a ping to the member is to carry. */
  readonly news: (nodeId: string) => readonly Rumour[];
  /** What its answer carried, a bounded number. */
  readonly take: (rumours: readonly Rumour[]) => void;
  readonly onPong: (nodeId: string, pong: PingAnswer, sentAtMs: number) => void;
  readonly onPing: (nodeId: string, roundTripMs: number | undefined) => void;
  readonly onAnswered: (probe: Probe) => void;
  /** It answered neither this node nor, where they were asked, others. */
  readonly onMissed: (probe: Probe) => void;
}

/** Whether what was due then comes so late that the process must have slept meanwhile. */
export function sleptSince(dueAtMs: number, nowMs: number, intervalMs: number): boolean {
  return nowMs - dueAtMs > intervalMs / SLEPT_PARTS;
}

/** What a node knows at first hand of one other member, and how it finds out. */
export class Probe {
  readonly nodeId: string;
  /** When it last answered anything; -Infinity: never. */
  heardAtMs = -Infinity;
  /** When a probe of it last failed, the direct one and those through others. */
  missedAtMs = -Infinity;
  readonly #ports: ProbePorts;
  readonly #rhythm: LinkRhythm;
  /** The ping under way. Whoever wants to know meanwhile waits for it, so there is never more than one. */
  #ping: Promise<boolean> | undefined;
  #probing = false;
  /** Since when something asked of it has not been answered; undefined: it answers. */
  #waitingSinceMs: number | undefined;

  constructor(
    readonly peer: Peer,
    ports: ProbePorts,
  ) {
    const { intervalMs } = ports;
    this.nodeId = peer.nodeId;
    this.#ports = ports;
    this.#rhythm = new LinkRhythm({
      untriedMs: intervalMs / UNTRIED_PARTS,
      leastDeviationMs: intervalMs / DEVIATION_PARTS,
      mostMs: PATIENCE_ROUNDS * intervalMs,
    });
  }

  /** A ping is under way. */
  get pinging(): boolean {
    return this.#ping !== undefined;
  }

  /** See {@link LinkRhythm.phi}; 0 while it answers. */
  phi(nowMs: number): number {
    return this.#waitingSinceMs === undefined ? 0 : this.#rhythm.phi(nowMs - this.#waitingSinceMs);
  }

  /** One ping, or the one under way. Resolves with whether it was answered, whatever with; never rejects. */
  ping(deadlineMs: number): Promise<boolean> {
    if (this.#ping !== undefined) return this.#ping;
    if (!this.peer.connected || this.#ports.waits.stopped) {
      this.#waitingSinceMs ??= this.#ports.clock.monotonicMs();
      return UNREACHED;
    }
    const ping = this.#send(deadlineMs).finally(() => {
      this.#ping = undefined;
    });
    this.#ping = ping;
    return ping;
  }

  /** It has answered, a ping or anything else. */
  answered(): void {
    this.heardAtMs = this.#ports.clock.monotonicMs();
    this.#waitingSinceMs = undefined;
    this.#ports.onAnswered(this);
  }

  /**
   * Pings it, and when the answer is late, has `relays` ping it. It is missed when nobody has been answered by the end of the
   * round, or later where the link is slow.
   */
  async run(relays: () => readonly Probe[]): Promise<void> {
    if (this.#probing) return;
    this.#probing = true;
    const { clock, intervalMs, waits, onMissed } = this.#ports;
    const beganAtMs = clock.monotonicMs();
    const { timeoutMs } = this.#rhythm;
    const endAtMs = beganAtMs + Math.max(PROBE_SHARE * intervalMs, (1 + RELAY_SHARE) * timeoutMs);
    const direct = this.ping(endAtMs);
    const reached =
      (await waits.within(direct, beganAtMs + timeoutMs)) ||
      (await waits.within(this.#reachedBy(relays(), direct, endAtMs), endAtMs)) ||
      // Nobody could reach it so far. It may still be heard, for as long as it has.
      (await waits.until(endAtMs));
    const slept = sleptSince(endAtMs, clock.monotonicMs(), intervalMs);
    // Where its link has opened meanwhile, it has been pinged again.
    const answers = reached || (await (this.#ping ?? UNREACHED));
    this.#probing = false;
    if (answers || slept || waits.stopped || this.heardAtMs >= beganAtMs) return;
    this.missedAtMs = clock.monotonicMs();
    onMissed(this);
  }

  async #send(deadlineMs: number): Promise<boolean> {
    const { nodeId: from, clock, waits, news, take, onPing, onPong } = this.#ports;
    const { nodeId } = this;
    const sentAtMs = clock.monotonicMs();
    this.#waitingSinceMs ??= sentAtMs;
    const answer = await this.peer.ping({ from, rumours: news(nodeId) }, deadlineMs);
    // A call that was not sent says nothing, and a refusal says that the peer lives.
    if (waits.stopped || answer.kind === 'unreachable') return false;
    if (answer.kind === 'failed') {
      onPing(nodeId, undefined);
      return false;
    }
    const roundTripMs = clock.monotonicMs() - sentAtMs;
    onPing(nodeId, roundTripMs);
    this.#rhythm.observe(roundTripMs);
    if (answer.kind === 'pong') {
      onPong(nodeId, answer, sentAtMs);
      take(answer.rumours.slice(0, MAX_RUMOURS));
    }
    this.answered();
    return true;
  }

  #reachedBy(
    relays: readonly Probe[],
    direct: Promise<boolean>,
    deadlineMs: number,
  ): Promise<boolean> {
    const indirect = relays.map(async ({ peer }) => {
      const answer = await peer.ask('probe', { target: this.nodeId }, deadlineMs);
      return answer.kind === 'reply' && answer.reached;
    });
    return anyOf([direct, ...indirect]);
  }
}

/** True as soon as one is, false when none is. */
function anyOf(answers: readonly Promise<boolean>[]): Promise<boolean> {
  return new Promise((resolve) => {
    let open = answers.length;
    const settle = (reached: boolean): void => {
      if (reached || --open === 0) resolve(reached);
    };
    for (const answer of answers) void answer.then(settle);
  });
}
