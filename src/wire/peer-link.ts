import { KvError } from '../core/errors.js';
import type { Limits } from '../core/limits.js';
import type { Clock } from '../io/clock.js';
import type { LinkState } from '../io/link.js';
import type {
  ApplyCall,
  Lives,
  Peer,
  PeerEvents,
  PingAnswer,
  PingRequest,
  PrepareCall,
  ReadCall,
  ReplicaFailure,
  ReplicaPage,
  ReplicaScan,
} from '../io/peer.js';
import type { AskKind, AskReply, AskRequest } from '../io/peer-asks.js';
import type { Random } from '../io/random.js';
import type { Timers } from '../io/timers.js';
import type { ChannelBounds } from './call-table.js';
import { ChannelClient } from './channel-client.js';
import { helloOfNode, type ClusterFacts } from './greeting.js';
import { NO_FAULTS, type LinkFaults } from './link-faults.js';
import type { OutgoingCall } from './outgoing-call.js';
import {
  OutgoingApply,
  OutgoingAsk,
  OutgoingPing,
  OutgoingPrepare,
  OutgoingRead,
  OutgoingScan,
  type AnsweringPeer,
} from './replica-calls.js';
import { PEER_SERVICE } from './services.js';

export interface PeerLinkOptions {
  /** The node at the other end, as the member list names it; {@link ANY_NODE}: whichever is there. */
  readonly nodeId: string;
  /** `host:port`. */
  readonly address: string;
  /** This node. */
  readonly selfId: string;
  readonly facts: ClusterFacts;
  readonly limits: Limits;
  readonly faults?: LinkFaults;
  readonly bounds?: ChannelBounds;
  readonly onState?: (state: PeerLinkState) => void;
  readonly onLives?: PeerEvents['onLives'];
  readonly onCommitCounter?: PeerEvents['onCommitCounter'];
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
}

export interface PeerLinkState {
  /** `refused`: another cluster, another protocol, or another node at that address. It is tried again now and then. */
  readonly kind: 'connected' | 'connecting' | 'refused';
  /** Why, when it is not connected; else empty. */
  readonly reason: string;
}

/** Another node's replica, over a channel that it keeps open until closed. */
export interface PeerLink extends Peer {
  /** `host:port` that it goes to now. */
  readonly address: string;
  readonly state: PeerLinkState;
  /** Of the last answered ping, or of the greeting; undefined while never connected. */
  readonly roundTripMs: number | undefined;
  /** Calls sent and not yet answered. */
  readonly inFlight: number;
  /** The node is at another address now: what is under way fails as if the channel had broken, and it connects there. */
  moveTo(address: string): void;
  /** Lets calls under way finish for up to `graceMs`, then closes. */
  close(graceMs: number): Promise<void>;
}

/** The id of no node. */
export const ANY_NODE = '';

/**
 * Starts connecting at once. Headers and records in answers are views of the frame that brought them: whoever keeps one for
 * long copies it.
 */
export function createPeerLink(options: PeerLinkOptions): PeerLink {
  return new ChannelPeer(options);
}

const CONNECTING: PeerLinkState = { kind: 'connecting', reason: 'it is still connecting' };
const CONNECTED: PeerLinkState = { kind: 'connected', reason: '' };

class ChannelPeer implements PeerLink, AnsweringPeer {
  readonly nodeId: string;
  #address: string;
  #channel: ChannelClient;
  readonly #options: PeerLinkOptions;
  readonly #faults: LinkFaults;
  #state: PeerLinkState = CONNECTING;
  #roundTripMs: number | undefined;
  #closed = false;
  #unheardLives: Lives | undefined;

  constructor(options: PeerLinkOptions) {
    this.nodeId = options.nodeId;
    this.#options = options;
    this.#faults = options.faults ?? NO_FAULTS;
    this.#address = options.address;
    this.#channel = this.#connect();
  }

  get address(): string {
    return this.#address;
  }

  get connected(): boolean {
    return this.#channel.open;
  }

  get state(): PeerLinkState {
    return this.#state;
  }

  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  get inFlight(): number {
    return this.#channel.inFlight;
  }

  apply(call: ApplyCall, slot: number): void {
    this.#send(new OutgoingApply(this, call, slot));
  }

  read(call: ReadCall, slot: number, part: 'record' | 'header'): void {
    this.#send(new OutgoingRead(this, call, slot, part));
  }

  prepare(call: PrepareCall, slot: number): void {
    this.#send(new OutgoingPrepare(this, call, slot));
  }

  scan(request: ReplicaScan, deadlineMs: number): Promise<ReplicaPage | ReplicaFailure> {
    return new Promise((resolve) => {
      this.#send(new OutgoingScan(this, request, deadlineMs, resolve));
    });
  }

  async ping(request: PingRequest, deadlineMs: number): Promise<PingAnswer | ReplicaFailure> {
    const { clock } = this.#options;
    const startedMs = clock.monotonicMs();
    const answer = await new Promise<PingAnswer | ReplicaFailure>((resolve) => {
      this.#send(new OutgoingPing(this, request, deadlineMs, resolve));
    });
    if (answer.kind === 'pong') this.#roundTripMs = clock.monotonicMs() - startedMs;
    return answer;
  }

  ask<K extends AskKind>(
    kind: K,
    request: AskRequest<K>,
    deadlineMs: number,
  ): Promise<AskReply<K> | ReplicaFailure> {
    return new Promise((resolve) => {
      this.#send(new OutgoingAsk(this, kind, request, deadlineMs, resolve));
    });
  }

  moveTo(address: string): void {
    if (address === this.#address || this.#closed) return;
    void this.#channel.close(0);
    this.#address = address;
    this.#channel = this.#connect();
    this.#state = CONNECTING;
    this.#options.onState?.(this.#state);
  }

  close(graceMs: number): Promise<void> {
    this.#closed = true;
    return this.#channel.close(graceMs);
  }

  /** A dropped answer is as good as none: the call waits for its deadline. */
  hears(call: OutgoingCall): boolean {
    if (!this.#faults.dropsFrom(this.nodeId)) return true;
    this.#channel.swallow(call);
    return false;
  }

  #connect(): ChannelClient {
    const { nodeId, selfId, facts, bounds, limits, clock, timers, random } = this.#options;
    const address = this.#address;
    return new ChannelClient({
      endpoint: address,
      path: PEER_SERVICE.channel.path,
      hello: helloOfNode(selfId, facts),
      judge: (welcome) =>
        nodeId === ANY_NODE || welcome.nodeId === nodeId
          ? undefined
          : new KvError('WRONG_CLUSTER', `at ${address} is node ${welcome.nodeId}, not ${nodeId}`),
      onState: (state) => this.#onState(state),
      onSender: (lives, commitCounter) => this.#onSender(lives, commitCounter),
      retryRefused: true,
      limits,
      ...(bounds === undefined ? {} : { bounds }),
      clock,
      timers,
      random,
    });
  }

  #onSender(lives: Lives | undefined, commitCounter: number): void {
    if (lives !== undefined) this.#unheardLives = lives;
    // What is said while nothing is heard of the node is heard with the first answer after that.
    if (this.#faults.dropsFrom(this.nodeId)) return;
    const { onLives, onCommitCounter } = this.#options;
    if (this.#unheardLives !== undefined) {
      onLives?.(this.#unheardLives);
      this.#unheardLives = undefined;
    }
    onCommitCounter?.(commitCounter);
  }

  #send(call: OutgoingCall): void {
    const { delayMs } = this.#faults;
    if (delayMs === 0) this.#sendNow(call);
    else {
      const leftMs = Math.max(0, call.deadlineMs - this.#options.clock.monotonicMs());
      this.#options.timers.after(Math.min(delayMs, leftMs), () => this.#sendNow(call));
    }
  }

  #sendNow(call: OutgoingCall): void {
    if (this.#faults.dropsTo(this.nodeId)) this.#channel.swallow(call);
    else this.#channel.send(call);
  }

  #onState(state: LinkState): void {
    if (state.kind === 'open') {
      this.#state = CONNECTED;
      this.#roundTripMs = state.roundTripMs;
    } else {
      const refused = state.code === 'WRONG_CLUSTER' || state.code === 'INCOMPATIBLE';
      this.#state = { kind: refused ? 'refused' : 'connecting', reason: state.message };
    }
    this.#options.onState?.(this.#state);
  }
}
