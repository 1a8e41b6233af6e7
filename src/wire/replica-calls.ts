import type { ErrorCode } from '../core/errors.js';
import { HEADER_BYTES, headerOf } from '../core/record.js';
import { readVersion, VERSION_BYTES } from '../core/version.js';
import type {
  ApplyAnswer,
  ApplyCall,
  PingAnswer,
  PingRequest,
  PrepareAnswer,
  PrepareCall,
  ReadAnswer,
  ReadCall,
  ReplicaFailure,
  ReplicaPage,
  ReplicaScan,
} from '../io/peer.js';
import type { AskKind, AskReply, AskRequest } from '../io/peer-asks.js';
import {
  FENCE_BYTES,
  INCARNATION_BYTES,
  requireBytes,
  requireCount,
  requireSmall,
  rumoursFromWire,
  rumoursToWire,
} from './ask-fields.js';
import { decodeAskReply } from './ask-replies.js';
import { encodeAsk } from './ask-requests.js';
import { v1 } from './messages.js';
import { OutgoingCall } from './outgoing-call.js';
import { decodeReplicaPage, encodeReplicaScan } from './range-codec.js';
import { codeFromWire } from './status.js';

/** The link that a call goes over. */
export interface AnsweringPeer {
  readonly nodeId: string;
  /** False: the answer is lost by an injected fault, and the call goes on waiting. */
  hears(call: OutgoingCall): boolean;
}

/** A call to a replica. What fails is told in the replica's words: whether it was sent, and whether it may be applied. */
abstract class ReplicaOutgoing extends OutgoingCall {
  constructor(
    protected readonly peer: AnsweringPeer,
    deadlineMs: number,
    payloadBytes: number,
  ) {
    super(deadlineMs, payloadBytes);
  }

  protected abstract settle(failure: ReplicaFailure): void;
  protected abstract succeeded(answer: v1.Answer): void;

  answered(answer: v1.Answer): void {
    if (!this.peer.hears(this)) return;
    const code = codeFromWire(answer.code);
    if (code === undefined) this.succeeded(answer);
    else {
      this.settle({
        kind: answer.outcome === v1.Outcome.NONE ? 'refused' : 'failed',
        code,
        message: answer.message,
        ...(answer.version.length === VERSION_BYTES ? { promised: answer.version } : {}),
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

const APPLY_KINDS = {
  write: v1.CallKind.CALL_APPLY,
  accept: v1.CallKind.CALL_ACCEPT,
  copy: v1.CallKind.CALL_COPY,
} as const;
const APPLIED: ApplyAnswer = { kind: 'applied' };
const ABSENT = { kind: 'absent' } as const;

export class OutgoingApply extends ReplicaOutgoing {
  constructor(
    peer: AnsweringPeer,
    readonly call: ApplyCall,
    readonly slot: number,
  ) {
    super(peer, call.deadlineMs, call.key.length + call.record.length);
  }

  message(id: number, timeoutMs: number): v1.Call.$Properties {
    const { key, record, source, fence, placementVersion, traceparent } = this.call;
    const kind = APPLY_KINDS[source];
    return { id, kind, timeoutMs, key, record, fence, placementVersion, traceparent };
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

export class OutgoingRead extends ReplicaOutgoing {
  constructor(
    peer: AnsweringPeer,
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

  protected succeeded({ header, record, fence }: v1.Answer): void {
    if (fence.length !== 0 && fence.length !== FENCE_BYTES) {
      this.malformed(`a read with a fence of ${fence.length} bytes`);
    } else if (record.length >= HEADER_BYTES) {
      this.#give({ kind: 'found', header: headerOf(record), record }, fence);
    } else if (record.length > 0) {
      this.malformed(`a read with a record of ${record.length} bytes`);
    } else if (header.length === HEADER_BYTES) {
      this.#give({ kind: 'found', header }, fence);
    } else if (header.length > 0) {
      this.malformed(`a read with a header of ${header.length} bytes`);
    } else this.#give(ABSENT, fence);
  }

  /** Most partitions have no fence, and their answers no field for it. */
  #give(answer: ReadAnswer & { kind: 'found' | 'absent' }, fence: Uint8Array): void {
    this.call.onRead(this.slot, fence.length === 0 ? answer : { ...answer, fence });
  }

  protected settle(failure: ReplicaFailure): void {
    this.call.onRead(this.slot, failure);
  }
}

export class OutgoingPrepare extends ReplicaOutgoing {
  constructor(
    peer: AnsweringPeer,
    readonly call: PrepareCall,
    readonly slot: number,
  ) {
    super(peer, call.deadlineMs, call.key.length + call.known.length);
  }

  message(id: number, timeoutMs: number): v1.Call.$Properties {
    const { key, known: record, ballot: version, above, placementVersion, traceparent } = this.call;
    const kind = v1.CallKind.CALL_PREPARE;
    return { id, kind, timeoutMs, key, record, version, above, placementVersion, traceparent };
  }

  protected succeeded({ record, header, fence }: v1.Answer): void {
    if (fence.length !== 0 && fence.length !== FENCE_BYTES) {
      this.malformed(`a prepare with a fence of ${fence.length} bytes`);
    } else if (record.length > 0 && record.length < HEADER_BYTES) {
      this.malformed(`a prepare with a record of ${record.length} bytes`);
    } else if (header.length !== 0 && header.length !== HEADER_BYTES) {
      this.malformed(`a prepare with a header of ${header.length} bytes`);
    } else {
      const answer: PrepareAnswer = {
        kind: 'promised',
        record: record.length === 0 ? undefined : record,
        header: header.length === 0 ? undefined : header,
        fence: fence.length === 0 ? undefined : fence,
      };
      this.call.onPrepared(this.slot, answer);
    }
  }

  protected settle(failure: ReplicaFailure): void {
    this.call.onPrepared(this.slot, failure);
  }
}

export class OutgoingScan extends ReplicaOutgoing {
  readonly #body: Uint8Array;

  constructor(
    peer: AnsweringPeer,
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

export class OutgoingPing extends ReplicaOutgoing {
  readonly #body: Uint8Array;

  constructor(
    peer: AnsweringPeer,
    { rumours }: PingRequest,
    deadlineMs: number,
    readonly resolve: (answer: PingAnswer | ReplicaFailure) => void,
  ) {
    const body = v1.Ping.encode({ rumours: rumoursToWire(rumours) }).finish();
    super(peer, deadlineMs, body.length);
    this.#body = body;
  }

  message(id: number, timeoutMs: number): v1.Call.$Properties {
    return { id, kind: v1.CallKind.CALL_PING, timeoutMs, body: this.#body };
  }

  protected succeeded({ body }: v1.Answer): void {
    try {
      this.resolve(pongFromWire(v1.Pong.decode(body)));
    } catch (error) {
      this.malformed(`a ping that cannot be read (${String(error)})`);
    }
  }

  protected settle(failure: ReplicaFailure): void {
    this.resolve(failure);
  }
}

/** Everything that is not on the hot path (io/peer-asks.ts). */
export class OutgoingAsk<K extends AskKind> extends ReplicaOutgoing {
  readonly #body: Uint8Array;

  constructor(
    peer: AnsweringPeer,
    readonly kind: K,
    readonly request: AskRequest<K>,
    deadlineMs: number,
    readonly resolve: (reply: AskReply<K> | ReplicaFailure) => void,
  ) {
    const body = encodeAsk(kind, request);
    super(peer, deadlineMs, body.length);
    this.#body = body;
  }

  message(id: number, timeoutMs: number): v1.Call.$Properties {
    return { id, kind: v1.CallKind.CALL_ASK, timeoutMs, body: this.#body };
  }

  protected succeeded({ body }: v1.Answer): void {
    try {
      this.resolve(decodeAskReply(this.kind, this.request, body));
    } catch (error) {
      this.malformed(`"${this.kind}" with what cannot be read (${String(error)})`);
    }
  }

  protected settle(failure: ReplicaFailure): void {
    this.resolve(failure);
  }
}

function pongFromWire(pong: v1.Pong): PingAnswer {
  return {
    kind: 'pong',
    nodeId: pong.nodeId,
    wallMs: requireCount(pong.wallMs, 'wall_ms'),
    hlc: readVersion(requireBytes(pong.hlc, VERSION_BYTES, 'hlc'), 0),
    quarantined: pong.quarantined,
    commitCounter: requireCount(pong.commitCounter, 'commit_counter'),
    incarnation: requireSmall(pong.incarnation, INCARNATION_BYTES, 'incarnation'),
    placementVersion: pong.placementVersion,
    rumours: rumoursFromWire(pong.rumours, 'rumours'),
  };
}
