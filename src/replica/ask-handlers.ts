import type { ReplicaFailure } from '../io/peer.js';
import type { AskKind, AskReply, AskRequest } from '../io/peer-asks.js';

/** What answers each kind of ask. */
export type AskHandlers = {
  [K in AskKind]: (
    request: AskRequest<K>,
    deadlineMs: number,
  ) => Promise<AskReply<K> | ReplicaFailure>;
};

/** The replica, which passes on what it is asked. */
export interface AnsweringReplica {
  answer<K extends AskKind>(kind: K, handler: AskHandlers[K]): void;
}
