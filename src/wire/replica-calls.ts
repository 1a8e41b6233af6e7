import type { ErrorCode } from '../core/errors.js';
import { HEADER_BYTES, headerOf } from '../core/record.js';
import { readVersion, VERSION_BYTES } from '../core/version.js';
import type {
  ApplyAnswer,
  ApplyCall,
  PingAnswer,
  ReadAnswer,
  ReadCall,
  ReplicaFailure,
  ReplicaPage,
  ReplicaScan,
} from '../io/peer.js';
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
    const kind = source === 'write' ? v1.CallKind.CALL_APPLY : v1.CallKind.CALL_COPY;
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
  constructor(
    peer: AnsweringPeer,
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
      rumours: [],
    });
  }

  protected settle(failure: ReplicaFailure): void {
    this.resolve(failure);
  }
}
