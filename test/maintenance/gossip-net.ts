import type { MemberStatus, Rumour } from '../../src/core/membership.js';
import type { Member } from '../../src/core/placement.js';
import { silentLog } from '../../src/io/log.js';
import type { Peer, PingAnswer, PingRequest, ReplicaFailure } from '../../src/io/peer.js';
import { Gossip } from '../../src/maintenance/gossip.js';
import { ZERO_VERSION } from '../../src/core/version.js';
import { Kernel } from '../sim/kernel.js';
import { MachineClock, SimProcess } from '../sim/process.js';
import { createStream, type Stream } from '../sim/seed.js';

export interface NetShape {
  readonly nodes: number;
  readonly seed?: number;
  readonly intervalMs?: number;
  /** How likely a message is lost; asked for each. */
  readonly lossChance?: number;
  /** Where a node looks when it reaches nobody. */
  readonly seedsOf?: (id: string) => readonly string[];
}

/** What it cost: messages that left a machine, requests and answers alike, and their bytes. */
export interface Cost {
  messages: number;
  bytes: number;
}

const WAY_MS = 0.5;
const NOT_CONNECTED: ReplicaFailure = failure('unreachable', 'not connected');
const NO_ANSWER: ReplicaFailure = failure('failed', 'no answer in time');

/** Nodes that do nothing but gossip, on a network that loses, delays and cuts, under virtual time. */
export class GossipNet {
  readonly kernel = new Kernel();
  readonly hosts: Host[];
  readonly cost: Cost = { messages: 0, bytes: 0 };
  /** Every change of what anybody believes of anybody's death, as `who: whom status`. */
  readonly deaths: string[] = [];
  lossChance: number;
  /** Who listens where. */
  readonly places = new Map<string, Host>();
  readonly #network: Stream;
  readonly #cuts = new Set<string>();

  constructor(readonly shape: NetShape) {
    const { nodes, seed = 1, lossChance = 0 } = shape;
    this.lossChance = lossChance;
    this.#network = createStream(seed, 'network');
    const members = Array.from({ length: nodes }, (_, i) => memberOf(`n${i + 1}`, 1));
    this.hosts = members.map(({ id }, i) => new Host(this, id, i, members));
  }

  get intervalMs(): number {
    return this.shape.intervalMs ?? 1_000;
  }

  host(id: string): Host {
    const host = this.hosts.find((one) => one.id === id);
    if (host === undefined) throw new Error(`there is no ${id}`);
    return host;
  }

  at(address: string): Host | undefined {
    const host = this.places.get(address);
    return host?.running === true ? host : undefined;
  }

  /** Runs the scenario to its end. */
  run<T>(scenario: () => Promise<T>): Promise<T> {
    return this.kernel.run(scenario);
  }

  startAll(): void {
    for (const host of this.hosts) host.start();
  }

  pass(rounds: number): Promise<void> {
    return this.kernel.sleep(rounds * this.intervalMs);
  }

  /** How many rounds pass until it holds, in quarters. Throws when it does not within `limit`. */
  async roundsUntil(holds: () => boolean, limit: number): Promise<number> {
    for (let quarters = 0; quarters <= limit * 4; quarters++) {
      if (holds()) return quarters / 4;
      await this.pass(1 / 4);
    }
    throw new Error(`does not hold after ${limit} rounds`);
  }

  /** Nothing gets from one to the other. */
  cut(from: string, to: string): void {
    this.#cuts.add(`${from}>${to}`);
  }

  /** Nothing gets from these to all others, nor back. */
  isolate(ids: readonly string[]): void {
    for (const { id } of this.hosts) {
      if (ids.includes(id)) continue;
      for (const inside of ids) {
        this.cut(id, inside);
        this.cut(inside, id);
      }
    }
  }

  heal(): void {
    this.#cuts.clear();
    this.lossChance = 0;
  }

  loses(from: string, to: string): boolean {
    return this.#cuts.has(`${from}>${to}`) || this.#network.chance(this.lossChance);
  }

  isCut(a: string, b: string): boolean {
    return this.#cuts.has(`${a}>${b}`) || this.#cuts.has(`${b}>${a}`);
  }

  /** What all that run believe of it, each status once. */
  opinions(of: string): readonly MemberStatus[] {
    const statuses = this.hosts
      .filter((host) => host.running && host.id !== of)
      .map((host) => host.belief(of).status);
    return [...new Set(statuses)].sort();
  }

  /** Whether all that run believe the same of all, and that whoever runs is alive where it is. */
  get agrees(): boolean {
    return this.hosts.every(({ id, running, address }) =>
      this.hosts.every((host) => {
        if (!host.running || host.id === id) return true;
        const belief = host.belief(id);
        return running
          ? belief.status === 'alive' && belief.address === address
          : belief.status === 'dead';
      }),
    );
  }
}

/** One machine: its process comes and goes. */
export class Host {
  readonly clock: MachineClock;
  /** Where it is from its next start on. */
  address: string;
  process: SimProcess | undefined;
  gossip: Gossip | undefined;
  readonly standings = new Map<string, MemberStatus>();
  #lives = 0;

  constructor(
    readonly net: GossipNet,
    readonly id: string,
    readonly index: number,
    /** As it is told at its start. */
    public members: readonly Member[],
  ) {
    this.clock = new MachineClock(net.kernel, 1_000 * index);
    this.address = memberOf(id, 1).address;
  }

  get running(): boolean {
    return this.process?.alive === true;
  }

  start(): void {
    const { net, id, index, clock, members } = this;
    for (const [address, host] of net.places) if (host === this) net.places.delete(address);
    net.places.set(this.address, this);
    const stream = createStream(net.shape.seed ?? 1, `${id}/${++this.#lives}`);
    const process = new SimProcess(net.kernel, id, index, clock, stream);
    const peers = members
      .filter((member) => member.id !== id)
      .map((member) => new NetPeer(net, this, process, member.id, member.address));
    this.process = process;
    this.standings.clear();
    const gossip = new Gossip({
      nodeId: id,
      members: members.map((member) =>
        member.id === id ? { ...member, address: this.address } : member,
      ),
      peers,
      intervalMs: net.intervalMs,
      clock,
      timers: process.timers,
      random: stream,
      log: silentLog,
      onStanding: (nodeId, standing) => {
        this.standings.set(nodeId, standing);
        if (standing === 'dead') net.deaths.push(`${id}: ${nodeId}`);
      },
      onMoved: (nodeId, address) => {
        const peer = peers.find((one) => one.nodeId === nodeId);
        if (peer !== undefined) peer.address = address;
      },
      seeds: net.shape.seedsOf?.(id) ?? [],
      askSeed: async (address) => {
        const seed = net.at(address)?.gossip;
        return seed === undefined ? NOT_CONNECTED : { kind: 'reply', members: seed.rumours };
      },
    });
    this.gossip = gossip;
    // As a link does: it finds out that the other side is there or gone.
    process.timers.every(net.intervalMs / (net.hosts.length > 20 ? 1 : 10), () => {
      for (const peer of peers) peer.look(() => gossip.connected(peer.nodeId));
    });
  }

  kill(): void {
    this.process?.kill(false);
  }

  pause(): void {
    this.process?.pause();
  }

  resume(): void {
    this.process?.resume();
  }

  belief(of: string): Rumour {
    const belief = this.gossip?.rumours.find(({ nodeId }) => nodeId === of);
    if (belief === undefined) throw new Error(`${this.id} knows no ${of}`);
    return belief;
  }
}

/** The way from one life of a node to another node. */
class NetPeer implements Peer {
  #wasConnected = false;

  constructor(
    readonly net: GossipNet,
    readonly owner: Host,
    readonly process: SimProcess,
    readonly nodeId: string,
    public address: string,
  ) {}

  get connected(): boolean {
    return this.#wasConnected;
  }

  /** A node that was stopped or cut off still seems connected; one that has ended does not. */
  look(onConnected: () => void): void {
    const { net, owner, nodeId } = this;
    const isThere = net.at(this.address)?.id === nodeId;
    const isOpen = isThere && (this.#wasConnected || !net.isCut(owner.id, nodeId));
    const isNew = isOpen && !this.#wasConnected;
    this.#wasConnected = isOpen;
    if (isNew) onConnected();
  }

  ping(request: PingRequest, deadlineMs: number): Promise<PingAnswer | ReplicaFailure> {
    return this.#call(
      bytesOf(request.rumours),
      deadlineMs,
      ({ id, clock, gossip }): Promise<PingAnswer> =>
        Promise.resolve({
          kind: 'pong',
          nodeId: id,
          wallMs: clock.wallMs(),
          hlc: ZERO_VERSION,
          quarantined: false,
          commitCounter: 0,
          incarnation: NO_BYTES,
          placementVersion: 1,
          rumours: gossip?.exchange(request) ?? [],
        }),
    );
  }

  ask(kind: string, request: object, deadlineMs: number): Promise<never> {
    const leftMs = deadlineMs - this.owner.clock.monotonicMs();
    const reply = async ({ gossip, clock }: Host): Promise<object> => {
      if (gossip === undefined) return NOT_CONNECTED;
      if (kind === 'members') return { kind: 'reply', members: gossip.rumours };
      const { target } = request as { readonly target: string };
      return { kind: 'reply', reached: await gossip.reaches(target, clock.monotonicMs() + leftMs) };
    };
    return this.#call(40, deadlineMs, reply) as Promise<never>;
  }

  apply(): void {
    throw new Error('gossip writes nothing');
  }

  prepare(): void {
    throw new Error('gossip promises nothing');
  }

  read(): void {
    throw new Error('gossip reads nothing');
  }

  scan(): Promise<never> {
    throw new Error('gossip scans nothing');
  }

  #call<T extends object>(
    bytes: number,
    deadlineMs: number,
    serve: (host: Host) => Promise<T>,
  ): Promise<T | ReplicaFailure> {
    const { net, owner, process, nodeId } = this;
    const host = net.at(this.address);
    if (!this.connected || host === undefined) return Promise.resolve(NOT_CONNECTED);
    const server = host.process as SimProcess;
    return new Promise((resolve) => {
      const late = process.post(deadlineMs - owner.clock.monotonicMs(), () => resolve(NO_ANSWER));
      net.cost.messages++;
      net.cost.bytes += bytes;
      if (net.loses(owner.id, nodeId)) return;
      const carryBack = (answer: T): void => {
        net.cost.messages++;
        net.cost.bytes += 'rumours' in answer ? bytesOf(answer.rumours as readonly Rumour[]) : 40;
        if (net.loses(nodeId, owner.id)) return;
        process.post(WAY_MS, () => {
          late.action = undefined;
          resolve(answer);
        });
      };
      server.post(WAY_MS, () => {
        void serve(host).then(carryBack);
      });
    });
  }
}

const NO_BYTES = new Uint8Array(0);

/** About what they take on the wire. */
function bytesOf(rumours: readonly Rumour[]): number {
  let bytes = 24;
  for (const { nodeId, address } of rumours) bytes += nodeId.length + address.length + 14;
  return bytes;
}

function memberOf(id: string, place: number): Member {
  return { id, address: `${id}.${place}:7101`, zone: 'a' };
}

function failure(kind: 'unreachable' | 'failed', message: string): ReplicaFailure {
  return { kind, code: kind === 'failed' ? 'TIMED_OUT' : 'UNAVAILABLE', message };
}
