import type { Clock } from '../io/clock.js';

/** Hints of which none has been taken for this long wait for something else. */
const PROGRESS_MS = 2_000;
/** However well it goes: after this long, comparing takes part. Hints that never run out must not keep it away. */
const LIMIT_MS = 30_000;

interface Flow {
  owed: number;
  /** When it was last seen to have become less. */
  progressMs: number;
  readonly sinceMs: number;
}

/**
 * Whether a node that has come back is being brought what it is owed. Comparing with it at the same time would find the same
 * keys and bring them once more.
 */
export class CatchUp {
  readonly #clock: Clock;
  readonly #owedTo: (nodeId: string) => number;
  readonly #flows = new Map<string, Flow>();

  /** `owedTo`: how many keys the node is owed. */
  constructor(clock: Clock, owedTo: (nodeId: string) => number) {
    this.#clock = clock;
    this.#owedTo = owedTo;
  }

  /** The way to the node is open again: what it is owed begins to flow. */
  connected(nodeId: string): void {
    this.#flows.delete(nodeId);
  }

  isUnderWay(nodeId: string): boolean {
    const owed = this.#owedTo(nodeId);
    const nowMs = this.#clock.monotonicMs();
    if (owed === 0) {
      this.#flows.delete(nodeId);
      return false;
    }
    let flow = this.#flows.get(nodeId);
    if (flow === undefined) {
      flow = { owed, progressMs: nowMs, sinceMs: nowMs };
      this.#flows.set(nodeId, flow);
    }
    if (owed < flow.owed) flow.progressMs = nowMs;
    flow.owed = owed;
    return nowMs - flow.progressMs < PROGRESS_MS && nowMs - flow.sinceMs < LIMIT_MS;
  }
}
