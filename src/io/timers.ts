/** Cancels a timer; harmless when it has fired already. */
export type CancelTimer = () => void;

/** Waiting. The simulation replaces it by virtual time. */
export interface Timers {
  /** Calls `action` once, no sooner than `delayMs` from now. */
  after(delayMs: number, action: () => void): CancelTimer;
  /** Calls `action` every `intervalMs` until cancelled. Does not keep a process alive by itself. */
  every(intervalMs: number, action: () => void): CancelTimer;
  /** Calls `action` once what is ready in this turn of the event loop has run: what gathers work into one frame or commit. */
  turn(action: () => void): void;
}

export const systemTimers: Timers = {
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
  every(intervalMs, action) {
    const timer = setInterval(action, intervalMs);
    timer.unref();
    return () => clearInterval(timer);
  },
  turn(action) {
    setImmediate(action);
  },
};

/** Resolves after `delayMs`. */
export function sleep(timers: Timers, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    timers.after(delayMs, resolve);
  });
}

/** Resolves once what is ready in this turn of the event loop has run: see {@link Timers.turn}. */
export function nextTurn(timers: Timers): Promise<void> {
  return new Promise((resolve) => {
    timers.turn(resolve);
  });
}
