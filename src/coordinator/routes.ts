import { invalidArgument } from '../core/errors.js';
import { orderPeers } from '../core/peer-order.js';
import { partitionOf, type Placement } from '../core/placement.js';
import { firstSlots, MAX_SLOTS, NO_SLOTS, slotBit, type Slots } from '../core/slots.js';
import type { PeerState } from './peer-state.js';

/** How long an order of peers by latency is kept before it is made anew. */
const ORDER_MS = 250;

/** The replicas of one partition: the place in `peers` is a replica's slot in every tally. */
export class Route {
  readonly all: Slots;
  #order: readonly number[] = [];
  #orderedAtMs = -Infinity;

  constructor(
    readonly peers: readonly PeerState[],
    readonly placementVersion: number,
  ) {
    if (peers.length > MAX_SLOTS) {
      throw invalidArgument('replicationFactor', `${peers.length}, the limit is ${MAX_SLOTS}`);
    }
    this.all = firstSlots(peers.length);
  }

  /** The slots in the order in which a read asks them. */
  readOrder(nowMs: number): readonly number[] {
    if (nowMs - this.#orderedAtMs >= ORDER_MS) {
      this.#order = orderPeers(this.peers);
      this.#orderedAtMs = nowMs;
    }
    return this.#order;
  }

  inZone(zone: string): Slots {
    let slots = NO_SLOTS;
    for (let slot = 0; slot < this.peers.length; slot++) {
      if (this.peers[slot]?.zone === zone) slots |= slotBit(slot);
    }
    return slots;
  }
}

/** The routes of one placement version, made once. */
export interface RouteTable {
  readonly placement: Placement;
  /** In the order of `placement.members`. */
  readonly members: readonly PeerState[];
  /** By partition. */
  readonly routes: readonly Route[];
}

export function createRouteTable(placement: Placement, members: readonly PeerState[]): RouteTable {
  const routes = placement.preference.map(
    (list) =>
      new Route(
        list.map((member) => members[member] as PeerState),
        placement.version,
      ),
  );
  return { placement, members, routes };
}

export function routeOf(table: RouteTable, keyHash: number): Route {
  return table.routes[partitionOf(keyHash)] as Route;
}
