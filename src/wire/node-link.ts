import type { ErrorCode, Outcome } from '../core/errors.js';
import { isAnsweredCode } from '../core/ledger.js';
import { DEFAULT_LIMITS, type Limits } from '../core/limits.js';
import { HEADER_BYTES } from '../core/record.js';
import { VERSION_BYTES } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type {
  CallKind,
  Link,
  Linker,
  LinkState,
  NodeAnswer,
  NodeCall,
  NodeFailure,
  NodePage,
  NodePong,
  NodeScan,
  Welcome,
} from '../io/link.js';
import type { Random } from '../io/random.js';
import type { Timers } from '../io/timers.js';
import type { ChannelBounds } from './call-table.js';
import { ChannelClient } from './channel-client.js';
import { OutgoingCall } from './outgoing-call.js';
import { consistencyToWire, receiptFromWire } from './codec.js';
import { PROTOCOL_VERSION, v1 } from './messages.js';
import { decodeNodePage, encodeNodeScan } from './range-codec.js';
import { KV_SERVICE } from './services.js';
import { codeFromWire, outcomeFromWire } from './status.js';

export interface GrpcLinkerOptions {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly limits?: Limits;
  readonly bounds?: ChannelBounds;
}

/** The real network of the SDK: a channel to each node. */
export function createGrpcLinker(options: GrpcLinkerOptions): Linker {
  return {
    open: (endpoint, onState) => new ChannelLink(endpoint, onState, options),
  };
}

class ChannelLink implements Link {
  readonly endpoint: string;
  readonly #channel: ChannelClient;
  readonly #clock: Clock;

  constructor(endpoint: string, onState: (state: LinkState) => void, options: GrpcLinkerOptions) {
    const { clock, timers, random, limits = DEFAULT_LIMITS, bounds } = options;
    this.endpoint = endpoint;
    this.#clock = clock;
    this.#channel = new ChannelClient({
      endpoint,
      path: KV_SERVICE.channel.path,
      hello: { protocol: PROTOCOL_VERSION },
      onState,
      retryRefused: false,
      limits,
      ...(bounds === undefined ? {} : { bounds }),
      clock,
      timers,
      random,
    });
  }

  get welcome(): Welcome | undefined {
    const { state } = this.#channel;
    return state?.kind === 'open' ? state.welcome : undefined;
  }

  send(call: NodeCall): void {
    this.#channel.send(new OutgoingOperation(call, this.#deadlineIn(call.timeoutMs)));
  }

  cancel(call: NodeCall): void {
    const outgoing = this.#channel.find(
      (one) => one instanceof OutgoingOperation && one.call === call,
    );
    if (outgoing !== undefined) this.#channel.cancel(outgoing);
  }

  scan(request: NodeScan, signal?: AbortSignal): Promise<NodePage | NodeFailure> {
    return new Promise((resolve) => {
      const deadlineMs = this.#deadlineIn(request.timeoutMs);
      const call = new OutgoingNodeScan(request, deadlineMs, (answer) => {
        signal?.removeEventListener('abort', onAbort);
        resolve(answer);
      });
      const onAbort = (): void => this.#channel.cancel(call);
      signal?.addEventListener('abort', onAbort);
      this.#channel.send(call);
      if (signal?.aborted === true) onAbort();
    });
  }

  ping(timeoutMs: number): Promise<NodePong | NodeFailure> {
    return new Promise((resolve) => {
      this.#channel.send(new OutgoingNodePing(this.#deadlineIn(timeoutMs), resolve));
    });
  }

  close(graceMs: number): Promise<void> {
    return this.#channel.close(graceMs);
  }

  #deadlineIn(timeoutMs: number): number {
    return this.#clock.monotonicMs() + timeoutMs;
  }
}

/** A get, put or outcome. Users keep what it answers, so that is copied out of the frame. */
class OutgoingOperation extends OutgoingCall {
  constructor(
    readonly call: NodeCall,
    deadlineMs: number,
  ) {
    super(
      deadlineMs,
      call.key.length + call.record.length + call.expect.length + call.zone.length * 3,
    );
  }

  message(id: number, timeoutMs: number): v1.Call.$Properties {
    const { call } = this;
    return {
      id,
      kind: KIND_ON_WIRE[call.kind],
      timeoutMs,
      key: call.key,
      record: call.record,
      version: call.minVersion,
      expect: call.expect,
      consistency: consistencyToWire(call.level),
      receipt: call.receipt,
      zone: call.zone,
      traceparent: call.traceparent,
    };
  }

  answered(answer: v1.Answer): void {
    this.call.onAnswer(nodeAnswerOf(answer));
  }

  failed(code: ErrorCode, message: string, sent: boolean): void {
    // A get changes nothing, sent or not.
    const outcome = sent && this.call.kind !== 'get' ? 'unknown' : 'none';
    this.call.onAnswer(failedAnswer(code, outcome, message));
  }
}

const KIND_ON_WIRE: Readonly<Record<CallKind, v1.CallKind>> = {
  get: v1.CallKind.CALL_GET,
  put: v1.CallKind.CALL_PUT,
  outcome: v1.CallKind.CALL_OUTCOME,
};

function nodeAnswerOf(answer: v1.Answer): NodeAnswer {
  const { code, record, header, result, version } = answer;
  if (
    (record.length > 0 && record.length < HEADER_BYTES) ||
    (header.length > 0 && header.length !== HEADER_BYTES) ||
    (version.length > 0 && version.length !== VERSION_BYTES) ||
    (result !== 0 && !isAnsweredCode(result))
  ) {
    return failedAnswer('INTERNAL', 'unknown', 'the node answered with what is no record');
  }
  return {
    code: codeFromWire(code),
    outcome: outcomeFromWire(answer.outcome),
    message: answer.message,
    record: record.length === 0 ? undefined : Buffer.from(record),
    shadow: header.length === 0 ? undefined : header,
    receipt: answer.receipt ? receiptOf(answer.receipt) : undefined,
    ...(result === 0 ? {} : { result }),
    ...(version.length === 0 ? {} : { version: Buffer.from(version) }),
  };
}

/** A receipt explains; one that cannot be read must not hide the answer that it explains. */
function receiptOf(receipt: v1.Receipt.$Properties): NodeAnswer['receipt'] {
  try {
    return receiptFromWire(receipt);
  } catch {
    return undefined;
  }
}

function failedAnswer(code: ErrorCode, outcome: Outcome, message: string): NodeAnswer {
  return { code, outcome, message, record: undefined, shadow: undefined, receipt: undefined };
}

/** Calls that change nothing: their failures leave nothing open. */
abstract class OutgoingQuestion<T> extends OutgoingCall {
  constructor(
    deadlineMs: number,
    payloadBytes: number,
    protected readonly resolve: (answer: T | NodeFailure) => void,
  ) {
    super(deadlineMs, payloadBytes);
  }

  protected abstract decode(body: Uint8Array): T;

  answered(answer: v1.Answer): void {
    const code = codeFromWire(answer.code);
    if (code !== undefined) {
      this.failed(code, answer.message);
      return;
    }
    let decoded: T;
    try {
      decoded = this.decode(answer.body);
    } catch (error) {
      this.failed('INTERNAL', `the node answered what cannot be read (${String(error)})`);
      return;
    }
    this.resolve(decoded);
  }

  failed(code: ErrorCode, message: string): void {
    this.resolve({ kind: 'failure', code, outcome: 'none', message });
  }
}

class OutgoingNodeScan extends OutgoingQuestion<NodePage> {
  readonly #body: Uint8Array;

  constructor(
    readonly request: NodeScan,
    deadlineMs: number,
    resolve: (answer: NodePage | NodeFailure) => void,
  ) {
    const body = encodeNodeScan(request);
    super(deadlineMs, body.length + request.zone.length * 3, resolve);
    this.#body = body;
  }

  message(id: number, timeoutMs: number): v1.Call.$Properties {
    const { level, zone, traceparent } = this.request;
    return {
      id,
      kind: v1.CallKind.CALL_SCAN,
      timeoutMs,
      consistency: consistencyToWire(level),
      zone,
      traceparent,
      body: this.#body,
    };
  }

  protected decode(body: Uint8Array): NodePage {
    return decodeNodePage(body);
  }
}

class OutgoingNodePing extends OutgoingQuestion<NodePong> {
  constructor(deadlineMs: number, resolve: (answer: NodePong | NodeFailure) => void) {
    super(deadlineMs, 0, resolve);
  }

  message(id: number, timeoutMs: number): v1.Call.$Properties {
    return { id, kind: v1.CallKind.CALL_PING, timeoutMs };
  }

  protected decode(body: Uint8Array): NodePong {
    const { wallMs, quarantined, placementVersion } = v1.Pong.decode(body);
    return { kind: 'pong', wallMs, quarantined, placementVersion };
  }
}
