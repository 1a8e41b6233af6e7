import type { Clock } from '../io/clock.js';
import type { Random } from '../io/random.js';
import type { Timers } from '../io/timers.js';
import type { LocalReplica } from '../replica/local-replica.js';

/** Between two looks at what is left over: a round is long over, or given up, after that. */
const EVERY_MS = 1_000;
/** Rounds of one look, all at once. */
const MOST_AT_ONCE = 64;
const TIMEOUT_MS = 2_000;

export interface SettlingOptions {
  readonly replica: LocalReplica;
  /** Runs a round of the key that changes nothing, at a ballot above that version. */
  readonly settle: (key: Uint8Array, above: Uint8Array, deadlineMs: number) => Promise<unknown>;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
}

/**
 * Brings to an end what rounds have left behind that were given up (their coordinator died, or its caller went): promises that
 * nothing has followed and that keep copies out, so that replicas would stay different, and that cost memory. Every replica that
 * has one looks for itself, at moments that chance spreads. Stops when what is given is called.
 */
export function startSettling(options: SettlingOptions): () => void {
  const { replica, settle, clock, timers, random } = options;
  let isBusy = false;

  const look = async (): Promise<void> => {
    const deadlineMs = clock.monotonicMs() + TIMEOUT_MS;
    const keys = replica.promises.unsettled(MOST_AT_ONCE);
    await Promise.all(keys.map(({ key, above }) => settle(key, above, deadlineMs)));
  };
  return timers.every(EVERY_MS * (0.75 + random.fraction() / 2), () => {
    if (isBusy || !replica.connected) return;
    isBusy = true;
    void look().finally(() => {
      isBusy = false;
    });
  });
}
