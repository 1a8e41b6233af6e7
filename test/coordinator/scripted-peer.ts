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
} from '../../src/io/peer.js';

export type SentCall =
  | { readonly kind: 'apply'; readonly call: ApplyCall; readonly slot: number }
  | {
      readonly kind: 'read';
      readonly call: ReadCall;
      readonly slot: number;
      readonly part: 'record' | 'header';
    };

/** A replica that answers when and what the test says, the oldest call first. */
export class ScriptedPeer implements Peer {
  connected = true;
  readonly waiting: SentCall[] = [];

  constructor(
    readonly nodeId: string,
    private readonly onSent: (nodeId: string, sent: SentCall) => void = () => {},
  ) {}

  apply(call: ApplyCall, slot: number): void {
    this.#take({ kind: 'apply', call, slot });
  }

  read(call: ReadCall, slot: number, part: 'record' | 'header'): void {
    this.#take({ kind: 'read', call, slot, part });
  }

  prepare(): void {
    throw new Error('not scripted');
  }

  scan(_request: ReplicaScan, _deadlineMs: number): Promise<ReplicaPage | ReplicaFailure> {
    throw new Error('not scripted');
  }

  ping(): Promise<PingAnswer | ReplicaFailure> {
    throw new Error('not scripted');
  }

  ask(): Promise<ReplicaFailure> {
    throw new Error('nothing is asked here');
  }

  /** Answers the oldest call. */
  answer(answer: ApplyAnswer | ReadAnswer): void {
    const sent = this.waiting.shift();
    if (sent === undefined) throw new Error(`${this.nodeId} was not asked anything`);
    const isRead = answer.kind === 'found' || answer.kind === 'absent';
    const isApply = answer.kind === 'applied' || answer.kind === 'kept';
    if (sent.kind === 'read' ? isApply : isRead) {
      throw new Error(
        `${this.nodeId} was asked to ${sent.kind}, and is made to answer ${answer.kind}`,
      );
    }
    if (sent.kind === 'apply') sent.call.onApplied(sent.slot, answer as ApplyAnswer);
    else sent.call.onRead(sent.slot, answer as ReadAnswer);
  }

  #take(sent: SentCall): void {
    this.waiting.push(sent);
    this.onSent(this.nodeId, sent);
  }
}
