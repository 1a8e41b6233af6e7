import type { Network } from './network.js';
import type { SimProcess } from './process.js';

/** What one side says to the other: plain values and bytes of its own, nothing shared. */
export type Message = object;

/** Why a call on a channel has no answer. `not-sent`: it certainly never arrives. */
export type NoAnswer = {
  readonly kind: 'not-sent' | 'broken' | 'timed-out' | 'cancelled';
  readonly message: string;
};

export type OnReply = (reply: Message | undefined, none: NoAnswer | undefined) => void;

/** A call as the side sees it that serves it. */
export interface IncomingCall {
  readonly body: Message;
  readonly bytes: number;
  /** How much of its time was left when it was sent. */
  readonly timeoutMs: number;
  reply(body: Message, bytes: number): void;
  /** Called when the caller does not wait any more. */
  onCancel: (() => void) | undefined;
}

/** What answers on a machine. */
export interface Service {
  /** The first message of a channel to whoever connects. */
  greet(): Message;
  serve(call: IncomingCall): void;
}

export type ChannelState =
  | { readonly kind: 'open'; readonly greeting: Message; readonly roundTripMs: number }
  | { readonly kind: 'closed'; readonly message: string };

interface OutgoingCall {
  readonly deadlineMs: number;
  readonly onReply: OnReply;
  /** Set when it has arrived; a call that never will may be called `not-sent`. */
  arrived: boolean;
  replied: boolean;
  withdrawn: boolean;
  incoming: IncomingCall | undefined;
}

const CONNECT_TIMEOUT_MS = 2_000;

/**
 * One connection between two processes that carries many calls at once, with the contract of a channel: it delivers a call
 * at most once, answers in any order, gives every call exactly one answer, and knows `not-sent` from `broken`.
 */
export class Channel {
  readonly client: SimProcess;
  /** Called with every change of state. */
  onState: (state: ChannelState) => void = () => {};
  readonly #network: Network;
  readonly #host: number;
  readonly #callerName: string;
  #server: SimProcess | undefined;
  #listenerServe: ((call: IncomingCall) => void) | undefined;
  #calls = new Map<number, OutgoingCall>();
  #nextId = 1;
  /** Grows with every connection: what belongs to an earlier one is void. */
  #epoch = 0;
  #closed = false;
  #sweepAtMs = Number.POSITIVE_INFINITY;

  constructor(network: Network, client: SimProcess, host: number, callerName: string) {
    this.#network = network;
    this.client = client;
    this.#host = host;
    this.#callerName = callerName;
  }

  /** Who is at the other end; undefined while it is not open. */
  get server(): SimProcess | undefined {
    return this.#server;
  }

  /** Tries until it is open or closed. */
  connect(): void {
    if (this.#closed || this.#server !== undefined) return;
    const epoch = ++this.#epoch;
    const { client } = this;
    const startMs = client.clock.monotonicMs();
    const fail = (message: string) => {
      if (this.#epoch !== epoch || this.#closed) return;
      this.#epoch++;
      this.onState({ kind: 'closed', message });
      this.#retryLater();
    };
    client.post(CONNECT_TIMEOUT_MS, () => fail('the connection was not made in time'));
    this.#network.carryToHost(client, this.#host, (listener) => {
      if (listener === undefined) {
        client.post(this.#network.delayMs(this.#host, client.host), () =>
          fail('nobody listens there'),
        );
        return;
      }
      const greeting = listener.service.greet();
      this.#network.carry(listener.process, client, 64, () => {
        if (this.#epoch !== epoch || this.#closed || this.#server !== undefined) return;
        if (!listener.process.alive) {
          fail('the other side is gone');
          return;
        }
        this.#epoch++;
        this.#server = listener.process;
        this.#listenerServe = (call) => listener.service.serve(call);
        client.say(`${this.#callerName} open to ${listener.process.name}`);
        const roundTripMs = client.clock.monotonicMs() - startMs;
        this.onState({ kind: 'open', greeting, roundTripMs });
      });
    });
  }

  /** Sends a call. `onReply` follows exactly once, never within this. The id is for {@link cancel}. */
  call(body: Message, bytes: number, timeoutMs: number, onReply: OnReply): number {
    const id = this.#nextId++;
    const { client } = this;
    const server = this.#server;
    if (server === undefined) {
      client.post(0, () =>
        onReply(undefined, { kind: 'not-sent', message: 'the channel is not open' }),
      );
      return id;
    }
    const call: OutgoingCall = {
      deadlineMs: client.clock.monotonicMs() + timeoutMs,
      onReply,
      arrived: false,
      replied: false,
      withdrawn: false,
      incoming: undefined,
    };
    this.#calls.set(id, call);
    this.#sweepBy(call.deadlineMs);
    const epoch = this.#epoch;
    this.#network.carry(client, server, bytes, () => {
      // At most once: a copy of the message, or one that its sender was told would never arrive, is dropped.
      if (call.arrived || call.withdrawn) return;
      call.arrived = true;
      const incoming: IncomingCall = {
        body,
        bytes,
        timeoutMs,
        onCancel: undefined,
        reply: (reply, replyBytes) => {
          if (call.replied) throw new Error(`answered twice: ${JSON.stringify(body)}`);
          call.replied = true;
          call.incoming = undefined;
          this.#network.carry(server, client, replyBytes, () => {
            if (this.#epoch === epoch && this.#calls.delete(id)) onReply(reply, undefined);
          });
        },
      };
      call.incoming = incoming;
      this.#listenerServe?.(incoming);
    });
    return id;
  }

  /** Tells the other side that nobody waits. The call is answered `cancelled`, unless it has been answered. */
  cancel(id: number): void {
    const call = this.#calls.get(id);
    const server = this.#server;
    if (call === undefined || server === undefined) return;
    this.#calls.delete(id);
    this.client.post(0, () =>
      call.onReply(undefined, { kind: 'cancelled', message: 'the caller cancelled it' }),
    );
    this.#network.carry(this.client, server, 16, () => call.incoming?.onCancel?.());
  }

  /** Ends the connection, answers what is pending, and starts over. */
  break(reason: string): void {
    if (this.#server === undefined || !this.client.alive) return;
    this.#server = undefined;
    this.#epoch++;
    this.client.say(`${this.#callerName} broken: ${reason}`);
    const pending = [...this.#calls.values()];
    this.#calls.clear();
    for (const call of pending) {
      // What has not arrived may have been still on this side: then the caller is told so, and it never arrives.
      call.withdrawn = !call.arrived && this.#network.stream.chance(0.5);
      const kind = call.withdrawn ? 'not-sent' : 'broken';
      this.client.post(0, () => call.onReply(undefined, { kind, message: reason }));
    }
    this.client.post(0, () => this.onState({ kind: 'closed', message: reason }));
    this.#retryLater();
  }

  close(): void {
    if (this.#closed) return;
    this.break('the channel was closed');
    this.#closed = true;
    this.#network.forget(this);
  }

  #retryLater(): void {
    const { low, high } = this.#network.reconnectMs;
    this.client.post(this.client.random.between(low, high), () => this.connect());
  }

  /** One timer for the earliest deadline, not one for each call. */
  #sweepBy(deadlineMs: number): void {
    if (this.#sweepAtMs <= deadlineMs) return;
    this.#sweepAtMs = deadlineMs;
    const waitMs = Math.max(1, Math.ceil(deadlineMs - this.client.clock.monotonicMs()));
    this.client.post(waitMs, () => {
      if (this.#sweepAtMs !== deadlineMs) return;
      this.#sweepAtMs = Number.POSITIVE_INFINITY;
      const nowMs = this.client.clock.monotonicMs();
      let earliestMs = Number.POSITIVE_INFINITY;
      for (const [id, call] of this.#calls) {
        if (call.deadlineMs <= nowMs) {
          this.#calls.delete(id);
          call.onReply(undefined, { kind: 'timed-out', message: 'no answer within its time' });
        } else {
          earliestMs = Math.min(earliestMs, call.deadlineMs);
        }
      }
      if (earliestMs !== Number.POSITIVE_INFINITY) this.#sweepBy(earliestMs);
    });
  }
}
