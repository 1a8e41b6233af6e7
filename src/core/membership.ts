/** What gossip says of one member. The one with the higher generation is newer; of the same, the worse status is. */
export interface Rumour {
  readonly nodeId: string;
  /** `host:port`; a member may come back at another one. */
  readonly address: string;
  /** Grows with every start of the node, and when it refutes that it is suspected. 0: nobody has heard of it yet. */
  readonly generation: number;
  readonly status: MemberStatus;
}

/** `suspect`: it did not answer and may yet refute it. `dead`: it did not refute it in time. Neither changes placement. */
export type MemberStatus = 'alive' | 'suspect' | 'dead';

/** What a node believes of one member, and how well it can reach it itself. Ages are of the node's monotonic clock. */
export interface MemberBelief extends Rumour {
  /** How long ago the node came to believe it. */
  readonly forMs: number;
  /** How sure it is that what it has asked will not be answered: 0 while it waits for nothing (core/failure-detector.ts). */
  readonly phi: number;
  /** How long ago the member last answered this node; undefined: never, or it is the node itself. */
  readonly heardAgoMs: number | undefined;
}

/** What became of a rumour: `refuted` it was of the node itself and untrue, `stranger` of somebody who is no member. */
export type RumourFate = 'old' | 'news' | 'refuted' | 'stranger';

/** Rumours in one message at most: the sender, the receiver, what is new, and one of all. */
export const MAX_RUMOURS = 8;

/** A generation beyond is no wall clock's, and could not be refuted for ever. */
const MAX_GENERATION = 2 ** 52;

const RANK: Readonly<Record<MemberStatus, number>> = { alive: 0, suspect: 1, dead: 2 };

/** A total order, so whoever has heard the same rumours believes the same, whatever order they came in. */
function isNewer(rumour: Rumour, than: Rumour): boolean {
  return rumour.generation === than.generation
    ? RANK[rumour.status] > RANK[than.status]
    : rumour.generation > than.generation;
}

/** How often a node passes on what is new: enough for all of `members` to hear it but with vanishing chance. */
function sendsOf(members: number): number {
  return 3 * Math.ceil(Math.log2(members + 1));
}

/** How many rounds a suspect has to refute it: several times what the suspicion and the refutation take to get around. */
export function suspicionRoundsOf(members: number): number {
  return 2 * Math.ceil(Math.log2(members + 1));
}

interface Entry {
  rumour: Rumour;
  /** When it came to be believed. That a member which is alive lives on, in a higher generation, is no change. */
  sinceMs: number;
}

/**
 * What a node believes of every member, by the rules of SWIM (Das, Gupta and Motivala 2002): suspicion before death, refuted
 * by a higher generation, news passed on a bounded number of times with the pings. So that news which nobody passes on any
 * more still arrives, each message also holds one rumour of all in turn. The list of members is agreed elsewhere: nobody is
 * added or removed here.
 */
export class Membership {
  readonly #selfId: string;
  readonly #entries = new Map<string, Entry>();
  readonly #sends: number;
  readonly #suspicionRounds: number;
  /** Suspects, and how many rounds each has had to refute it. */
  readonly #suspects = new Map<string, number>();
  /** What is new, and how often it has been passed on; the next to be passed on first. */
  readonly #fresh = new Map<string, number>();
  readonly #order: readonly string[];
  #next = 0;
  #strangers = 0;
  #refutations = 0;

  /** The node itself is alive in `generation`; of the others nobody has heard anything, so they are taken to be alive. */
  constructor(
    selfId: string,
    generation: number,
    members: readonly { readonly id: string; readonly address: string }[],
    nowMs: number,
  ) {
    this.#selfId = selfId;
    for (const { id, address } of members) {
      const rumour: Rumour = {
        nodeId: id,
        address,
        generation: id === selfId ? generation : 0,
        status: 'alive',
      };
      this.#entries.set(id, { rumour, sinceMs: nowMs });
    }
    this.#order = [...this.#entries.keys()].sort();
    this.#sends = sendsOf(members.length);
    this.#suspicionRounds = suspicionRoundsOf(members.length);
  }

  /** Rumours of nodes that are no members. */
  get strangers(): number {
    return this.#strangers;
  }

  /** How often something untrue of the node itself was refuted. */
  get refutations(): number {
    return this.#refutations;
  }

  get self(): Rumour {
    return this.of(this.#selfId) as Rumour;
  }

  /** All of it, in the order of ids. */
  get all(): readonly Rumour[] {
    return this.#order.map((id) => this.of(id) as Rumour);
  }

  /** Undefined: no member. */
  of(nodeId: string): Rumour | undefined {
    return this.#entries.get(nodeId)?.rumour;
  }

  /** Since when it has had its status. */
  sinceMs(nodeId: string): number {
    return this.#entries.get(nodeId)?.sinceMs ?? 0;
  }

  /** Those that are suspected, the longest first. */
  get suspects(): readonly string[] {
    return [...this.#suspects.keys()];
  }

  take(rumour: Rumour, nowMs: number): RumourFate {
    const { nodeId, generation } = rumour;
    const entry = this.#entries.get(nodeId);
    if (entry === undefined || !(generation <= MAX_GENERATION)) {
      this.#strangers++;
      return 'stranger';
    }
    if (nodeId === this.#selfId) return this.#hearOfItself(rumour, entry.rumour, nowMs);
    if (!isNewer(rumour, entry.rumour)) return 'old';
    // Only the node itself says where it is, and each time with a generation of its own.
    const { address } = generation > entry.rumour.generation ? rumour : entry.rumour;
    this.#believe({ nodeId, address, generation, status: rumour.status }, nowMs);
    return 'news';
  }

  /** It was asked, directly and through others, and did not answer. False: it is suspected already, or worse. */
  suspect(nodeId: string, nowMs: number): boolean {
    const rumour = this.of(nodeId);
    if (rumour === undefined || rumour.status !== 'alive' || nodeId === this.#selfId) return false;
    this.#believe({ ...rumour, status: 'suspect' }, nowMs);
    return true;
  }

  /**
   * A round has passed in which the node was awake: suspects have had one more to refute it, but for those that `answers`.
   * Gives those that are dead now.
   */
  passRound(answers: (nodeId: string) => boolean, nowMs: number): readonly string[] {
    const dead: string[] = [];
    for (const [nodeId, rounds] of this.#suspects) {
      if (answers(nodeId)) continue;
      if (rounds < this.#suspicionRounds) this.#suspects.set(nodeId, rounds + 1);
      else dead.push(nodeId);
    }
    for (const nodeId of dead) {
      this.#believe({ ...(this.of(nodeId) as Rumour), status: 'dead' }, nowMs);
    }
    return dead;
  }

  /** The node has slept: what suspects said meanwhile it has not heard yet, so all have their whole time again. */
  forgiveSleep(): void {
    for (const nodeId of this.#suspects.keys()) this.#suspects.set(nodeId, 0);
  }

  /**
   * What a message to `to` is to carry, at most {@link MAX_RUMOURS}: the node itself, what is wrongly or no longer believed of
   * the receiver so that it can refute it, some of what is new, and one of all in turn. `itself`: what
   * the receiver has just said of itself.
   */
  news(to: string, itself?: Rumour): Rumour[] {
    const news = [this.self];
    const ofReceiver = this.of(to);
    if (
      ofReceiver !== undefined &&
      (ofReceiver.status !== 'alive' || (itself !== undefined && isNewer(ofReceiver, itself)))
    ) {
      news.push(ofReceiver);
    }
    const passedOn: string[] = [];
    for (const id of this.#fresh.keys()) {
      if (news.length === MAX_RUMOURS - 1) break;
      if (id === to) continue;
      news.push(this.of(id) as Rumour);
      passedOn.push(id);
    }
    for (const id of passedOn) this.#wasPassedOn(id);
    const inTurn = this.of(this.#order[this.#next++ % this.#order.length] as string) as Rumour;
    if (!news.includes(inTurn)) news.push(inTurn);
    return news;
  }

  /** It goes behind all that is new, until it has been told often enough. */
  #wasPassedOn(nodeId: string): void {
    const sends = (this.#fresh.get(nodeId) ?? 0) + 1;
    this.#fresh.delete(nodeId);
    if (sends < this.#sends) this.#fresh.set(nodeId, sends);
  }

  #hearOfItself(rumour: Rumour, self: Rumour, nowMs: number): RumourFate {
    const isTrue = rumour.status === 'alive' && rumour.address === self.address;
    if (rumour.generation < self.generation) return 'old';
    if (rumour.generation === self.generation && isTrue) return 'old';
    // A generation above what is said comes of an earlier start by a clock that was ahead.
    this.#believe({ ...self, generation: rumour.generation + 1 }, nowMs);
    this.#refutations++;
    return 'refuted';
  }

  #believe(rumour: Rumour, nowMs: number): void {
    const { nodeId, status } = rumour;
    const before = this.#entries.get(nodeId);
    const stays = status === 'alive' && before?.rumour.status === 'alive';
    this.#entries.set(nodeId, { rumour, sinceMs: stays ? before.sinceMs : nowMs });
    if (nodeId !== this.#selfId) this.#fresh.set(nodeId, 0);
    this.#suspects.delete(nodeId);
    if (status === 'suspect') this.#suspects.set(nodeId, 0);
  }
}
