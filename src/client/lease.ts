import { KvError, type KvErrorDetails } from '../core/errors.js';
import { MAX_TIMEOUT_MS } from '../core/limits.js';
import { compareVersions, formatVersion, type Version } from '../core/version.js';
import { jsonCodec, type Codec } from './codec.js';
import type { Entry, Kv } from './kv.js';
import type { Session } from './session.js';

/** What lies under the key of a lock or an election. */
export interface LeaseRecord {
  /** Drawn anew for every one that tries to hold it. */
  readonly holder: string;
  /** So long after its last change anybody may take it over. */
  readonly ttlMs: number;
  /** The version at which its holder took it, from the first renewal on; before that the version of the record is it. */
  readonly token?: string;
  /** What the holder says of itself. */
  readonly value?: string;
}

export interface LeaseTerms {
  /** `lock jobs`: for messages. */
  readonly what: string;
  readonly key: string;
  readonly ttlMs: number;
  /** Infinity: for ever. */
  readonly waitMs: number;
  readonly signal: AbortSignal | undefined;
  readonly value?: string;
}

export const leaseCodec: Codec<LeaseRecord> = {
  name: 'lease',
  encode: (lease) => jsonCodec.encode(lease),
  decode(bytes) {
    const lease = jsonCodec.decode(bytes) as Partial<LeaseRecord> | null;
    if (typeof lease?.holder === 'string' && typeof lease.ttlMs === 'number') {
      return lease as LeaseRecord;
    }
    throw new KvError('INVALID_ARGUMENT', 'The key holds something else than a lock.');
  },
};

/** A lease that nobody renews is looked at this often by those that wait for it; the pauses vary. */
const LOOK_MS = 200;
const LINEARIZABLE = { consistency: 'LINEARIZABLE' } as const;
/** Of its time to live: a holder renews after a third, and counts itself out when nine tenths are over. */
const RENEW_SHARE = 1 / 3;
const HOLD_SHARE = 0.9;
/** A lease whose answer took longer is not handed out. */
const FRESH_SHARE = 0.5;
const RETRY_MS = 100;

/**
 * Tells when a lease is over, by its silence: when its record has been the same for its whole time to live, by one monotonic
 * clock and from the first look on. Wall clocks have no part in it: the holder began to count before it sent what is seen here,
 * and counts less. So as long as monotonic clocks run alike within a tenth, nobody takes a lease that its holder counts on.
 */
export class LeaseWatch {
  readonly #session: Session;
  #version: Version | undefined;
  #overAtMs = Infinity;

  constructor(session: Session) {
    this.#session = session;
  }

  /** Whether the lease is over, as it was found now. */
  isOver({ version, value }: Entry<LeaseRecord>): boolean {
    const nowMs = this.#session.nowMs();
    if (this.#version === undefined || compareVersions(version, this.#version) !== 0) {
      this.#version = version;
      this.#overAtMs = nowMs + value.ttlMs;
    }
    return nowMs >= this.#overAtMs;
  }
}

export function tokenOf({ version, value }: Entry<LeaseRecord>): string {
  return value.token ?? formatVersion(version);
}

/** Lets some time pass before the next look. */
export function lookAgain(session: Session, signal?: AbortSignal): Promise<void> {
  return session.pause(session.spread(LOOK_MS), signal);
}

/** Waits until the lease is free or over, and takes it. Rejects with TIMED_OUT, CANCELLED, or what waiting does not help. */
export async function takeLease(
  kv: Kv<LeaseRecord>,
  session: Session,
  terms: LeaseTerms,
): Promise<Lease> {
  const candidate: Candidate = { holder: session.randomId(), open: undefined };
  try {
    return await waitAndTake(kv, session, terms, candidate);
  } catch (error) {
    if (!session.closed) giveBack(kv, terms.key, candidate).catch(() => undefined);
    throw error;
  }
}

/** Who tries to take a lease, and its latest request that may have taken it, though the lease was not handed out. */
interface Candidate {
  readonly holder: string;
  open: string | undefined;
}

/** So that a lease which nobody uses keeps nobody out for its whole time. Once asked about, the request does not take it any more. */
async function giveBack(kv: Kv<LeaseRecord>, key: string, candidate: Candidate): Promise<void> {
  if (candidate.open === undefined) return;
  await kv.outcome(candidate.open);
  const found = await kv.getEntry(key, LINEARIZABLE);
  if (found?.value.holder !== candidate.holder) return;
  await kv.cas(key, { expect: { version: found.version } }, undefined);
}

async function waitAndTake(
  kv: Kv<LeaseRecord>,
  session: Session,
  terms: LeaseTerms,
  candidate: Candidate,
): Promise<Lease> {
  const { what, key, ttlMs, waitMs, signal, value } = terms;
  const record: LeaseRecord = {
    holder: candidate.holder,
    ttlMs,
    ...(value === undefined ? {} : { value }),
  };
  const isOwn = (found: Entry<LeaseRecord>): boolean => found.value.holder === record.holder;
  const untilMs = session.nowMs() + waitMs;
  const watch = new LeaseWatch(session);
  const within = signal === undefined ? {} : { signal };
  const timeoutMs = Math.min(ttlMs * HOLD_SHARE, MAX_TIMEOUT_MS);
  let hasLooked = false;
  for (;;) {
    if (signal?.aborted === true) throw cancelled(what, signal);
    let failure: KvError | undefined;
    try {
      // It is likely to be free at first. Later a look costs less than a compare-and-set, which is recorded when it loses.
      let found = hasLooked ? await kv.getEntry(key, { ...within, ...LINEARIZABLE }) : undefined;
      hasLooked = true;
      if (found === undefined || isOwn(found) || watch.isOver(found)) {
        const sentAtMs = session.nowMs();
        const expect = found === undefined ? 'absent' : { version: found.version };
        const result = await kv.cas(key, { ...within, expect, timeoutMs }, record);
        if (result.swapped) {
          const isFresh = session.nowMs() - sentAtMs < ttlMs * FRESH_SHARE;
          if (isFresh) return new Lease(kv, session, terms, record, result.version, sentAtMs);
          // So late that little of its time is left, if any: it is taken again.
          candidate.open = result.requestId;
          continue;
        }
        ({ found } = result);
        // An attempt that seemed to fail has taken effect: it is taken again, so that its time is known.
        if (found === undefined || isOwn(found)) continue;
        candidate.open = undefined;
        watch.isOver(found);
      }
    } catch (error) {
      if (error instanceof KvError) candidate.open = error.requestId ?? candidate.open;
      if (session.closed || !(error instanceof KvError) || !error.retryable) throw error;
      // Waiting may help, as it does for a lock that another one holds.
      failure = error;
    }
    if (session.nowMs() >= untilMs) throw waitedInVain(what, waitMs, failure);
    await session.pause(Math.min(session.spread(LOOK_MS), untilMs - session.nowMs()), signal);
  }
}

/** A lease that is held, and renewed until it is given up or lost. */
export class Lease {
  /** The fencing token. */
  readonly token: string;
  readonly #kv: Kv<LeaseRecord>;
  readonly #session: Session;
  readonly #terms: LeaseTerms;
  readonly #record: LeaseRecord;
  readonly #lost = new AbortController();
  /** Ends the wait for the next renewal. */
  readonly #leaving = new AbortController();
  readonly #renewing: Promise<void>;
  #version: Version;
  #renewedAtMs: number;
  #released: Promise<boolean> | undefined;

  constructor(
    kv: Kv<LeaseRecord>,
    session: Session,
    terms: LeaseTerms,
    record: LeaseRecord,
    version: Version,
    sentAtMs: number,
  ) {
    this.token = formatVersion(version);
    this.#kv = kv;
    this.#session = session;
    this.#terms = terms;
    this.#record = { ...record, token: this.token };
    this.#version = version;
    this.#renewedAtMs = sentAtMs;
    this.#renewing = this.#renew();
  }

  /** Aborted when the lease is lost. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  get held(): boolean {
    return !this.#leaving.signal.aborted && this.#leftMs() > 0;
  }

  /** Removes the record if it is still that of this holder. True: the lease was held until then. */
  release(): Promise<boolean> {
    this.#released ??= this.#release();
    return this.#released;
  }

  /** How long this holder may still count on it. */
  #leftMs(): number {
    return this.#renewedAtMs + this.#terms.ttlMs * HOLD_SHARE - this.#session.nowMs();
  }

  async #renew(): Promise<void> {
    let waitMs = this.#terms.ttlMs * RENEW_SHARE;
    for (;;) {
      await this.#session.pause(Math.min(waitMs, this.#leftMs()), this.#leaving.signal);
      if (this.#leaving.signal.aborted) return;
      const leftMs = this.#leftMs();
      if (leftMs <= 0) {
        this.#lose(`was not renewed within ${this.#terms.ttlMs} ms`);
        return;
      }
      waitMs = await this.#renewOnce(leftMs);
    }
  }

  /** How long to wait before the next time. */
  async #renewOnce(leftMs: number): Promise<number> {
    const sentAtMs = this.#session.nowMs();
    const { key, ttlMs } = this.#terms;
    const options = {
      expect: { version: this.#version },
      timeoutMs: Math.min(leftMs, MAX_TIMEOUT_MS),
    };
    try {
      const result = await this.#kv.cas(key, options, this.#record);
      if (result.swapped) {
        this.#version = result.version;
        this.#renewedAtMs = sentAtMs;
        return ttlMs * RENEW_SHARE;
      }
      if (this.#isOwn(result.found)) {
        // A renewal that seemed to fail has taken effect. This one has not, and is tried again.
        this.#version = result.found.version;
        return 0;
      }
      this.#lose('was taken away');
      return 0;
    } catch (error) {
      const mayPass = error instanceof KvError && error.retryable && !this.#session.closed;
      if (mayPass) return RETRY_MS;
      this.#lose('cannot be renewed', { cause: error });
      return 0;
    }
  }

  #isOwn(found: Entry<LeaseRecord> | undefined): found is Entry<LeaseRecord> {
    return found?.value.holder === this.#record.holder;
  }

  #lose(why: string, details: KvErrorDetails = {}): void {
    this.#leaving.abort();
    this.#lost.abort(new KvError('TIMED_OUT', `The ${this.#terms.what} ${why}.`, details));
  }

  async #release(): Promise<boolean> {
    this.#leaving.abort();
    // One that is under way would change the version under which the record is to be removed.
    await this.#renewing;
    const wasHeld = !this.#lost.signal.aborted;
    for (;;) {
      const options = { expect: { version: this.#version } };
      const result = await this.#kv.cas(this.#terms.key, options, undefined);
      if (result.swapped) return wasHeld;
      if (!this.#isOwn(result.found)) return false;
      this.#version = result.found.version;
    }
  }
}

function cancelled(what: string, signal: AbortSignal): KvError {
  const cause: unknown = signal.reason;
  return new KvError('CANCELLED', `The caller gave up waiting for the ${what}.`, { cause });
}

function waitedInVain(what: string, waitMs: number, failure: KvError | undefined): KvError {
  return failure === undefined
    ? new KvError('TIMED_OUT', `The ${what} was held by others for ${waitMs} ms.`, {
        advice: 'Wait for longer, or try again later.',
      })
    : new KvError(
        failure.code,
        `The ${what} was not to be had within ${waitMs} ms: ${failure.message}`,
        {
          cause: failure,
        },
      );
}
