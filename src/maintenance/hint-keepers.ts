import { KvError } from '../core/errors.js';
import { checkKey, type Limits } from '../core/limits.js';
import type { Clock } from '../io/clock.js';
import { DONE } from '../io/peer-asks.js';
import { isReplicaFailure, type Peer, type ReplicaFailure } from '../io/peer.js';
import type { Timers } from '../io/timers.js';
import type { Hints } from '../replica/hints.js';
import type { AskHandlers } from '../replica/ask-handlers.js';

/** Keys wait this long for others that are owed by the same replica to the same target. */
const GATHER_MS = 10;
const KEYS_AT_ONCE = 256;
const TIMEOUT_MS = 5_000;
/** Keys that wait or are being told, in all. */
const MAX_KEYS = 10_000;

export interface HintKeepersOptions {
  readonly peerOf: (nodeId: string) => Peer | undefined;
  readonly clock: Clock;
  readonly timers: Timers;
}

/** Keys that one replica is to keep hints of for one target. */
interface Debt {
  readonly keeper: string;
  readonly target: string;
  keys: Uint8Array[];
  isTelling: boolean;
}

/**
 * Has other replicas keep the hints for writes that this node coordinated and does not store. They are told together. What
 * they do not hear is not tried again: anti-entropy finds it.
 */
export class HintKeepers {
  readonly #options: HintKeepersOptions;
  readonly #debts = new Map<string, Debt>();
  #keys = 0;
  #dropped = 0;
  #isStopped = false;

  constructor(options: HintKeepersOptions) {
    this.#options = options;
  }

  /** Hints that nobody was told of, or perhaps. */
  get dropped(): number {
    return this.#dropped;
  }

  /** `keeper` holds the key and `target` has missed it. */
  owe(keeper: string, target: string, key: Uint8Array): void {
    if (this.#isStopped || this.#keys >= MAX_KEYS) {
      this.#dropped++;
      return;
    }
    const name = `${keeper} ${target}`;
    let debt = this.#debts.get(name);
    if (debt === undefined) {
      debt = { keeper, target, keys: [], isTelling: false };
      this.#debts.set(name, debt);
    }
    // A copy: the key is a view of the whole frame that brought it.
    debt.keys.push(Uint8Array.from(key));
    this.#keys++;
    this.#tellSoon(debt);
  }

  stop(): void {
    this.#isStopped = true;
  }

  #tellSoon(debt: Debt): void {
    if (debt.isTelling) return;
    debt.isTelling = true;
    this.#options.timers.after(GATHER_MS, () => void this.#tell(debt));
  }

  async #tell(debt: Debt): Promise<void> {
    while (debt.keys.length > 0 && !this.#isStopped) {
      const keys = debt.keys.splice(0, KEYS_AT_ONCE);
      const wasTold = await this.#ask(debt, keys);
      this.#keys -= keys.length;
      if (!wasTold) this.#dropped += keys.length;
    }
    debt.isTelling = false;
  }

  async #ask({ keeper, target }: Debt, keys: readonly Uint8Array[]): Promise<boolean> {
    const peer = this.#options.peerOf(keeper);
    if (peer === undefined) return false;
    const deadlineMs = this.#options.clock.monotonicMs() + TIMEOUT_MS;
    return !isReplicaFailure(await peer.ask('owe', { target, keys }, deadlineMs));
  }
}

/** Answers `owe`: other nodes have this replica keep hints of keys that it holds. */
export function answerOwe(
  hints: Hints,
  limits: Limits,
  isTarget: (nodeId: string) => boolean,
): AskHandlers['owe'] {
  return async ({ target, keys }) => {
    if (!isTarget(target)) return refused(`target: ${target} is none of the other members`);
    for (const key of keys) {
      const problem = checkKey(key, limits);
      if (problem !== undefined) return refused(problem.message);
    }
    try {
      await hints.markDurably(target, keys);
      return DONE;
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      const kind = error.outcome === 'none' ? 'refused' : 'failed';
      return { kind, code: error.code, message: error.message };
    }
  };
}

function refused(message: string): ReplicaFailure {
  return { kind: 'refused', code: 'INVALID_ARGUMENT', message };
}
