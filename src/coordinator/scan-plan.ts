import { isLocal, neededReplicas, type Consistency } from '../core/consistency.js';
import { invalidArgument, KvError } from '../core/errors.js';
import { orderPeers } from '../core/peer-order.js';
import { coverPartitions, type ScanCover } from '../core/scan-cover.js';
import type { PeerState } from './peer-state.js';
import type { RouteTable } from './routes.js';

/** How long a plan is used before the latencies that it went by are looked at again. */
const PLAN_MS = 1_000;
const MAX_PLANS = 64;
/** A node that refused a scan because too many wait is done without for this long; where that cannot be, no one is asked. */
const SHED_MS = 50;

/** Which nodes a scan asks, and for what. Computed once for each level and set of reachable nodes: it costs more than a page. */
export class ScanPlans {
  readonly #plans = new Map<string, { readonly cover: ScanCover; readonly madeAtMs: number }>();
  /** When each node that shed a scan may be asked again. */
  readonly #shedUntilMs = new Map<PeerState, number>();

  constructor(private readonly table: RouteTable) {}

  /** The node refused a scan with OVERLOADED. */
  shed(peer: PeerState, nowMs: number): void {
    this.#shedUntilMs.set(peer, nowMs + SHED_MS);
  }

  /**
   * The cover for the level, from the nodes that can be reached and are not in `without`. Throws a KvError when there is
   * none: OVERLOADED when there would be with those that shed load, NO_QUORUM when there would not.
   */
  planFor(
    level: Consistency,
    zone: string,
    without: ReadonlySet<PeerState>,
    nowMs: number,
  ): ScanCover {
    const usable = this.table.members.map(
      (peer) =>
        !without.has(peer) && peer.obstacle(nowMs) === undefined && !this.#sheds(peer, nowMs),
    );
    const name = `${level} ${usable.map(Number).join('')} ${zone}`;
    const known = this.#plans.get(name);
    if (known !== undefined && nowMs - known.madeAtMs < PLAN_MS) return known.cover;
    const cover = this.#make(level, zone, usable, without, nowMs);
    if (this.#plans.size >= MAX_PLANS) this.#plans.clear();
    this.#plans.set(name, { cover, madeAtMs: nowMs });
    return cover;
  }

  #sheds(peer: PeerState, nowMs: number): boolean {
    const untilMs = this.#shedUntilMs.get(peer);
    return (
      (untilMs !== undefined && nowMs < untilMs) || peer.obstacle(nowMs)?.code === 'OVERLOADED'
    );
  }

  #make(
    level: Consistency,
    zone: string,
    usable: readonly boolean[],
    without: ReadonlySet<PeerState>,
    nowMs: number,
  ): ScanCover {
    const { placement, members } = this.table;
    const reachable: number[][] = [];
    const candidates: (readonly number[])[] = [];
    const needed: number[] = [];
    for (const [partition, list] of placement.preference.entries()) {
      const counted = isLocal(level)
        ? list.filter((member) => members[member]?.zone === zone)
        : list;
      if (counted.length === 0) {
        const problem = `partition ${partition} has no replica in zone ${JSON.stringify(zone)}`;
        throw invalidArgument('zone', problem);
      }
      const asked = neededReplicas(level, counted.length);
      if (asked > counted.length) {
        throw invalidArgument(
          'consistency',
          `${level} asks for ${asked} replicas, the limit is the ${counted.length} that a key has`,
        );
      }
      needed.push(asked);
      candidates.push(counted);
      reachable.push(counted.filter((member) => usable[member]));
    }
    const self = members.findIndex((peer) => peer.local);
    const cover = coverPartitions(reachable, needed, orderPeers(members), self);
    if (cover.kind === 'cover') return cover;
    const { partition } = cover;
    const asked = needed[partition] as number;
    const found = reachable[partition]?.length ?? 0;
    const shedding = (candidates[partition] ?? [])
      .map((member) => members[member] as PeerState)
      .filter((peer) => !without.has(peer) && this.#sheds(peer, nowMs));
    if (found + shedding.length >= asked) {
      const names = shedding.map(({ nodeId }) => nodeId);
      throw new KvError(
        'OVERLOADED',
        `${level} needs ${asked} replicas of partition ${partition}; too many scans wait on ${names.join(', ')}`,
      );
    }
    const missing = members.filter((_, member) => !usable[member]).map(({ nodeId }) => nodeId);
    throw new KvError(
      'NO_QUORUM',
      `${level} needs ${asked} replicas of partition ${partition}, ` +
        `${found} can be reached; not: ${missing.join(', ')}`,
    );
  }
}
