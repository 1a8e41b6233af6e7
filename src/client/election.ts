import { KvError } from '../core/errors.js';
import { encodeText } from './codec.js';
import type { Entry, Kv } from './kv.js';
import {
  LeaseWatch,
  lookAgain,
  takeLease,
  tokenOf,
  type Lease,
  type LeaseRecord,
} from './lease.js';
import type { Election, Leader, Leadership, LockOptions } from './linearizable.js';
import { disposed, termsOf } from './lock.js';
import { checkSignal } from './request-options.js';
import type { Session } from './session.js';

/** An election is a lock whose record says who holds it. */
export function electionNamed(
  kv: Kv<LeaseRecord>,
  session: Session,
  name: string,
  options: Pick<LockOptions, 'ttlMs'>,
): Election {
  const terms = termsOf('election', name, options);
  return {
    name,
    async campaign(value, waiting = {}) {
      encodeText('value', value);
      const { waitMs, signal } = termsOf('election', name, waiting);
      return new Term(value, await takeLease(kv, session, { ...terms, waitMs, signal, value }));
    },
    observe(observing = {}) {
      const { signal } = observing;
      return leaders(kv, session, terms.key, signal === undefined ? signal : checkSignal(signal));
    },
  };
}

async function* leaders(
  kv: Kv<LeaseRecord>,
  session: Session,
  key: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<Leader | undefined, void, void> {
  const watch = new LeaseWatch(session);
  /** The token of the leader who was told last; empty: nobody. */
  let told: string | undefined;
  for (;;) {
    const leader = await look(kv, key, watch, signal);
    const token = leader === 'unknown' ? told : (leader?.token ?? '');
    if (leader !== 'unknown' && token !== told) {
      told = token;
      yield leader;
    }
    await lookAgain(session, signal);
    if (signal?.aborted === true) return;
  }
}

async function look(
  kv: Kv<LeaseRecord>,
  key: string,
  watch: LeaseWatch,
  signal: AbortSignal | undefined,
): Promise<Leader | undefined | 'unknown'> {
  let entry: Entry<LeaseRecord> | undefined;
  try {
    entry = await kv.getEntry(key, {
      consistency: 'LINEARIZABLE',
      ...(signal === undefined ? {} : { signal }),
    });
  } catch (error) {
    if (error instanceof KvError && (error.retryable || signal?.aborted === true)) return 'unknown';
    throw error;
  }
  if (entry === undefined || watch.isOver(entry)) return undefined;
  return { value: entry.value.value ?? '', token: tokenOf(entry) };
}

class Term implements Leadership {
  readonly #lease: Lease;

  constructor(
    readonly value: string,
    lease: Lease,
  ) {
    this.#lease = lease;
  }

  get token(): string {
    return this.#lease.token;
  }

  get signal(): AbortSignal {
    return this.#lease.signal;
  }

  get held(): boolean {
    return this.#lease.held;
  }

  resign(): Promise<boolean> {
    return this.#lease.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await disposed(this.#lease);
  }
}
