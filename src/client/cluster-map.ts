import { backoffMs } from '../core/backoff.js';
import { KvError, type ErrorCode } from '../core/errors.js';
import { createPlacement, partitionOf, type Placement } from '../core/placement.js';
import type { CallKind, Link, Linker, LinkState, NodePong, Welcome } from '../io/link.js';
import type { Gathering } from './gathering.js';
import type { ClusterView, MemberView, RefusedEndpoint } from './kv.js';
import { NodeState } from './node-state.js';

/** What makes a node a worse choice, the least first: each outweighs all before it together. */
const SLOW = 1;
const OTHER_ZONE = 2;
const NO_REPLICA = 4;
const WRONG_CLOCK = 8;
const AVOIDED = 16;
const TRIED = 32;

/** So much farther than the nearest makes a node slow. */
const SLOW_FACTOR = 3;
const SLOW_MARGIN_MS = 10;

/** How long until a node is asked again whether members that are not connected have moved. */
const LOOK_AGAIN = { baseMs: 2_000, maxMs: 30_000 };

/** What a route is asked for. */
export interface RouteRequest {
  readonly kind: CallKind;
  readonly zone: string;
  readonly keyHash: number;
  /** Of a write that goes where others of its turn go, its bytes; 0 of a request that keeps to the order of its key's replicas. */
  readonly gatheredBytes: number;
  /** The nodes of earlier attempts, one entry for each. */
  readonly tried: readonly { readonly node: NodeState | undefined }[];
}

/**
 * The nodes of the cluster: which there are, which are connected, which replicate a key, and which is the best to ask.
 * Starts from the endpoints that the user named and finds the rest of the members from the first that greets.
 */
export class ClusterMap {
  readonly #linker: Linker;
  readonly #gathering: Gathering;
  readonly #onOpen: (node: NodeState, welcome: Welcome, roundTripMs: number) => void;
  readonly #onChange: () => void;
  readonly #refused: RefusedEndpoint[] = [];
  #nodes: NodeState[] = [];
  #welcome: Welcome | undefined;
  #placement: Placement | undefined;
  /** The node of each member of the placement, where its link has greeted. */
  #byMember: (NodeState | undefined)[] = [];
  #closed = false;
  #looking: Link | undefined;
  #looks = 0;
  #lookAgainMs = -Infinity;

  constructor(
    linker: Linker,
    gathering: Gathering,
    onOpen: (node: NodeState, welcome: Welcome, roundTripMs: number) => void,
    onChange: () => void,
  ) {
    this.#linker = linker;
    this.#gathering = gathering;
    this.#onOpen = onOpen;
    this.#onChange = onChange;
  }

  /** Every node a link is kept to. */
  get nodes(): readonly NodeState[] {
    return this.#nodes;
  }

  get refused(): readonly RefusedEndpoint[] {
    return this.#refused;
  }

  /** Undefined until a node has greeted. */
  get welcome(): Welcome | undefined {
    return this.#welcome;
  }

  open(endpoints: readonly string[]): void {
    for (const endpoint of endpoints) this.#openLink(endpoint);
  }

  /** The ids of the replicas of a key, best first. */
  preferenceOf(keyHash: number): readonly string[] {
    const placement = this.#placement;
    const list = placement?.preference[partitionOf(keyHash)] ?? [];
    return list.map((index) => placement?.members[index]?.id ?? '');
  }

  /**
   * The node to send the request to: a replica of the key, so that one hop is saved, and of those the first that is well;
   * as different keys have different lists, load spreads by itself. Of a write that is gathered, of equally good ones that
   * to which its turn's writes go. Undefined when no node is connected.
   */
  route(request: RouteRequest, nowMs: number): NodeState | undefined {
    let best: NodeState | undefined;
    let bestCost = Infinity;
    const { gatheredBytes } = request;
    const preference = this.#placement?.preference[partitionOf(request.keyHash)];
    if (preference !== undefined) {
      for (const index of preference) {
        const node = this.#byMember[index];
        if (node?.open !== true) continue;
        const cost = costOf(node, request, nowMs);
        if (cost === 0 && gatheredBytes === 0) return node;
        const isSooner =
          gatheredBytes > 0 &&
          cost === bestCost &&
          this.#gathering.prefers(node, best as NodeState);
        if (cost < bestCost || isSooner) {
          best = node;
          bestCost = cost;
        }
      }
    }
    if (bestCost < NO_REPLICA) return best;
    // A rotation by the key spreads what is left over the others.
    const nodes = this.#nodes;
    for (let i = 0; i < nodes.length; i++) {
      const node = nodes[(request.keyHash + i) % nodes.length] as NodeState;
      if (!node.open) continue;
      const cost = NO_REPLICA + costOf(node, request, nowMs);
      if (cost < bestCost) {
        best = node;
        bestCost = cost;
      }
    }
    return best;
  }

  /** The write is sent to `node`: those of its turn go there as well. */
  gather(node: NodeState, bytes: number): void {
    this.#gathering.add(node, bytes);
  }

  /** Whether a node other than `node` is connected and well: whether giving up on it early leads anywhere. */
  hasOther(node: NodeState, nowMs: number): boolean {
    for (const other of this.#nodes) {
      if (other !== node && other.open && !other.isAvoided(nowMs)) return true;
    }
    return false;
  }

  /** A ping was answered. */
  heard(node: NodeState, pong: NodePong, roundTripMs: number): void {
    node.silent = false;
    node.quarantined = pong.quarantined;
    node.measured(roundTripMs);
    this.#judgeDistances();
  }

  view(clockOffsetMs: number): ClusterView {
    const welcome = this.#welcome;
    if (welcome === undefined || this.#placement === undefined) {
      throw new KvError('INTERNAL', 'The cluster is looked at before a node has greeted.');
    }
    return {
      name: welcome.clusterName,
      id: welcome.clusterId,
      placementVersion: this.#placement.version,
      replicationFactor: welcome.replicationFactor,
      members: this.#placement.members.map((member, index): MemberView => {
        const node = this.#byMember[index];
        return {
          id: member.id,
          address: member.address,
          zone: member.zone,
          connected: node?.open === true,
          quarantined: node?.quarantined === true,
          ...(node?.roundTripMs === undefined ? {} : { roundTripMs: node.roundTripMs }),
        };
      }),
      refused: [...this.#refused],
      limits: { maxKeyBytes: welcome.maxKeyBytes, maxValueBytes: welcome.maxValueBytes },
      maxDriftMs: welcome.maxDriftMs,
      clockOffsetMs,
    };
  }

  /**
   * Members that are not connected may have moved since the list was heard. Nodes say where all are when a link opens, so now
   * and then another one is opened to a node that is connected, and closed again.
   */
  lookForMoved(nowMs: number): void {
    if (nowMs < this.#lookAgainMs || this.#looking !== undefined) return;
    if (this.#byMember.every((node) => node?.open === true)) {
      this.#looks = 0;
      return;
    }
    const open = this.#nodes.filter((node) => node.open);
    const asked = open[this.#looks % open.length];
    if (asked === undefined) return;
    this.#lookAgainMs = nowMs + backoffMs(LOOK_AGAIN, this.#looks++, 1);
    const link = this.#linker.open(asked.endpoint, (state) => {
      if (this.#looking !== link) return;
      this.#looking = undefined;
      void link.close(0);
      if (this.#closed || state.kind === 'closed') return;
      if (state.welcome.clusterId === this.#welcome?.clusterId) this.#hear(state.welcome);
    });
    this.#looking = link;
  }

  async close(graceMs: number): Promise<void> {
    this.#closed = true;
    void this.#looking?.close(0);
    await Promise.all(this.#nodes.map((node) => node.link.close(graceMs)));
  }

  /** `memberId`: which member should be there. */
  #openLink(endpoint: string, memberId?: string): void {
    if (this.#nodes.some((node) => node.endpoint === endpoint)) return;
    if (this.#refused.some((refused) => refused.endpoint === endpoint)) return;
    const node = new NodeState(endpoint, memberId);
    this.#nodes.push(node);
    node.link = this.#linker.open(endpoint, (state) => this.#onState(node, state));
  }

  #onState(node: NodeState, state: LinkState): void {
    if (this.#closed || !this.#nodes.includes(node)) return;
    if (state.kind === 'closed') {
      node.closed(state);
      if (state.fatal) this.#refuse(node, state.code, state.message);
    } else {
      this.#onGreeting(node, state.welcome, state.roundTripMs);
    }
    this.#onChange();
  }

  #onGreeting(node: NodeState, welcome: Welcome, roundTripMs: number): void {
    const known = this.#welcome;
    if (known !== undefined && welcome.clusterId !== known.clusterId) {
      const own = `${known.clusterName} (${known.clusterId})`;
      const other = `${welcome.clusterName} (${welcome.clusterId})`;
      this.#refuse(
        node,
        'WRONG_CLUSTER',
        `${node.endpoint} belongs to cluster ${other}, this connection to ${own}`,
      );
      return;
    }
    const twin = this.#nodes.find((other) => other !== node && other.nodeId === welcome.nodeId);
    if (twin?.open === true) {
      // Two names of one node, as localhost and 127.0.0.1: one link is enough.
      this.#drop(node);
      return;
    }
    if (twin !== undefined) this.#drop(twin);
    node.opened(welcome);
    node.measured(roundTripMs);
    // It was looked for elsewhere too, and is here.
    for (const other of this.#nodes) {
      const isElsewhere = other.nodeId === undefined && other.memberId === welcome.nodeId;
      if (other !== node && isElsewhere) this.#drop(other);
    }
    this.#hear(welcome);
    this.#judgeDistances();
    this.#onOpen(node, welcome, roundTripMs);
  }

  #hear(welcome: Welcome): void {
    const known = this.#welcome;
    if (known === undefined || isNews(welcome, known)) this.#adopt(welcome);
    else this.#matchMembers();
  }

  /** Goes by the member list of `welcome` from now on: finds members that are new or have moved, leaves those that have gone. */
  #adopt(welcome: Welcome): void {
    this.#welcome = welcome;
    this.#placement = createPlacement(
      welcome.members,
      welcome.replicationFactor,
      welcome.placementVersion,
    );
    const ids = new Set(welcome.members.map((member) => member.id));
    for (const node of this.#nodes) {
      if (node.nodeId !== undefined && !ids.has(node.nodeId)) this.#drop(node);
    }
    this.#matchMembers();
    this.#placement.members.forEach((member, index) => {
      if (this.#byMember[index]?.open !== true) this.#openLink(member.address, member.id);
    });
  }

  #matchMembers(): void {
    const members = this.#placement?.members ?? [];
    this.#byMember = members.map((member) => {
      const node = this.#nodes.find((candidate) => candidate.nodeId === member.id);
      if (node !== undefined) node.zone = member.zone;
      return node;
    });
  }

  #refuse(node: NodeState, code: ErrorCode, message: string): void {
    this.#refused.push({ endpoint: node.endpoint, code, message });
    this.#drop(node);
  }

  #drop(node: NodeState): void {
    node.open = false;
    this.#nodes = this.#nodes.filter((kept) => kept !== node);
    this.#matchMembers();
    void node.link.close(0);
  }

  /**
   * Not by the last round trip alone: under load any node is late now and then, and if its keys moved elsewhere and back each time,
   * no coordinator would know what it has chosen last for a key.
   */
  #judgeDistances(): void {
    let nearestMs = Infinity;
    for (const node of this.#nodes) {
      if (node.open && node.distanceMs < nearestMs) nearestMs = node.distanceMs;
    }
    for (const node of this.#nodes) {
      node.slow = node.distanceMs > SLOW_FACTOR * nearestMs + SLOW_MARGIN_MS;
    }
  }
}

/** A newer list, or the same with a member at another address. */
function isNews(welcome: Welcome, known: Welcome): boolean {
  if (welcome.placementVersion !== known.placementVersion) {
    return welcome.placementVersion > known.placementVersion;
  }
  return welcome.members.some(({ id, address }) =>
    known.members.every((member) => member.id !== id || member.address !== address),
  );
}

function costOf(node: NodeState, request: RouteRequest, nowMs: number): number {
  let cost = 0;
  if (node.slow) cost += SLOW;
  if (request.zone !== '' && node.zone !== request.zone) cost += OTHER_ZONE;
  if (node.quarantined && request.kind !== 'get') cost += WRONG_CLOCK;
  if (node.isAvoided(nowMs)) cost += AVOIDED;
  for (const attempt of request.tried) if (attempt.node === node) cost += TRIED;
  return cost;
}
