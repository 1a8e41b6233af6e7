import type {
  ApplyAnswer,
  ApplyCall,
  Peer,
  ReadAnswer,
  ReadCall,
  ReplicaFailure,
} from '../../src/io/peer.js';
import type { AskKind, AskReply, AskRequest } from '../../src/io/peer-asks.js';
import type { VirtualTime } from '../virtual-time.js';

const CUT_OFF: ReplicaFailure = { kind: 'failed', code: 'UNAVAILABLE', message: 'channel broken' };

const LATE: ReplicaFailure = { kind: 'failed', code: 'TIMED_OUT', message: 'no answer in time' };

/** A replica at the other end of a network: everything takes its time, is counted, and may fail. */
export class FarPeer implements Peer {
  readonly nodeId: string;
  connected = true;
  /** From the next call on, nothing gets through. */
  cut = false;
  delayMs = 1;
  /** From the next call on, nothing is answered before its deadline: packets are dropped, and nobody says so. */
  silent = false;
  /** What becomes of a call instead of its being carried out; undefined: it is. */
  failing: (kind: AskKind | 'apply' | 'read') => ReplicaFailure | undefined = () => undefined;
  /** May change what is answered to an ask. */
  twist: (kind: AskKind, request: object, reply: object) => object = (_kind, _request, reply) =>
    reply;
  /** Applies are answered as if they had been carried out, and are not. */
  dropsApplies = false;
  readonly asked: AskKind[] = [];
  applies = 0;
  reads = 0;
  readsAtOnce = 0;
  mostReadsAtOnce = 0;

  constructor(
    private readonly replica: Peer,
    private readonly time: VirtualTime,
  ) {
    this.nodeId = replica.nodeId;
  }

  apply(call: ApplyCall, slot: number): void {
    this.applies += 1;
    this.#travel(() => {
      const failure = this.#failure('apply');
      const onApplied = (answer: ApplyAnswer): void => {
        this.#travel(() => call.onApplied(slot, this.cut ? CUT_OFF : answer));
      };
      if (this.dropsApplies) onApplied({ kind: 'applied' });
      else if (failure === undefined) {
        const { key, keyHash, record, source, fence, deadlineMs, placementVersion, traceparent } =
          call;
        this.replica.apply(
          {
            key,
            keyHash,
            record,
            source,
            fence,
            deadlineMs,
            placementVersion,
            traceparent,
            onApplied: (_, answer) => onApplied(answer),
          },
          0,
        );
      } else onApplied(failure);
    });
  }

  prepare(): void {
    throw new Error('nothing is promised over this way');
  }

  read(call: ReadCall, slot: number, part: 'record' | 'header'): void {
    this.reads += 1;
    this.readsAtOnce += 1;
    this.mostReadsAtOnce = Math.max(this.mostReadsAtOnce, this.readsAtOnce);
    if (this.silent) {
      void this.#lateAt(call.deadlineMs).then((late) => call.onRead(slot, late));
      return;
    }
    this.#travel(() => {
      const failure = this.#failure('read');
      const onRead = (answer: ReadAnswer): void => {
        this.#travel(() => {
          this.readsAtOnce -= 1;
          call.onRead(slot, this.cut ? CUT_OFF : answer);
        });
      };
      const { key, keyHash, deadlineMs, placementVersion, traceparent } = call;
      const inner: ReadCall = {
        key,
        keyHash,
        deadlineMs,
        placementVersion,
        traceparent,
        onRead: (_, answer) => onRead(answer),
      };
      if (failure === undefined) this.replica.read(inner, 0, part);
      else onRead(failure);
    });
  }

  async ask<K extends AskKind>(
    kind: K,
    request: AskRequest<K>,
    deadlineMs: number,
  ): Promise<AskReply<K> | ReplicaFailure> {
    this.asked.push(kind);
    if (this.silent) return this.#lateAt(deadlineMs);
    await this.#wait();
    const failure = this.#failure(kind);
    if (failure !== undefined) return failure;
    const reply = await this.replica.ask(kind, request, deadlineMs);
    await this.#wait();
    if (this.cut) return CUT_OFF;
    return this.twist(kind, request, reply) as typeof reply;
  }

  scan(): Promise<never> {
    throw new Error('nothing is scanned here');
  }

  ping(): Promise<never> {
    throw new Error('nothing is pinged here');
  }

  #failure(kind: AskKind | 'apply' | 'read'): ReplicaFailure | undefined {
    return this.cut ? CUT_OFF : this.failing(kind);
  }

  #lateAt(deadlineMs: number): Promise<ReplicaFailure> {
    const { clock, timers } = this.time;
    return new Promise((resolve) => {
      timers.after(deadlineMs - clock.monotonicMs(), () => resolve(LATE));
    });
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#travel(resolve);
    });
  }

  #travel(arrive: () => void): void {
    this.time.timers.after(this.delayMs, arrive);
  }
}
