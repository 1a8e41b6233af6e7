import { backoffMs, type Backoff } from '../core/backoff.js';
import { KvError } from '../core/errors.js';
import { REPLICA_DRIFT_FACTOR, type Limits, DEFAULT_LIMITS } from '../core/limits.js';
import { RetryBudget } from '../core/retry-budget.js';
import type { Version } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { Linker, Welcome } from '../io/link.js';
import type { Random } from '../io/random.js';
import type { CancelTimer, Timers } from '../io/timers.js';
import { ClusterMap } from './cluster-map.js';
import { Gathering } from './gathering.js';
import { KeyTurns } from './key-turns.js';
import type { ClusterView } from './kv.js';
import type { NodeState } from './node-state.js';
import type { Operation } from './operation.js';
import { ServerClock } from './server-clock.js';
import { Stamps } from './stamps.js';
import { UnderWay } from './under-way.js';

/** What the SDK needs of the world. The simulation brings its own. */
export interface ClientPorts {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly linker: Linker;
}

const PING_INTERVAL_MS = 2_000;
const PING_TIMEOUT_MS = 1_000;
/** Many stamps are refused at once; the clocks are measured once for them. */
const RESYNC_PAUSE_MS = 100;
const RETRY_BACKOFF = { baseMs: 25, maxMs: 1_000 };
const CLOSE_GRACE_MS = 5_000;

/**
 * One connection to a cluster, shared by every Kv made from it: links to the nodes, the clock that stamps, the retry budget,
 * and the operations under way.
 */
export class Session {
  readonly map: ClusterMap;
  readonly budget = new RetryBudget();
  readonly underWay: UnderWay;
  readonly turns = new KeyTurns();
  readonly #timers: Timers;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #serverClock: ServerClock;
  #stamps: Stamps | undefined;
  #limits: Limits = DEFAULT_LIMITS;
  #stopPings: CancelTimer | undefined;
  #onGreeted: (() => void) | undefined;
  #onLinkChange: (() => void) | undefined;

  #resyncAgainMs = 0;
  #closing: Promise<void> | undefined;

  constructor(ports: ClientPorts) {
    this.#timers = ports.timers;
    this.#clock = ports.clock;
    this.#random = ports.random;
    this.#serverClock = new ServerClock(ports.clock);
    this.underWay = new UnderWay(ports.clock, ports.timers);
    this.map = new ClusterMap(
      ports.linker,
      new Gathering(ports.timers),
      (node, welcome, roundTripMs) => this.#onOpen(node, welcome, roundTripMs),
      () => this.#onLinkChange?.(),
    );
  }

  /**
   * Resolves when one of the endpoints has greeted. Rejects with UNAVAILABLE when none has within `timeoutMs`, saying of each
   * why; at once when all refuse for good; with CANCELLED when `signal` fires.
   */
  open(endpoints: readonly string[], timeoutMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const stop = (error?: KvError): void => {
        cancelTimer();
        signal?.removeEventListener('abort', onAbort);
        this.#onGreeted = undefined;
        this.#onLinkChange = undefined;
        if (error === undefined) {
          resolve();
        } else {
          reject(error);
          void this.close();
        }
      };
      const onAbort = (): void => {
        const cause: unknown = signal?.reason;
        stop(new KvError('CANCELLED', 'The caller cancelled connecting.', { cause }));
      };
      const cancelTimer = this.#timers.after(timeoutMs, () => {
        const message = `No node answered within ${timeoutMs} ms: ${this.unreachable()}.`;
        stop(new KvError('UNAVAILABLE', message));
      });
      signal?.addEventListener('abort', onAbort);
      this.#onGreeted = stop;
      this.#onLinkChange = () => {
        const refused = this.map.refused[0];
        if (refused !== undefined && this.map.nodes.length === 0) {
          stop(new KvError(refused.code, refused.message, { node: refused.endpoint }));
        }
      };
      this.map.open(endpoints);
    });
  }

  nowMs(): number {
    return this.#clock.monotonicMs();
  }

  get limits(): Limits {
    return this.#limits;
  }

  view(): ClusterView {
    return this.map.view(this.#serverClock.offsetMs);
  }

  /** A version above all that this connection has read or had acknowledged, so far as healthy nodes admit that. */
  stamp(): Version {
    const version = this.#stamps?.next();
    if (version === undefined) throw new KvError('INTERNAL', 'The clock has no stamp to give.');
    return version;
  }

  /** Later stamps will be above `version`, unless it lies further ahead than any healthy node admits. */
  observe(version: Version): void {
    this.#stamps?.observe(version);
  }

  backoffMs(retry: number, backoff: Backoff = RETRY_BACKOFF): number {
    return backoffMs(backoff, retry, this.#random.fraction());
  }

  /** A number that spreads what has no key of its own over the nodes. */
  anyHash(): number {
    return Math.floor(this.#random.fraction() * 0x1_0000_0000);
  }

  /** What is wrong with each endpoint, in one line. */
  unreachable(): string {
    const reasons = this.map.nodes.map(({ name, failure }) =>
      saidOf(name, failure?.message ?? 'no answer yet'),
    );
    for (const { endpoint, message } of this.map.refused) reasons.push(saidOf(endpoint, message));
    return reasons.join('; ');
  }

  /** Throws UNAVAILABLE once the connection is being closed. */
  checkOpen(): void {
    if (this.#closing !== undefined) {
      throw new KvError('UNAVAILABLE', 'This connection has been closed.', {
        advice: 'Connect again.',
      });
    }
  }

  /** Takes the operation over: it is settled by an answer, its deadline or its caller. */
  start(operation: Operation): void {
    const nowMs = this.nowMs();
    this.budget.deposit(nowMs);
    this.underWay.add(operation, nowMs);
  }

  /** Resolves after `delayMs`, or when `signal` fires. */
  pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const stop = (): void => {
        cancel();
        signal?.removeEventListener('abort', stop);
        resolve();
      };
      const cancel = this.#timers.after(delayMs, stop);
      if (signal?.aborted === true) stop();
      else signal?.addEventListener('abort', stop);
    });
  }

  /** A time between half of `atMostMs` and the whole, so that many that wait alike do not come together. */
  spread(atMostMs: number): number {
    return atMostMs * (1 - this.#random.fraction() / 2);
  }

  /** 16 hexadecimal characters that nobody else draws. */
  randomId(): string {
    return Buffer.from(this.#random.bytes(8)).toString('hex');
  }

  /** Whether the connection is closed or being closed. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Measures the clocks of all nodes anew: a stamp was refused. */
  resyncClock(): void {
    const nowMs = this.nowMs();
    if (nowMs < this.#resyncAgainMs) return;
    this.#resyncAgainMs = nowMs + RESYNC_PAUSE_MS;
    for (const node of this.map.nodes) node.offsets.clear();
    this.#pingAll();
  }

  /** Lets what is under way finish for up to the grace, then cancels it and closes the links. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.underWay.drain(CLOSE_GRACE_MS);
    this.#stopPings?.();
    await this.map.close(CLOSE_GRACE_MS);
  }

  #onOpen(node: NodeState, welcome: Welcome, roundTripMs: number): void {
    node.offsets.clear();
    node.offsets.add(welcome.wallMs, this.#clock.wallMs(), roundTripMs);
    this.#settleClock();
    this.#limits = {
      ...this.#limits,
      maxKeyBytes: welcome.maxKeyBytes,
      maxValueBytes: welcome.maxValueBytes,
    };
    if (this.#stamps === undefined) {
      this.#stamps = new Stamps({
        wallMs: () => this.#serverClock.wallMs(),
        random: this.#random,
        maxDriftMs: REPLICA_DRIFT_FACTOR * welcome.maxDriftMs,
      });
      this.#stopPings = this.#timers.every(PING_INTERVAL_MS, () => this.#keepTime());
    }
    this.#onGreeted?.();
  }

  #settleClock(): void {
    this.#serverClock.settle(this.map.nodes);
    this.#stamps?.correct();
  }

  #keepTime(): void {
    this.map.lookForMoved(this.nowMs());
    if (this.#serverClock.jumped()) for (const node of this.map.nodes) node.offsets.clear();
    this.#pingAll();
  }

  #pingAll(): void {
    for (const node of this.map.nodes) if (node.open) void this.#ping(node);
  }

  async #ping(node: NodeState): Promise<void> {
    const sentMs = this.nowMs();
    const answer = await node.link.ping(PING_TIMEOUT_MS);
    if (answer.kind === 'pong') {
      const roundTripMs = this.nowMs() - sentMs;
      node.offsets.add(answer.wallMs, this.#clock.wallMs(), roundTripMs);
      this.map.heard(node, answer, roundTripMs);
      this.#settleClock();
    } else {
      node.silent = node.open;
    }
  }
}

/** Names the node, unless the message begins with its name. */
function saidOf(name: string, message: string): string {
  return message.startsWith(name) ? message : `${name}: ${message}`;
}
