import type { PartitionSet } from '../core/partition-set.js';
import type { Peer } from '../io/peer.js';
import {
  exchange,
  type ExchangeOptions,
  type ExchangePorts,
  type ExchangeResult,
} from './exchange.js';

export interface ExchangeTurnsOptions extends ExchangePorts {
  /** Lets whoever wants to compare with this node hear that it is busy, until what is given is called. */
  readonly begin: () => () => void;
}

/** One comparison at a time that this node begins, whoever wants it: they take turns in the order in which they came. */
export class ExchangeTurns {
  readonly #options: ExchangeTurnsOptions;
  #last: Promise<unknown> = Promise.resolve();
  #current: AbortController | undefined;
  #stopped = false;

  constructor(options: ExchangeTurnsOptions) {
    this.#options = options;
  }

  /** As {@link exchange}, when its turn has come. The time it waits counts against its deadline. */
  exchange(
    peer: Peer,
    partitions: PartitionSet,
    options: ExchangeOptions,
  ): Promise<ExchangeResult> {
    return this.take(
      (ports, signal) => exchange(ports, peer, partitions, { ...options, signal }),
      options.signal,
    );
  }

  /** Runs `compare` when its turn has come. The signal that it gets is raised when `signal` is, or when all are stopped. */
  take<T>(
    compare: (ports: ExchangePorts, signal: AbortSignal) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const turn = this.#run(this.#last, compare, signal);
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** Ends the one under way, and those that wait as soon as they begin. Resolves when the last has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#current?.abort();
    await this.#last;
  }

  async #run<T>(
    before: Promise<unknown>,
    compare: (ports: ExchangePorts, signal: AbortSignal) => Promise<T>,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    await before;
    const current = new AbortController();
    this.#current = current;
    const onAbort = (): void => current.abort();
    signal?.addEventListener('abort', onAbort);
    if (this.#stopped || signal?.aborted === true) onAbort();
    const end = this.#options.begin();
    try {
      return await compare(this.#options, current.signal);
    } finally {
      end();
      signal?.removeEventListener('abort', onAbort);
    }
  }
}
