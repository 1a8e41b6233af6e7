import type { ReplicaFailure } from '../io/peer.js';
import type { AskKind, AskReply, AskRequest } from '../io/peer-asks.js';
import type { AskHandlers } from './ask-handlers.js';
import { refused, STOPPING } from './failure.js';

/** What a node may ask that is not yet sure of itself: it is answered whether the replica serves or not. */
const ALWAYS_ANSWERED: ReadonlySet<AskKind> = new Set([
  'introduce',
  'record-life',
  'members',
  'probe',
]);

export function isAlwaysAnswered(kind: AskKind): boolean {
  return ALWAYS_ANSWERED.has(kind);
}

/** Hands each ask to what answers its kind. */
export class AskDesk {
  readonly #handlers: Partial<AskHandlers> = {};

  answer<K extends AskKind>(kind: K, handler: AskHandlers[K]): void {
    this.#handlers[kind] = handler;
  }

  /** `closed`: why the replica serves nobody now. */
  async ask<K extends AskKind>(
    kind: K,
    request: AskRequest<K>,
    deadlineMs: number,
    closed?: ReplicaFailure,
  ): Promise<AskReply<K> | ReplicaFailure> {
    if (closed === STOPPING || (closed !== undefined && !isAlwaysAnswered(kind))) return closed;
    const handler = this.#handlers[kind] as AskHandlers[K] | undefined;
    return handler?.(request, deadlineMs) ?? refused('UNAVAILABLE', `${kind}: not ready to answer`);
  }
}
