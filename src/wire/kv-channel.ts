import type { Consistency } from '../core/consistency.js';
import { invalidArgument, type KvError } from '../core/errors.js';
import { DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS } from '../core/limits.js';
import { VERSION_BYTES } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { CallKind, NodeAnswer, NodeFailure, Welcome } from '../io/link.js';
import type { Timers } from '../io/timers.js';
import type { CancellableCall, ChannelHost, ServerChannel } from './channel-server.js';
import { receiptToWire, requireConsistency, welcomeToWire } from './codec.js';
import type { OutgoingAnswer } from './frame-writer.js';
import { checkHello } from './greeting.js';
import type { KvBackend, KvOperation } from './kv-backend.js';
import type { LinkFaults } from './link-faults.js';
import { v1 } from './messages.js';
import { decodeNodeScan, nodePageBody } from './range-codec.js';
import { codeToWire, outcomeToWire, toKvError } from './status.js';

const TRACEPARENT_BYTES = 25;

export interface KvChannelOptions {
  readonly backend: KvBackend;
  /** What the node says of itself and its cluster, now. */
  readonly welcome: () => Welcome;
  readonly release: string;
  readonly faults: LinkFaults;
  readonly clock: Clock;
  readonly timers: Timers;
}

/** Serves the SDK's channel: every call is an operation of the coordinator. */
export function createKvChannelHost(options: KvChannelOptions): ChannelHost {
  return new KvChannelHost(options);
}

class KvChannelHost implements ChannelHost {
  readonly nodeId: string;

  constructor(readonly options: KvChannelOptions) {
    this.nodeId = options.welcome().nodeId;
  }

  greet(hello: v1.Hello): v1.Welcome.$Properties | KvError {
    const welcome = this.options.welcome();
    return checkHello(hello, this.nodeId, welcome) ?? welcomeToWire(welcome, this.options.release);
  }

  start(call: v1.Call, channel: ServerChannel): CancellableCall | undefined {
    switch (call.kind) {
      case v1.CallKind.CALL_GET:
      case v1.CallKind.CALL_PUT:
      case v1.CallKind.CALL_OUTCOME:
        return this.#startOperation(call, channel);
      case v1.CallKind.CALL_SCAN:
        return this.#startScan(call, channel);
      case v1.CallKind.CALL_PING:
        this.reply(channel, { id: call.id, body: this.#pong() });
        return undefined;
      case v1.CallKind.CALL_UNSPECIFIED:
      case v1.CallKind.CALL_APPLY:
      case v1.CallKind.CALL_COPY:
      case v1.CallKind.CALL_READ:
      case v1.CallKind.CALL_READ_HEADER:
      case v1.CallKind.CALL_REPLICA_SCAN:
      case v1.CallKind.CALL_ASK:
      case v1.CallKind.CALL_PREPARE:
      case v1.CallKind.CALL_ACCEPT:
      default:
        this.reply(channel, unknownKind(call));
        return undefined;
    }
  }

  /** Answers, after the delay that is injected, if any. */
  reply(channel: ServerChannel, answer: OutgoingAnswer): void {
    const { delayMs } = this.options.faults;
    if (delayMs === 0) channel.answer(answer);
    else this.options.timers.after(delayMs, () => channel.answer(answer));
  }

  #startOperation(call: v1.Call, channel: ServerChannel): CancellableCall | undefined {
    let operation: ChannelOperation;
    try {
      operation = new ChannelOperation(this, call, channel, this.#deadlineOf(call));
    } catch (error) {
      this.reply(channel, failedAnswer(call.id, toKvError(error)));
      return undefined;
    }
    this.options.backend.execute(operation);
    return operation;
  }

  #startScan(call: v1.Call, channel: ServerChannel): CancellableCall {
    const abort = new AbortController();
    this.#scan(call, abort.signal)
      .catch((error: unknown) => failedAnswer(call.id, toKvError(error)))
      .then((answer) => this.reply(channel, answer))
      // Not reached: an answer is a value. It is here because a promise must not be left.
      .catch(() => {});
    return { cancel: () => abort.abort() };
  }

  async #scan(call: v1.Call, signal: AbortSignal): Promise<OutgoingAnswer> {
    const deadlineMs = this.#deadlineOf(call);
    const page = await this.options.backend.scan(
      {
        ...decodeNodeScan(call.body),
        level: requireConsistency(call.consistency),
        zone: call.zone,
        timeoutMs: call.timeoutMs,
        traceparent: requireLength(call.traceparent, TRACEPARENT_BYTES, 'traceparent'),
      },
      deadlineMs,
      signal,
    );
    return page.kind === 'page'
      ? { id: call.id, body: nodePageBody(page) }
      : failedAnswer(call.id, page);
  }

  #pong(): Uint8Array {
    const { nodeId, wallMs, quarantined, placementVersion } = this.options.welcome();
    return v1.Pong.encode({ nodeId, wallMs, quarantined, placementVersion }).finish();
  }

  #deadlineOf(call: v1.Call): number {
    const timeoutMs = call.timeoutMs === 0 ? DEFAULT_TIMEOUT_MS : call.timeoutMs;
    if (timeoutMs > MAX_TIMEOUT_MS) {
      throw invalidArgument('timeout_ms', `${timeoutMs}, the limit is ${MAX_TIMEOUT_MS}`);
    }
    return this.options.clock.monotonicMs() + timeoutMs;
  }
}

/** A channel's get, put or outcome is itself the coordinator's operation, and what cancels it. */
class ChannelOperation implements KvOperation, CancellableCall {
  readonly kind: CallKind;
  readonly key: Uint8Array;
  readonly record: Uint8Array;
  readonly minVersion: Uint8Array;
  readonly expect: Uint8Array;
  readonly level: Consistency;
  readonly zone: string;
  readonly receipt: boolean;
  readonly traceparent: Uint8Array;
  readonly #id: number;

  constructor(
    readonly host: KvChannelHost,
    call: v1.Call,
    readonly channel: ServerChannel,
    readonly deadlineMs: number,
  ) {
    this.#id = call.id;
    this.kind = kindOf(call.kind);
    this.key = call.key;
    this.record = call.record;
    this.minVersion = requireLength(call.version, VERSION_BYTES, 'version');
    this.level = requireConsistency(call.consistency);
    this.expect = call.expect;
    this.zone = call.zone;
    this.receipt = call.receipt;
    this.traceparent = requireLength(call.traceparent, TRACEPARENT_BYTES, 'traceparent');
  }

  onAnswer(answer: NodeAnswer): void {
    const wire: OutgoingAnswer = { id: this.#id };
    if (answer.code !== undefined) {
      wire.code = codeToWire(answer.code);
      wire.outcome = outcomeToWire(answer.outcome);
      wire.message = answer.message;
    }
    if (answer.record !== undefined) wire.record = answer.record;
    if (answer.shadow !== undefined) wire.header = answer.shadow;
    if (answer.receipt !== undefined) wire.receipt = receiptToWire(answer.receipt);
    if (answer.result !== undefined) wire.result = answer.result;
    if (answer.version !== undefined) wire.version = answer.version;
    this.host.reply(this.channel, wire);
  }

  cancel(): void {
    this.host.options.backend.cancel(this);
  }
}

function kindOf(kind: v1.CallKind): CallKind {
  if (kind === v1.CallKind.CALL_GET) return 'get';
  return kind === v1.CallKind.CALL_PUT ? 'put' : 'outcome';
}

/** The answer to a kind of call that this release does not know, or does not take on this channel. */
export function unknownKind(call: v1.Call): OutgoingAnswer {
  const message = `kind: ${call.kind} is no call that this channel takes`;
  return { id: call.id, code: codeToWire('NOT_SUPPORTED'), message };
}

export function failedAnswer(
  id: number,
  { code, outcome, message }: Pick<NodeFailure, 'code' | 'outcome' | 'message'>,
): OutgoingAnswer {
  return { id, code: codeToWire(code), outcome: outcomeToWire(outcome), message };
}

function requireLength(bytes: Uint8Array, length: number, field: string): Uint8Array {
  if (bytes.length === 0 || bytes.length === length) return bytes;
  throw invalidArgument(field, `${bytes.length} bytes, it must be ${length} or empty`);
}
