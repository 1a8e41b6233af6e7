import { setTimeout as sleep } from 'node:timers/promises';
import { KvError } from '../src/core/errors.js';
import { MAX_TTL_MS } from '../src/core/limits.js';
import type { Kv } from '../src/index.js';
import type { ImportedLife } from './import-entry.js';

export interface PumpOptions {
  /** Puts under way at once. */
  readonly concurrency: number;
  /** How long one record is tried again before the import stops. */
  readonly giveUpMs: number;
  /** A put was acknowledged. */
  onDone(index: number): void;
  /** A put was refused for what it is (a value that is too long): trying again would not help. */
  onRejected(index: number, error: KvError): void;
  /** The record had expired before it was stored: there is nothing to store. */
  onExpired(index: number): void;
  /** Puts have begun to fail, or have recovered. */
  onTrouble(error: KvError | undefined): void;
  /** Something stopped the import. Called once; it is thrown by whatever is called next, too. */
  onFailure(error: unknown, index: number): void;
}

/** Of puts under way, so that huge values do not fill the memory. */
const MAX_BYTES_UNDER_WAY = 32 * 1024 * 1024;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

/**
 * Many puts at once, each tried again until it is acknowledged. Two puts of one key are never under way together: trying the
 * earlier again gives it a new stamp, which would then hide the later.
 */
export class ImportPump {
  readonly #kv: Kv<Uint8Array>;
  readonly #options: PumpOptions;
  readonly #keys = new Set<string>();
  #bytes = 0;
  #failure: unknown;
  #troubled = false;
  #wake: (() => void) | undefined;
  readonly #stop = new AbortController();

  constructor(kv: Kv<Uint8Array>, options: PumpOptions) {
    this.#kv = kv;
    this.#options = options;
  }

  /** Undefined when the put has begun; else a promise of a moment when it may be offered again. Throws what stopped it. */
  offer(
    index: number,
    key: Uint8Array,
    value: Uint8Array,
    life?: ImportedLife,
  ): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#stop.signal.aborted) throw new Error('the import was stopped');
    const name = Buffer.from(key).toString('latin1');
    if (
      this.#keys.size >= this.#options.concurrency ||
      (this.#bytes > 0 && this.#bytes + value.length > MAX_BYTES_UNDER_WAY) ||
      this.#keys.has(name)
    ) {
      return this.ended();
    }
    this.#keys.add(name);
    this.#bytes += value.length;
    void this.#putUntilDone(index, key, value, life).then(
      () => this.#ended(name, value.length),
      (error: unknown) => {
        this.#fail(error, index);
        this.#ended(name, value.length);
      },
    );
    return undefined;
  }

  /** Resolves when the next put has ended; something must be under way. One waits at a time. */
  ended(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** Resolves when nothing is under way. Throws what stopped it. */
  async drain(): Promise<void> {
    while (this.#keys.size > 0) await this.ended();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** What is under way gets its answer, and is not tried again. */
  stop(): void {
    this.#stop.abort();
  }

  async #putUntilDone(
    index: number,
    key: Uint8Array,
    value: Uint8Array,
    life: ImportedLife | undefined,
  ): Promise<void> {
    const beganMs = performance.now();
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        await this.#kv.put(key, value, life);
        this.#recovered();
        this.#options.onDone(index);
        return;
      } catch (error) {
        if (!(error instanceof KvError)) throw error;
        if (isAboutTheRecord(error)) {
          if (hadExpired(error, life)) this.#options.onExpired(index);
          else this.#options.onRejected(index, error);
          return;
        }
        const isLate = performance.now() - beganMs >= this.#options.giveUpMs;
        if (!error.retryable || isLate) throw error;
        this.#inTrouble(error);
        if (!this.#stop.signal.aborted) await this.#pause(pauseMs);
        if (this.#stop.signal.aborted) throw error;
      }
    }
  }

  async #pause(pauseMs: number): Promise<void> {
    await sleep(pauseMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }

  #fail(error: unknown, index: number): void {
    this.stop();
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#options.onFailure(error, index);
  }

  #inTrouble(error: KvError): void {
    if (this.#troubled) return;
    this.#troubled = true;
    this.#options.onTrouble(error);
  }

  #recovered(): void {
    if (!this.#troubled) return;
    this.#troubled = false;
    this.#options.onTrouble(undefined);
  }

  #ended(name: string, valueBytes: number): void {
    this.#keys.delete(name);
    this.#bytes -= valueBytes;
    this.#wake?.();
    this.#wake = undefined;
  }
}

/** An expiry is refused when it has passed, or is ten years away: which of the two it was needs no exact clock. */
function hadExpired(error: KvError, life: ImportedLife | undefined): boolean {
  if (life === undefined || !('expiresAtMs' in life)) return false;
  const isPast = life.expiresAtMs < Date.now() + MAX_TTL_MS / 2;
  return isPast && /^expiresAtMs\b/.test(error.message);
}

/** A bound of keys, values or expiries, and not of the request: another record may be within it. */
function isAboutTheRecord(error: KvError): boolean {
  return error.code === 'INVALID_ARGUMENT' && /^(?:key|value|expiresAtMs)\b/.test(error.message);
}
