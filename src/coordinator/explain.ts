import type { ReadAnswer, ReadCall } from '../io/peer.js';
import { UnderWay } from './in-flight.js';
import type { InFlight } from './in-flight.js';
import type { ReplicaCopy } from './operation.js';
import type { Route } from './routes.js';

const NO_TRACE = new Uint8Array(0);

const LATE: ReadAnswer = { kind: 'failed', code: 'TIMED_OUT', message: 'no answer in time' };

/** Asks every replica of a key for what it holds, and repairs nothing: for people who want to see. */
export class Explanation extends UnderWay implements ReadCall {
  readonly traceparent = NO_TRACE;
  readonly placementVersion: number;
  readonly copies: Promise<readonly ReplicaCopy[]>;
  readonly #answers: (ReadAnswer | undefined)[];
  #resolve: (copies: readonly ReplicaCopy[]) => void = () => {};

  constructor(
    private readonly inFlight: InFlight,
    readonly key: Uint8Array,
    readonly keyHash: number,
    private readonly route: Route,
    readonly deadlineMs: number,
    private readonly startedMs: number,
  ) {
    super();
    this.placementVersion = route.placementVersion;
    this.copies = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#answers = route.peers.map((peer) => peer.obstacle(startedMs));
  }

  get bytes(): number {
    return this.key.length;
  }

  start(): void {
    this.inFlight.add(this);
    for (const [slot, peer] of this.route.peers.entries()) {
      if (this.#answers[slot] !== undefined) continue;
      peer.sent(this.startedMs, this.bytes);
      peer.peer.read(this, slot, 'record');
    }
    this.#finishIfComplete();
  }

  onRead(slot: number, answer: ReadAnswer): void {
    this.route.peers[slot]?.answered(answer, this.bytes, this.startedMs);
    this.#answers[slot] = answer;
    this.#finishIfComplete();
  }

  expire(): void {
    for (const slot of this.#answers.keys()) this.#answers[slot] ??= LATE;
    this.#finishIfComplete();
  }

  cancel(): void {
    this.expire();
  }

  serves(): boolean {
    return false;
  }

  #finishIfComplete(): void {
    if (!this.isUnderWay || this.#answers.includes(undefined)) return;
    this.inFlight.remove(this);
    this.#resolve(
      this.route.peers.map(({ nodeId }, slot) => ({
        node: nodeId,
        answer: this.#answers[slot] ?? LATE,
      })),
    );
  }
}
