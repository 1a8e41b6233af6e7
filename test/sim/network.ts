import { Channel, type Service } from './channel.js';
import type { Kernel } from './kernel.js';
import type { SimProcess } from './process.js';
import type { Stream } from './seed.js';

export interface NetworkTempo {
  /** The mean of a message's way, most of it the same for all messages between two machines. */
  readonly delayMs: number;
  /** Messages arrive on multiples of it, so that several arrive at once. 0: whenever they do. */
  readonly grainMs: number;
  /** How likely a message is held up, for ten times as long as usual and more. */
  readonly tailChance: number;
  /** How long a broken connection is left alone. */
  readonly reconnectMs?: { readonly low: number; readonly high: number };
}

const RECONNECT_MS = { low: 50, high: 600 };

/** How long an open channel whose other side does not answer takes to be seen as broken. */
const KEEPALIVE_MS = 4_000;

/** A message that a cut holds up is tried again so often. */
const RESEND_MS = 250;
const RESENDS = 40;

/** How many messages met which fate. */
export interface NetworkCounts {
  delivered: number;
  dropped: number;
  duplicated: number;
  blocked: number;
}

/** Every machine, the ways between them, and what is wrong with the ways. */
export class Network {
  readonly kernel: Kernel;
  readonly stream: Stream;
  readonly counts: NetworkCounts = { delivered: 0, dropped: 0, duplicated: 0, blocked: 0 };
  /** How likely a message is lost, on any way. */
  dropChance = 0;
  /** How likely a message arrives twice. */
  duplicateChance = 0;
  readonly #tempo: NetworkTempo;
  readonly #hosts: number;
  readonly #baseMs: Float64Array;
  /** How many times slower than usual a way is. */
  readonly #slowness: Float64Array;
  /** Since when nothing gets through on a way; negative: it does. */
  readonly #cutAtMs: Float64Array;
  readonly #listeners: (Listener | undefined)[] = [];
  readonly #channels = new Set<Channel>();

  constructor(kernel: Kernel, stream: Stream, hosts: number, tempo: NetworkTempo) {
    this.kernel = kernel;
    this.stream = stream;
    this.#hosts = hosts;
    this.#tempo = tempo;
    const ways = hosts * hosts;
    this.#baseMs = Float64Array.from({ length: ways }, () =>
      stream.between(tempo.delayMs / 2, tempo.delayMs),
    );
    this.#slowness = new Float64Array(ways).fill(1);
    this.#cutAtMs = new Float64Array(ways).fill(-1);
  }

  get reconnectMs(): { readonly low: number; readonly high: number } {
    return this.#tempo.reconnectMs ?? RECONNECT_MS;
  }

  /** From now on `process` answers for its machine. */
  listen(process: SimProcess, service: Service): void {
    this.#listeners[process.host] = { process, service };
  }

  /** A channel from `process` to whoever answers on `host`, now or later; it connects by itself until it is closed. */
  open(process: SimProcess, host: number, callerName: string): Channel {
    const channel = new Channel(this, process, host, callerName);
    this.#channels.add(channel);
    process.onDeath(() => {
      this.#channels.delete(channel);
    });
    channel.connect();
    return channel;
  }

  forget(channel: Channel): void {
    this.#channels.delete(channel);
  }

  /** Nothing gets from one machine to the other any more. */
  cut(from: number, to: number): void {
    const way = this.#way(from, to);
    if (from === to || (this.#cutAtMs[way] as number) >= 0) return;
    this.#cutAtMs[way] = this.kernel.nowMs;
    this.kernel.schedule(KEEPALIVE_MS, undefined, () => this.#breakSilent(from, to));
  }

  mend(from: number, to: number): void {
    this.#cutAtMs[this.#way(from, to)] = -1;
  }

  isCut(from: number, to: number): boolean {
    return (this.#cutAtMs[this.#way(from, to)] as number) >= 0;
  }

  slowDown(from: number, to: number, slowness: number): void {
    this.#slowness[this.#way(from, to)] = slowness;
  }

  /** Every way is open, quick and faithful again. */
  heal(): void {
    this.dropChance = 0;
    this.duplicateChance = 0;
    this.#slowness.fill(1);
    this.#cutAtMs.fill(-1);
  }

  /** Whoever talks to the machine finds out that nobody is there: at once where the ways are open, later where not. */
  died(process: SimProcess): void {
    for (const channel of this.#channels) {
      if (channel.server === process) this.#notice(channel, process.host);
    }
  }

  /** A process that does not run does not answer keepalives either. */
  paused(process: SimProcess): void {
    this.kernel.schedule(KEEPALIVE_MS, undefined, () => {
      if (!process.paused) return;
      for (const channel of this.#channels) {
        if (channel.server === process) channel.break('keepalive was not answered');
      }
    });
  }

  /** Breaks one open channel, as a middlebox does that forgets a connection. False: there is none. */
  reset(): boolean {
    const open = [...this.#channels].filter((channel) => channel.server !== undefined);
    if (open.length === 0) return false;
    this.stream.pick(open).break('the connection was reset');
    return true;
  }

  /**
   * Carries one message: `arrive` runs when it is there, and again for a copy of it. It may be lost, and it is when the
   * sender died with the power gone.
   */
  carry(from: SimProcess, to: SimProcess, bytes: number, arrive: () => void): void {
    if (!from.alive) return;
    this.kernel.trace.mixMs(this.kernel.nowMs);
    this.kernel.trace.mix((from.host << 20) ^ (to.host << 14) ^ bytes);
    if (this.stream.chance(this.dropChance)) {
      this.counts.dropped++;
      return;
    }
    to.post(this.delayMs(from.host, to.host), () => this.#arrive(from, to, arrive, 0));
    if (this.stream.chance(this.duplicateChance)) {
      this.counts.duplicated++;
      to.post(this.delayMs(from.host, to.host) * 2, () => this.#arrive(from, to, arrive, 0));
    }
  }

  /** Carries the first message of a connection to whoever listens on `host` when it is there; undefined: nobody does. */
  carryToHost(
    from: SimProcess,
    host: number,
    arrive: (listener: Listener | undefined) => void,
  ): void {
    if (!from.alive) return;
    this.kernel.schedule(this.delayMs(from.host, host), undefined, () => {
      if (!from.alive || this.isCut(from.host, host)) return;
      const listener = this.#listeners[host];
      if (listener?.process.alive === true) listener.process.post(0, () => arrive(listener));
      else if (!this.isCut(host, from.host)) arrive(undefined);
    });
  }

  /** How long the next message takes. */
  delayMs(from: number, to: number): number {
    const way = this.#way(from, to);
    const baseMs = this.#baseMs[way] as number;
    const tail = this.stream.chance(this.#tempo.tailChance) ? 10 : 1;
    const delayMs =
      (baseMs + this.stream.exponential(baseMs / 4) * tail) * (this.#slowness[way] as number);
    const { grainMs } = this.#tempo;
    if (grainMs === 0) return delayMs;
    const arrivalMs = Math.ceil((this.kernel.nowMs + delayMs) / grainMs) * grainMs;
    return arrivalMs - this.kernel.nowMs;
  }

  /** A way that is cut loses a message, or holds it until it is mended, however late: the sender sends it again and again. */
  #arrive(from: SimProcess, to: SimProcess, arrive: () => void, tries: number): void {
    if (from.lostInFlight) return;
    if (!this.isCut(from.host, to.host)) {
      this.counts.delivered++;
      arrive();
      return;
    }
    if (tries === 0) this.counts.blocked++;
    if (tries < RESENDS && from.alive && (tries > 0 || this.stream.chance(0.5))) {
      to.post(RESEND_MS, () => this.#arrive(from, to, arrive, tries + 1));
    }
  }

  #notice(channel: Channel, host: number): void {
    const client = channel.client;
    const open = !this.isCut(host, client.host) && !this.isCut(client.host, host);
    const delayMs = open ? this.delayMs(host, client.host) : KEEPALIVE_MS;
    const { server } = channel;
    client.post(delayMs, () => {
      if (channel.server === server) channel.break('the other side is gone');
    });
  }

  #breakSilent(from: number, to: number): void {
    const sinceMs = this.#cutAtMs[this.#way(from, to)] as number;
    if (sinceMs < 0 || this.kernel.nowMs - sinceMs < KEEPALIVE_MS) return;
    for (const channel of this.#channels) {
      const { client, server } = channel;
      if (server === undefined) continue;
      const crosses =
        (client.host === from && server.host === to) ||
        (client.host === to && server.host === from);
      if (crosses) channel.break('keepalive was not answered');
    }
  }

  #way(from: number, to: number): number {
    return from * this.#hosts + to;
  }
}

export interface Listener {
  readonly process: SimProcess;
  readonly service: Service;
}
