import { medianOffset } from '../core/clock-health.js';
import type { Clock } from '../io/clock.js';
import type { NodeState } from './node-state.js';

const SAMPLES = 8;

/** A local wall clock that moves this much against the monotonic one was set: what was measured before is void. */
const JUMP_MS = 50;

interface Sample {
  readonly offsetMs: number;
  readonly roundTripMs: number;
}

/** The last measurements of one node's clock. */
export class OffsetSamples {
  #samples: Sample[] = [];

  /** `serverWallMs` was read somewhere within the round trip that ended at `localWallMs`; the middle errs least. */
  add(serverWallMs: number, localWallMs: number, roundTripMs: number): void {
    if (this.#samples.length === SAMPLES) this.#samples.shift();
    this.#samples.push({ offsetMs: serverWallMs + roundTripMs / 2 - localWallMs, roundTripMs });
  }

  clear(): void {
    this.#samples = [];
  }

  /**
   * The offset as the shortest round trip measured it, since the error is at most half of it (Cristian 1989); undefined
   * without measurements.
   */
  best(): number | undefined {
    let best: Sample | undefined;
    for (const sample of this.#samples) {
      if (best === undefined || sample.roundTripMs <= best.roundTripMs) best = sample;
    }
    return best?.offsetMs;
  }
}

/**
 * The wall clock of the servers, as far as it can be told from here: the local one, corrected by the median offset to the
 * nodes that are not quarantined. What this connection stamps, it stamps by this clock.
 */
export class ServerClock {
  readonly #clock: Clock;
  #offsetMs = 0;
  #aheadMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#aheadMs = this.#wallAheadMs();
  }

  get offsetMs(): number {
    return this.#offsetMs;
  }

  wallMs(): number {
    return this.#clock.wallMs() + this.#offsetMs;
  }

  /**
   * Takes the median of the healthy nodes that have been measured. Keeps the offset it had when none has: a node that is
   * quarantined says itself that its clock is wrong.
   */
  settle(nodes: Iterable<NodeState>): void {
    const offsets: number[] = [];
    for (const node of nodes) {
      const offsetMs = node.quarantined ? undefined : node.offsets.best();
      if (offsetMs !== undefined) offsets.push(offsetMs);
    }
    if (offsets.length > 0) this.#offsetMs = medianOffset(offsets);
  }

  /**
   * True when the local wall clock was set since the last call, or the machine slept: what was measured of the nodes has to
   * be measured again.
   */
  jumped(): boolean {
    const aheadMs = this.#wallAheadMs();
    const jumped = Math.abs(aheadMs - this.#aheadMs) > JUMP_MS;
    this.#aheadMs = aheadMs;
    return jumped;
  }

  #wallAheadMs(): number {
    return this.#clock.wallMs() - this.#clock.monotonicMs();
  }
}
