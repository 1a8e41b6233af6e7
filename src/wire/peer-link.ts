import { KvError, type ErrorCode } from '../core/errors.js';
import type { Limits } from '../core/limits.js';
import { HEADER_BYTES, headerOf } from '../core/record.js';
import { readVersion, VERSION_BYTES } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { LinkState } from '../io/link.js';
import type {
  ApplyAnswer,
  ApplyCall,
  Peer,
  PingAnswer,
  ReadAnswer,
  ReadCall,
  ReplicaFailure,
  ReplicaPage,
  ReplicaScan,
} from '../io/peer.js';
import type { Random } from '../io/random.js';
import type { Timers } from '../io/timers.js';
import type { ChannelBounds } from './call-table.js';
import { ChannelClient } from './channel-client.js';
import { OutgoingCall } from './outgoing-call.js';
import { helloOfNode, type ClusterFacts } from './greeting.js';
import { NO_FAULTS, type LinkFaults } from './link-faults.js';
import { v1 } from './messages.js';
import { decodeReplicaPage, encodeReplicaScan } from './range-codec.js';
import { PEER_SERVICE } from './services.js';
import { codeFromNumber } from './status.js';

export interface PeerLinkOptions {
  /** The node at the other end, as the member list names it. */
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
  readonly address: string;
  readonly state: PeerLinkState;
  /** Of the last answered ping, or of the greeting; undefined while never connected. */
  readonly roundTripMs: number | undefined;
  /** Calls sent and not yet answered. */
  readonly inFlight: number;
  /** Lets calls under way finish for up to `graceMs`, then closes. */
  close(graceMs: number): Promise<void>;
}

/**
 * Starts connecting at once. Headers and records in answers are views of the frame that brought them: whoever keeps one for
 * long copies it.
 */
export function createPeerLink(options: PeerLinkOptions): PeerLink {
  return new ChannelPeer(options);
}

const CONNECTING: PeerLinkState = { kind: 'connecting', reason: 'it is still connecting' };
const CONNECTED: PeerLinkState = { kind: 'connected', reason: '' };

class ChannelPeer implements PeerLink {
  readonly nodeId: string;
  readonly address: string;
  readonly #channel: ChannelClient;
  readonly #options: PeerLinkOptions;
  readonly #faults: LinkFaults;
  #state: PeerLinkState = CONNECTING;
  #roundTripMs: number | undefined;

  constructor(options: PeerLinkOptions) {
    const { nodeId, address, selfId, facts, bounds } = options;
    this.nodeId = nodeId;
    this.address = address;
    this.#options = options;
    this.#faults = options.faults ?? NO_FAULTS;
    this.#channel = new ChannelClient({
      endpoint: address,
      path: PEER_SERVICE.channel.path,
      hello: helloOfNode(selfId, facts),
      judge: (welcome) =>
        welcome.nodeId === nodeId
          ? undefined
          : new KvError('WRONG_CLUSTER', `at ${address} is node ${welcome.nodeId}, not ${nodeId}`),
      onState: (state) => this.#onState(state),
      retryRefused: true,
      limits: options.limits,
      ...(bounds === undefined ? {} : { bounds }),
      clock: options.clock,
      timers: options.timers,
      random: options.random,
    });
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

  scan(request: ReplicaScan, deadlineMs: number): Promise<ReplicaPage | ReplicaFailure> {
    return new Promise((resolve) => {
      this.#send(new OutgoingScan(this, request, deadlineMs, resolve));
    });
  }

  async ping(deadlineMs: number): Promise<PingAnswer | ReplicaFailure> {
    const { clock } = this.#options;
    const startedMs = clock.monotonicMs();
    const answer = await new Promise<PingAnswer | ReplicaFailure>((resolve) => {
      this.#send(new OutgoingPing(this, deadlineMs, resolve));
    });
    if (answer.kind === 'pong') this.#roundTripMs = clock.monotonicMs() - startedMs;
    return answer;
  }

  close(graceMs: number): Promise<void> {
    return this.#channel.close(graceMs);
  }

  /** A dropped answer is as good as none: the call waits for its deadline. */
  hears(call: OutgoingCall): boolean {
    if (!this.#faults.dropsFrom(this.nodeId)) return true;
    this.#channel.swallow(call);
    return false;
  }

  #send(call: OutgoingCall): void {
    const { delayMs } = this.#faults;
    if (delayMs === 0) this.#sendNow(call);
    else this.#options.timers.after(delayMs, () => this.#sendNow(call));
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

/** A call to a replica. What fails is told in the replica's words: whether it was sent, and whether it may be applied. */
abstract class ReplicaOutgoing extends OutgoingCall {
  constructor(
    protected readonly peer: ChannelPeer,
    deadlineMs: number,
    payloadBytes: number,
  ) {
    super(deadlineMs, payloadBytes);
  }

  protected abstract settle(failure: ReplicaFailure): void;
  protected abstract succeeded(answer: v1.Answer): void;

  answered(answer: v1.Answer): void {
    if (!this.peer.hears(this)) return;
    if (answer.code === 0) this.succeeded(answer);
    else {
      this.settle({
        kind: answer.outcome === v1.Outcome.NONE ? 'refused' : 'failed',
        code: codeFromNumber(answer.code),
        message: answer.message,
      });
    }
  }

  failed(code: ErrorCode, message: string, sent: boolean): void {
    this.settle({ kind: sent ? 'failed' : 'unreachable', code, message });
  }

  protected malformed(what: string): void {
    const message = `${this.peer.nodeId} answered ${what}`;
    this.settle({ kind: 'failed', code: 'INTERNAL', message });
  }
}

const APPLIED: ApplyAnswer = { kind: 'applied' };
const ABSENT: ReadAnswer = { kind: 'absent' };

class OutgoingApply extends ReplicaOutgoing {
  constructor(
    peer: ChannelPeer,
    readonly call: ApplyCall,
    readonly slot: number,
  ) {
    super(peer, call.deadlineMs, call.key.length + call.record.length);
  }

  message(id: number, timeoutMs: number): v1.Call.$Properties {
    const { key, record, source, placementVersion, traceparent } = this.call;
    const kind = source === 'write' ? v1.CallKind.CALL_APPLY : v1.CallKind.CALL_REPAIR;
    return { id, kind, timeoutMs, key, record, placementVersion, traceparent };
  }

  protected succeeded({ header }: v1.Answer): void {
    if (header.length === 0) this.call.onApplied(this.slot, APPLIED);
    else if (header.length === HEADER_BYTES) {
      this.call.onApplied(this.slot, { kind: 'kept', header });
    } else this.malformed(`an apply with a header of ${header.length} bytes`);
  }

  protected settle(failure: ReplicaFailure): void {
    this.call.onApplied(this.slot, failure);
  }
}

class OutgoingRead extends ReplicaOutgoing {
  constructor(
    peer: ChannelPeer,
    readonly call: ReadCall,
    readonly slot: number,
    readonly part: 'record' | 'header',
  ) {
    super(peer, call.deadlineMs, call.key.length);
  }

  message(id: number, timeoutMs: number): v1.Call.$Properties {
    const { key, placementVersion, traceparent } = this.call;
    const kind = this.part === 'record' ? v1.CallKind.CALL_READ : v1.CallKind.CALL_READ_HEADER;
    return { id, kind, timeoutMs, key, placementVersion, traceparent };
  }

  protected succeeded({ header, record }: v1.Answer): void {
    if (record.length >= HEADER_BYTES) {
      this.call.onRead(this.slot, { kind: 'found', header: headerOf(record), record });
    } else if (record.length > 0) {
      this.malformed(`a read with a record of ${record.length} bytes`);
    } else if (header.length === HEADER_BYTES) {
      this.call.onRead(this.slot, { kind: 'found', header });
    } else if (header.length > 0) {
      this.malformed(`a read with a header of ${header.length} bytes`);
    } else this.call.onRead(this.slot, ABSENT);
  }

  protected settle(failure: ReplicaFailure): void {
    this.call.onRead(this.slot, failure);
  }
}

class OutgoingScan extends ReplicaOutgoing {
  readonly #body: Uint8Array;

  constructor(
    peer: ChannelPeer,
    readonly request: ReplicaScan,
    deadlineMs: number,
    readonly resolve: (answer: ReplicaPage | ReplicaFailure) => void,
  ) {
    const body = encodeReplicaScan(request);
    super(peer, deadlineMs, body.length);
    this.#body = body;
  }

  message(id: number, timeoutMs: number): v1.Call.$Properties {
    const { placementVersion } = this.request;
    const kind = v1.CallKind.CALL_REPLICA_SCAN;
    return { id, kind, timeoutMs, body: this.#body, placementVersion };
  }

  protected succeeded({ body }: v1.Answer): void {
    try {
      this.resolve(decodeReplicaPage(body));
    } catch (error) {
      this.malformed(`a scan that cannot be read (${String(error)})`);
    }
  }

  protected settle(failure: ReplicaFailure): void {
    this.resolve(failure);
  }
}

class OutgoingPing extends ReplicaOutgoing {
  constructor(
    peer: ChannelPeer,
    deadlineMs: number,
    readonly resolve: (answer: PingAnswer | ReplicaFailure) => void,
  ) {
    super(peer, deadlineMs, 0);
  }

  message(id: number, timeoutMs: number): v1.Call.$Properties {
    return { id, kind: v1.CallKind.CALL_PING, timeoutMs };
  }

  protected succeeded({ body }: v1.Answer): void {
    let pong: v1.Pong;
    try {
      pong = v1.Pong.decode(body);
    } catch (error) {
      this.malformed(`a ping that cannot be read (${String(error)})`);
      return;
    }
    if (pong.hlc.length !== VERSION_BYTES) {
      this.malformed(`a ping with a clock of ${pong.hlc.length} bytes`);
      return;
    }
    this.resolve({
      kind: 'pong',
      nodeId: pong.nodeId,
      wallMs: pong.wallMs,
      hlc: readVersion(pong.hlc, 0),
      quarantined: pong.quarantined,
      commitCounter: pong.commitCounter,
      incarnation: new Uint8Array(pong.incarnation),
      placementVersion: pong.placementVersion,
    });
  }

  protected settle(failure: ReplicaFailure): void {
    this.resolve(failure);
  }
}
