import type { ReplicaFailure } from '../io/peer.js';
import type { AskReply } from '../io/peer-asks.js';
import { ANY_NODE, createPeerLink, type PeerLinkOptions } from './peer-link.js';

/**
 * Asks whichever node of the cluster is at `options.address` for all that it knows of the members, over a channel of its own
 * that is closed afterwards. Goes on trying to connect until the deadline, or until `signal` fires.
 */
export function askSeed(
  options: Omit<PeerLinkOptions, 'nodeId' | 'onState'>,
  deadlineMs: number,
  signal: AbortSignal,
): Promise<AskReply<'members'> | ReplicaFailure> {
  const { address, selfId, clock, timers } = options;
  return new Promise((resolve) => {
    const settle = (answer: AskReply<'members'> | ReplicaFailure): void => {
      cancel();
      signal.removeEventListener('abort', giveUp);
      void link.close(0);
      resolve(answer);
    };
    const giveUp = (): void => {
      const message = `the seed ${address}: ${link.state.reason}`;
      settle({ kind: 'unreachable', code: 'UNAVAILABLE', message });
    };
    const link = createPeerLink({
      ...options,
      nodeId: ANY_NODE,
      onState({ kind }) {
        if (kind === 'connected')
          void link.ask('members', { from: selfId }, deadlineMs).then(settle);
      },
    });
    const cancel = timers.after(deadlineMs - clock.monotonicMs(), giveUp);
    signal.addEventListener('abort', giveUp);
  });
}
