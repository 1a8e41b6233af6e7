import { invalidArgument, KvError } from '../core/errors.js';
import { hash32 } from '../core/hash.js';
import {
  DEFAULT_TIMEOUT_MS,
  FRAME_CUT_BYTES,
  MAX_TIMEOUT_MS,
  type Limits,
} from '../core/limits.js';
import { encodeVersion, VERSION_BYTES } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { Welcome } from '../io/link.js';
import {
  isReplicaFailure,
  type ApplyAnswer,
  type ApplyCall,
  type ApplySource,
  type Peer,
  type PingAnswer,
  type PrepareAnswer,
  type PrepareCall,
  type ReadAnswer,
  type ReadCall,
  type ReplicaFailure,
  type ReplicaPage,
} from '../io/peer.js';
import type { Timers } from '../io/timers.js';
import { FENCE_BYTES, rumoursFromWire, rumoursToWire } from './ask-fields.js';
import { encodeAskReply } from './ask-replies.js';
import { decodeAsk } from './ask-requests.js';
import type { CancellableCall, ChannelHost, FrameSender, ServerChannel } from './channel-server.js';
import { welcomeToWire } from './codec.js';
import type { OutgoingAnswer } from './frame-writer.js';
import { checkHello } from './greeting.js';
import { failedAnswer, unknownKind } from './kv-channel.js';
import type { LinkFaults } from './link-faults.js';
import { v1 } from './messages.js';
import { decodeBody, decodeReplicaScan, replicaPageBody } from './range-codec.js';
import { codeToWire, toKvError } from './status.js';

export interface PeerChannelOptions {
  /** This node's own replica. */
  readonly replica: Peer;
  readonly welcome: () => Welcome;
  readonly release: string;
  /** What frames say of this node beside their answers. */
  readonly sender: FrameSender;
  readonly limits: Limits;
  readonly faults: LinkFaults;
  readonly clock: Clock;
  readonly timers: Timers;
}

/** Serves other nodes' calls to this node's replica. */
export function createPeerChannelHost(options: PeerChannelOptions): ChannelHost {
  return new PeerChannelHost(options);
}

class PeerChannelHost implements ChannelHost {
  readonly nodeId: string;
  readonly sender: FrameSender;
  readonly #replica: Peer;

  constructor(readonly options: PeerChannelOptions) {
    this.nodeId = options.welcome().nodeId;
    this.sender = options.sender;
    this.#replica = options.replica;
  }

  greet(hello: v1.Hello): v1.Welcome.$Properties | KvError {
    const welcome = this.options.welcome();
    return (
      checkHello(hello, this.nodeId, welcome) ??
      this.#checkNode(hello, welcome) ??
      welcomeToWire(welcome, this.options.release)
    );
  }

  start(call: v1.Call, channel: ServerChannel): CancellableCall | undefined {
    if (this.options.faults.dropsFrom(channel.peerNodeId)) {
      channel.swallow(call.id);
      return undefined;
    }
    switch (call.kind) {
      case v1.CallKind.CALL_APPLY:
        this.#replica.apply(new IncomingApply(this, call, channel, 'write'), 0);
        break;
      case v1.CallKind.CALL_COPY:
        if (call.fence.length === 0 || call.fence.length === FENCE_BYTES) {
          this.#replica.apply(new IncomingApply(this, call, channel, 'copy'), 0);
        } else {
          const why = `${call.fence.length} bytes, it must be ${FENCE_BYTES}, or 0 for none`;
          this.reply(channel, failedAnswer(call.id, invalidArgument('fence', why)));
        }
        break;
      case v1.CallKind.CALL_ACCEPT:
        this.#replica.apply(new IncomingApply(this, call, channel, 'accept'), 0);
        break;
      case v1.CallKind.CALL_PREPARE:
        this.#prepare(call, channel);
        break;
      case v1.CallKind.CALL_READ:
        this.#replica.read(new IncomingRead(this, call, channel), 0, 'record');
        break;
      case v1.CallKind.CALL_READ_HEADER:
        this.#replica.read(new IncomingRead(this, call, channel), 0, 'header');
        break;
      case v1.CallKind.CALL_REPLICA_SCAN:
        this.#answerWith(call, channel, this.#scan(call));
        break;
      case v1.CallKind.CALL_PING:
        this.#answerWith(call, channel, this.#ping(call, channel));
        break;
      case v1.CallKind.CALL_ASK:
        this.#answerWith(call, channel, this.#ask(call, channel));
        break;
      case v1.CallKind.CALL_UNSPECIFIED:
      case v1.CallKind.CALL_GET:
      case v1.CallKind.CALL_PUT:
      case v1.CallKind.CALL_SCAN:
      case v1.CallKind.CALL_OUTCOME:
      default:
        this.reply(channel, unknownKind(call));
    }
    return undefined;
  }

  /** Answers, unless a fault is injected that loses or delays it. */
  reply(channel: ServerChannel, answer: OutgoingAnswer): void {
    const { faults, timers } = this.options;
    if (faults.dropsTo(channel.peerNodeId)) channel.swallow(answer.id ?? 0);
    else if (faults.delayMs === 0) channel.answer(answer);
    else timers.after(faults.delayMs, () => channel.answer(answer));
  }

  deadlineOf(call: v1.Call): number {
    const timeoutMs = call.timeoutMs === 0 ? DEFAULT_TIMEOUT_MS : call.timeoutMs;
    return this.options.clock.monotonicMs() + Math.min(timeoutMs, MAX_TIMEOUT_MS);
  }

  #checkNode(hello: v1.Hello, welcome: Welcome): KvError | undefined {
    const { nodeId } = hello;
    if (nodeId === this.nodeId) {
      return new KvError('WRONG_CLUSTER', `another node calls itself ${nodeId} too`, {
        node: this.nodeId,
      });
    }
    if (hello.clusterId !== '' && welcome.members.some((member) => member.id === nodeId)) {
      return undefined;
    }
    const who = nodeId === '' ? 'a client' : `node ${nodeId}`;
    const message = `${who} is no member of cluster "${welcome.clusterName}", and only members use this channel`;
    return new KvError('WRONG_CLUSTER', message, { node: this.nodeId });
  }

  #answerWith(call: v1.Call, channel: ServerChannel, answer: Promise<OutgoingAnswer>): void {
    answer
      .catch((error: unknown) => failedAnswer(call.id, toKvError(error)))
      .then((settled) => this.reply(channel, settled))
      // Not reached: an answer is a value. It is here because a promise must not be left.
      .catch(() => {});
  }

  #prepare(call: v1.Call, channel: ServerChannel): void {
    const { version, above } = call;
    if (version.length !== VERSION_BYTES) {
      const why = `${version.length} bytes, a ballot has ${VERSION_BYTES}`;
      this.reply(channel, failedAnswer(call.id, invalidArgument('version', why)));
    } else if (above.length !== 0 && above.length !== VERSION_BYTES) {
      const why = `${above.length} bytes, it must be ${VERSION_BYTES}, or 0 for none`;
      this.reply(channel, failedAnswer(call.id, invalidArgument('above', why)));
    } else {
      this.#replica.prepare(new IncomingPrepare(this, call, channel), 0);
    }
  }

  async #scan(call: v1.Call): Promise<OutgoingAnswer> {
    const request = decodeReplicaScan(call.body, call.placementVersion);
    const page: ReplicaPage | ReplicaFailure = await this.#replica.scan(
      request,
      this.deadlineOf(call),
    );
    return page.kind === 'page'
      ? { id: call.id, body: replicaPageBody(page) }
      : failedReply(call.id, page);
  }

  async #ping(call: v1.Call, channel: ServerChannel): Promise<OutgoingAnswer> {
    const ping = decodeBody(() => v1.Ping.decode(call.body), 'Ping');
    const pong: PingAnswer | ReplicaFailure = await this.#replica.ping(
      { from: channel.peerNodeId, rumours: rumoursFromWire(ping.rumours, 'rumours') },
      this.deadlineOf(call),
    );
    if (pong.kind !== 'pong') return failedReply(call.id, pong);
    const { kind: _, hlc, rumours, ...rest } = pong;
    const wire = { ...rest, hlc: encodeVersion(hlc), rumours: rumoursToWire(rumours) };
    return { id: call.id, body: v1.Pong.encode(wire).finish() };
  }

  async #ask(call: v1.Call, channel: ServerChannel): Promise<OutgoingAnswer> {
    const { kind, request } = decodeAsk(call.body, channel.peerNodeId);
    const reply = await this.#replica.ask(kind, request, this.deadlineOf(call));
    if (isReplicaFailure(reply)) return failedReply(call.id, reply);
    const body = encodeAskReply(kind, reply);
    const bound = this.options.limits.maxFrameBytes - FRAME_CUT_BYTES;
    if (body.length <= bound) return { id: call.id, body };
    // A frame beyond its limit would take the whole channel with it.
    const message = `the reply to "${kind}" has ${body.length} bytes, the limit is ${bound}`;
    return failedAnswer(call.id, new KvError('INTERNAL', message, { node: this.nodeId }));
  }
}

/** What an apply and a read have in common: the replica's call is the wire's call. */
abstract class IncomingCall {
  readonly key: Uint8Array;
  readonly keyHash: number;
  readonly deadlineMs: number;
  readonly placementVersion: number;
  readonly traceparent: Uint8Array;
  protected readonly id: number;

  constructor(
    protected readonly host: PeerChannelHost,
    call: v1.Call,
    protected readonly channel: ServerChannel,
  ) {
    this.id = call.id;
    this.key = call.key;
    this.keyHash = hash32(call.key);
    this.deadlineMs = host.deadlineOf(call);
    this.placementVersion = call.placementVersion;
    this.traceparent = call.traceparent;
  }
}

class IncomingApply extends IncomingCall implements ApplyCall {
  readonly record: Uint8Array;
  readonly fence: Uint8Array;

  constructor(
    host: PeerChannelHost,
    call: v1.Call,
    channel: ServerChannel,
    readonly source: ApplySource,
  ) {
    super(host, call, channel);
    this.record = call.record;
    this.fence = call.fence;
  }

  onApplied(_slot: number, answer: ApplyAnswer): void {
    const { id } = this;
    this.host.reply(
      this.channel,
      answer.kind === 'applied'
        ? { id }
        : answer.kind === 'kept'
          ? { id, header: answer.header }
          : failedReply(id, answer),
    );
  }
}

class IncomingPrepare extends IncomingCall implements PrepareCall {
  readonly ballot: Uint8Array;
  readonly above: Uint8Array;
  readonly known: Uint8Array;

  constructor(host: PeerChannelHost, call: v1.Call, channel: ServerChannel) {
    super(host, call, channel);
    this.ballot = call.version;
    this.above = call.above;
    this.known = call.record;
  }

  onPrepared(_slot: number, answer: PrepareAnswer): void {
    const { id } = this;
    const reply = answer.kind === 'promised' ? heldReply(id, answer) : failedReply(id, answer);
    this.host.reply(this.channel, reply);
  }
}

class IncomingRead extends IncomingCall implements ReadCall {
  onRead(_slot: number, answer: ReadAnswer): void {
    const { id } = this;
    const reply = isReplicaFailure(answer) ? failedReply(id, answer) : heldReply(id, answer);
    this.host.reply(this.channel, reply);
  }
}

/** What a replica holds: a record, or its header where that is enough; neither of what is absent. */
function heldReply(
  id: number,
  held: Pick<PrepareAnswer & { kind: 'promised' }, 'record' | 'header' | 'fence'>,
): OutgoingAnswer {
  const reply: OutgoingAnswer = { id };
  if (held.record !== undefined) reply.record = held.record;
  else if (held.header !== undefined) reply.header = held.header;
  if (held.fence !== undefined) reply.fence = held.fence;
  return reply;
}

/** What this node did not send anywhere it has not applied either. */
function failedReply(
  id: number,
  { kind, code, message, promised }: ReplicaFailure,
): OutgoingAnswer {
  const outcome = kind === 'failed' ? v1.Outcome.UNKNOWN : v1.Outcome.NONE;
  const version = promised === undefined ? {} : { version: promised };
  return { id, code: codeToWire(code), outcome, message, ...version };
}
