import type { Clock } from '../src/io/clock.js';
import type { Timers } from '../src/io/timers.js';

/** A wall clock that a test may set wrong. */
export interface VirtualClock extends Clock {
  /** Milliseconds added to the true wall time. */
  skewMs: number;
}

/** Time that passes only when the test says so, and then in one order only. */
export interface VirtualTime {
  /** A clock without skew. */
  readonly clock: VirtualClock;
  readonly timers: Timers;
  /** Another machine's clock on the same time. */
  clockWithSkew(skewMs: number): VirtualClock;
  /** Lets `durationMs` pass: fires what falls due, in order of time and then of asking, with promises drained in between. */
  advance(durationMs: number): Promise<void>;
  /** Lets no time pass: runs what waits for this turn, and promises, until nothing is ready. */
  settle(): Promise<void>;
  /** Advances from timer to timer until `holds`; throws when it does not within `limitMs`. */
  until(holds: () => boolean, limitMs: number): Promise<void>;
  /** Timers not yet fired or cancelled, those of `every` included. */
  readonly waiting: number;
}

interface Timer {
  dueMs: number;
  readonly order: number;
  /** Undefined: it fires once. */
  readonly intervalMs: number | undefined;
  readonly action: () => void;
}

/** A turn that keeps asking for another one is a loop without end; this many in a row say so. */
const MAX_TURNS = 100_000;

export function createVirtualTime(startWallMs = 1_700_000_000_000): VirtualTime {
  let nowMs = 0;
  let asked = 0;
  const waiting = new Set<Timer>();
  let turns: (() => void)[] = [];

  const clockWithSkew = (skewMs: number): VirtualClock => ({
    skewMs,
    wallMs() {
      return Math.floor(startWallMs + nowMs + this.skewMs);
    },
    monotonicMs: () => nowMs,
  });

  const add = (delayMs: number, intervalMs: number | undefined, action: () => void) => {
    const timer: Timer = {
      dueMs: nowMs + Math.max(delayMs, 0),
      order: asked++,
      intervalMs,
      action,
    };
    waiting.add(timer);
    return () => {
      waiting.delete(timer);
    };
  };

  const timers: Timers = {
    after: (delayMs, action) => add(delayMs, undefined, action),
    every: (intervalMs, action) => add(intervalMs, Math.max(intervalMs, 0.001), action),
    turn(action) {
      turns.push(action);
    },
  };

  const next = (): Timer | undefined => {
    let first: Timer | undefined;
    for (const timer of waiting) {
      if (
        first === undefined ||
        timer.dueMs < first.dueMs ||
        (timer.dueMs === first.dueMs && timer.order < first.order)
      ) {
        first = timer;
      }
    }
    return first;
  };

  const settle = async (): Promise<void> => {
    await drainPromises();
    for (let turn = 0; turns.length > 0; turn++) {
      if (turn === MAX_TURNS) throw new Error('turn after turn, and time never passes');
      const ready = turns;
      turns = [];
      for (const action of ready) {
        action();
        await drainPromises();
      }
    }
  };

  const fire = async (timer: Timer): Promise<void> => {
    nowMs = Math.max(nowMs, timer.dueMs);
    if (timer.intervalMs === undefined) waiting.delete(timer);
    else timer.dueMs = nowMs + timer.intervalMs;
    timer.action();
    await settle();
  };

  return {
    clock: clockWithSkew(0),
    timers,
    clockWithSkew,
    settle,
    async advance(durationMs) {
      const endMs = nowMs + durationMs;
      await settle();
      for (let timer = next(); timer !== undefined && timer.dueMs <= endMs; timer = next()) {
        await fire(timer);
      }
      nowMs = endMs;
    },
    async until(holds, limitMs) {
      const endMs = nowMs + limitMs;
      await settle();
      while (!holds()) {
        const timer = next();
        if (timer === undefined || timer.dueMs > endMs) {
          throw new Error(`does not hold after ${limitMs} ms of virtual time`);
        }
        await fire(timer);
      }
    },
    get waiting() {
      return waiting.size;
    },
  };
}

/** Microtasks run dry before the tick queue is looked at, so when this resolves every promise that could settle has. */
function drainPromises(): Promise<void> {
  return new Promise((resolve) => {
    queueMicrotask(() => process.nextTick(resolve));
  });
}
