import type { Clock } from '../../src/io/clock.js';
import type { Timers } from '../../src/io/timers.js';
import type { Kernel, Owner, SimEvent } from './kernel.js';
import type { Stream } from './seed.js';

/** When every simulated machine believes to have started, more or less: 2023-11-14. */
export const START_WALL_MS = 1_700_000_000_000;

/** The clock of one machine. It outlives the processes that run there. */
export class MachineClock implements Clock {
  readonly #kernel: Kernel;
  #rate: number;
  /** What the wall showed, and the monotonic clock, at `#sinceMs`. */
  #wallBaseMs: number;
  #monotonicBaseMs: number;
  #sinceMs = 0;
  #worstErrorMs = 0;

  /** `originMs`: what the monotonic clock shows at the start; of two machines they must not be comparable by accident. */
  constructor(kernel: Kernel, originMs: number, skewMs = 0, rate = 1) {
    this.#kernel = kernel;
    this.#rate = rate;
    this.#wallBaseMs = START_WALL_MS + skewMs;
    this.#monotonicBaseMs = originMs;
    this.#noteError();
  }

  wallMs(): number {
    return Math.floor(this.#wallBaseMs + (this.#kernel.nowMs - this.#sinceMs) * this.#rate);
  }

  monotonicMs(): number {
    return this.#monotonicBaseMs + (this.#kernel.nowMs - this.#sinceMs) * this.#rate;
  }

  /** How far the wall is ahead of true time. */
  get skewMs(): number {
    return this.wallMs() - (START_WALL_MS + this.#kernel.nowMs);
  }

  /** The furthest that the wall has been from true time so far, either way. */
  get worstErrorMs(): number {
    this.#noteError();
    return this.#worstErrorMs;
  }

  /** Sets the wall to `skewMs` ahead of true time, at once. The monotonic clock does not move. */
  setSkew(skewMs: number): void {
    this.#rebase();
    this.#wallBaseMs = START_WALL_MS + this.#kernel.nowMs + skewMs;
    this.#noteError();
  }

  /** From now on both clocks run `rate` times as fast as true time. */
  setRate(rate: number): void {
    this.#rebase();
    this.#rate = rate;
  }

  get rate(): number {
    return this.#rate;
  }

  /** An error grows evenly between two changes of the clock, so it is worst at one of them. */
  #noteError(): void {
    this.#worstErrorMs = Math.max(this.#worstErrorMs, Math.abs(this.skewMs));
  }

  #rebase(): void {
    this.#noteError();
    const passedMs = (this.#kernel.nowMs - this.#sinceMs) * this.#rate;
    this.#wallBaseMs += passedMs;
    this.#monotonicBaseMs += passedMs;
    this.#sinceMs = this.#kernel.nowMs;
  }
}

/**
 * One life of one process: its timers fire, its messages arrive and its disk answers only while it lives. A node that
 * starts again is another process on the same machine.
 */
export class SimProcess implements Owner {
  readonly kernel: Kernel;
  /** `n1`, `c3`. Another life of the same machine has the same name. */
  readonly name: string;
  /** The index of the machine in the network. */
  readonly host: number;
  readonly clock: MachineClock;
  readonly random: Stream;
  readonly timers: Timers;
  #alive = true;
  #paused = false;
  #deferred: SimEvent[] = [];
  readonly #onDeath: (() => void)[] = [];
  #eventsLeft = 0;
  #onCountedDown: () => void = () => {};
  /** Whether what it had handed to the network but not yet delivered is lost with it, as when the power fails. */
  lostInFlight = false;

  constructor(kernel: Kernel, name: string, host: number, clock: MachineClock, random: Stream) {
    this.kernel = kernel;
    this.name = name;
    this.host = host;
    this.clock = clock;
    this.random = random;
    this.timers = this.#createTimers();
  }

  get alive(): boolean {
    return this.#alive;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** Calls `action` after `delayMs`, if the process still lives then. */
  post(delayMs: number, action: () => void): SimEvent {
    return this.kernel.schedule(delayMs, this, action);
  }

  defer(event: SimEvent): void {
    this.#deferred.push(event);
  }

  /** Ends it between two instructions: nothing of it runs any more. */
  kill(lostInFlight: boolean): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#paused = false;
    this.#deferred = [];
    this.lostInFlight = lostInFlight;
    for (const action of this.#onDeath) action();
  }

  onDeath(action: () => void): void {
    this.#onDeath.push(action);
  }

  /** Runs `action` right before the `events`-th event from now: how a process is ended at any await, not at any time. */
  afterEvents(events: number, action: () => void): void {
    this.#eventsLeft = events;
    this.#onCountedDown = action;
  }

  countDown(): void {
    if (this.#eventsLeft > 0 && --this.#eventsLeft === 0) this.#onCountedDown();
  }

  pause(): void {
    if (this.#alive) this.#paused = true;
  }

  /** What fell due meanwhile happens now, in the order in which it did. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    const missed = this.#deferred;
    this.#deferred = [];
    for (const event of missed) {
      this.post(0, () => {
        const { action } = event;
        event.action = undefined;
        action?.();
      });
    }
  }

  say(what: string): void {
    this.kernel.trace.say(this.kernel.nowMs, this.name, what);
  }

  #createTimers(): Timers {
    // Whole milliseconds, as real timers have them: what is due about then is then due together.
    const waitMs = (delayMs: number) => Math.max(1, Math.ceil(delayMs)) / this.clock.rate;
    return {
      after: (delayMs, action) => {
        const event = this.post(waitMs(delayMs), action);
        return () => {
          event.action = undefined;
        };
      },
      every: (intervalMs, action) => {
        const tick = () => {
          event = this.post(waitMs(intervalMs), tick);
          action();
        };
        let event = this.post(waitMs(intervalMs), tick);
        return () => {
          event.action = undefined;
        };
      },
      turn: (action) => {
        this.post(0, action);
      },
    };
  }
}
