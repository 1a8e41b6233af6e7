import { invalidArgument } from '../core/errors.js';
import { encodeText } from './codec.js';
import type { Kv } from './kv.js';
import { takeLease, type Lease, type LeaseRecord, type LeaseTerms } from './lease.js';
import type { Lock, LockOptions } from './linearizable.js';
import { checkInteger, checkObject, checkSignal } from './request-options.js';
import type { Session } from './session.js';

const DEFAULT_TTL_MS = 10_000;
const MIN_TTL_MS = 100;
const MAX_LEASE_MS = 86_400_000;

export async function lockNamed(
  kv: Kv<LeaseRecord>,
  session: Session,
  name: string,
  options: LockOptions,
): Promise<Lock> {
  const terms = termsOf('lock', name, options);
  return new HeldLock(name, await takeLease(kv, session, terms));
}

/** Checks what locks and elections are asked for. */
export function termsOf(kind: 'lock' | 'election', name: string, options: LockOptions): LeaseTerms {
  checkObject('options', options);
  if (typeof name !== 'string' || name === '') {
    throw invalidArgument('name', 'must be a string, and not empty');
  }
  const { as, ttlMs, waitMs, signal } = options;
  if (as !== undefined) encodeText('as', as);
  return {
    what: `${kind} ${name}`,
    key: `${kind}/${name}`,
    ttlMs: checkTtl(ttlMs),
    waitMs:
      waitMs === undefined || waitMs === Infinity
        ? Infinity
        : checkInteger('waitMs', waitMs, 0, Number.MAX_SAFE_INTEGER),
    signal: signal === undefined ? undefined : checkSignal(signal),
    ...(as === undefined ? {} : { value: as }),
  };
}

function checkTtl(ttlMs: number | undefined): number {
  return ttlMs === undefined
    ? DEFAULT_TTL_MS
    : checkInteger('ttlMs', ttlMs, MIN_TTL_MS, MAX_LEASE_MS);
}

class HeldLock implements Lock {
  readonly #lease: Lease;

  constructor(
    readonly name: string,
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

  release(): Promise<boolean> {
    return this.#lease.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await disposed(this.#lease);
  }
}

/** Gives the lease up where that can be done; else it ends with its time. */
export async function disposed(lease: Lease): Promise<void> {
  await lease.release().catch(() => undefined);
}
