import { invalidArgument } from '../core/errors.js';
import { GROUPS, digestBytes, SEGMENTS_PER_GROUP, TREE_DIGEST_BYTES } from '../core/hash-tree.js';
import { countPartitions } from '../core/partition-set.js';
import { HEADER_BYTES } from '../core/record.js';
import { VERSION_BYTES } from '../core/version.js';
import {
  DONE,
  type AskKind,
  type AskReply,
  type AskRequest,
  type KeysReply,
  type ReplicaState,
} from '../io/peer-asks.js';
import {
  FENCE_BYTES,
  progressFromWire,
  progressToWire,
  requireBytes,
  requireCount,
  requireFence,
  requireSmall,
  rumoursFromWire,
  rumoursToWire,
} from './ask-fields.js';
import { FIELD_OF_ASK } from './ask-requests.js';
import { v1 } from './messages.js';
import { decodeBody } from './range-codec.js';

const STATE_TO_WIRE: Readonly<Record<ReplicaState, v1.ReplicaState>> = {
  serving: v1.ReplicaState.REPLICA_SERVING,
  waiting: v1.ReplicaState.REPLICA_WAITING,
  refilling: v1.ReplicaState.REPLICA_REFILLING,
};

/** Index: the number on the wire. */
const STATES: readonly ReplicaState[] = ['serving', 'waiting', 'refilling'];

interface ReplyForm<K extends AskKind> {
  readonly toWire: (reply: AskReply<K>) => object;
  /** `message` is of the type that the field has. Throws INVALID_ARGUMENT for what does not answer the request. */
  readonly fromWire: (message: never, request: AskRequest<K>) => AskReply<K>;
}

const NOTHING_TO_SAY = { toWire: (): v1.Done.$Properties => ({}), fromWire: () => DONE };

const FORMS: { readonly [K in AskKind]: ReplyForm<K> } = {
  introduce: {
    toWire: ({ state, remembers, ...self }): v1.Introduced.$Properties => ({
      self: progressToWire(self),
      ...(remembers === undefined ? {} : { remembers: progressToWire(remembers) }),
      state: STATE_TO_WIRE[state],
    }),
    fromWire: ({ self, remembers, state }: v1.Introduced) => ({
      kind: 'reply',
      ...progressFromWire(self, 'self'),
      ...(remembers ? { remembers: progressFromWire(remembers, 'remembers') } : {}),
      state: requireState(state),
    }),
  },
  'record-life': NOTHING_TO_SAY,
  fences: {
    toWire: ({ fences }): v1.FencesReply.$Properties => ({ fences }),
    fromWire: ({ fences }: v1.FencesReply, { partitions }) => ({
      kind: 'reply',
      fences: requireBytes(fences, 3 * FENCE_BYTES * countPartitions(partitions), 'fences'),
    }),
  },
  'promise-fence': {
    toWire: ({ promised, sealed, committed, mark }): v1.PromisedFence.$Properties => ({
      promised,
      sealed,
      committed,
      mark,
    }),
    fromWire: ({ promised, sealed, committed, mark }: v1.PromisedFence) => ({
      kind: 'reply',
      promised: requireSmall(promised, FENCE_BYTES, 'promised'),
      sealed: requireFence(sealed, 'sealed'),
      committed: requireFence(committed, 'committed'),
      mark: requireCount(mark, 'mark'),
    }),
  },
  'seal-fence': NOTHING_TO_SAY,
  'commit-fence': NOTHING_TO_SAY,
  'release-fence': NOTHING_TO_SAY,
  digests: {
    toWire: ({ ready, equal, busy, digests }): v1.DigestsReply.$Properties => ({
      ready,
      equal,
      busy,
      digests,
    }),
    fromWire: ({ ready, equal, busy, digests }: v1.DigestsReply, { partitions }) => {
      const isCompared = ready && !equal && !busy;
      const bytes = isCompared ? TREE_DIGEST_BYTES * countPartitions(partitions) : 0;
      return {
        kind: 'reply',
        ready,
        equal,
        busy,
        digests: requireBytes(digests, bytes, 'digests'),
      };
    },
  },
  segments: {
    toWire: ({ digests, promised, committed }): v1.SegmentsReply.$Properties => ({
      digests,
      promised,
      committed,
    }),
    fromWire: ({ digests, promised, committed }: v1.SegmentsReply, { groups, wide }) => {
      const count = groups.length === 0 ? GROUPS : groups.length * SEGMENTS_PER_GROUP;
      const bytes = count * digestBytes(wide);
      return {
        kind: 'reply',
        digests: requireBytes(digests, bytes, 'digests'),
        promised: requireFence(promised, 'promised'),
        committed: requireFence(committed, 'committed'),
      };
    },
  },
  keys: {
    toWire: ({ keys, headers, corrupt, listed, committed }): v1.KeysReply.$Properties => ({
      keys: [...keys],
      headers: Buffer.concat(headers),
      corrupt: [...corrupt],
      listed,
      committed,
    }),
    fromWire: keysFromWire,
  },
  owe: NOTHING_TO_SAY,
  probe: {
    toWire: ({ reached }): v1.ProbeReply.$Properties => ({ reached }),
    fromWire: ({ reached }: v1.ProbeReply) => ({ kind: 'reply', reached }),
  },
  members: {
    toWire: ({ members }): v1.MembersReply.$Properties => ({ members: rumoursToWire(members) }),
    fromWire: ({ members }: v1.MembersReply) => ({
      kind: 'reply',
      members: rumoursFromWire(members, 'members'),
    }),
  },
  promises: {
    toWire: ({ keys, ballots, more }): v1.PromisesReply.$Properties => ({
      keys: [...keys],
      ballots: Buffer.concat(ballots),
      more,
    }),
    fromWire: ({ keys, ballots, more }: v1.PromisesReply) => {
      const bytes = requireBytes(ballots, VERSION_BYTES * keys.length, 'ballots');
      return {
        kind: 'reply',
        keys,
        ballots: keys.map((_, i) => bytes.subarray(i * VERSION_BYTES, (i + 1) * VERSION_BYTES)),
        more,
      };
    },
  },
};

export function encodeAskReply<K extends AskKind>(kind: K, reply: AskReply<K>): Uint8Array {
  return v1.AskReply.encode({ [FIELD_OF_ASK[kind]]: FORMS[kind].toWire(reply) }).finish();
}

/**
 * Reads the reply to what was asked. Fences and incarnations are copies; all other bytes are views of `body`. Throws
 * INVALID_ARGUMENT naming the field for a reply that does not answer the request.
 */
export function decodeAskReply<K extends AskKind>(
  kind: K,
  request: AskRequest<K>,
  body: Uint8Array,
): AskReply<K> {
  const reply = decodeBody(() => v1.AskReply.decode(body), 'AskReply');
  const message = reply[FIELD_OF_ASK[kind]];
  if (!message) throw invalidArgument('reply', `it does not answer "${kind}"`);
  return FORMS[kind].fromWire(message as never, request);
}

function keysFromWire(reply: v1.KeysReply, { segments }: AskRequest<'keys'>): KeysReply {
  const { keys, headers, corrupt, listed, committed } = reply;
  requireBytes(headers, keys.length * HEADER_BYTES, 'headers');
  if (listed < 1 || listed > segments.length) {
    throw invalidArgument('listed', `${listed}, it must be 1 to ${segments.length}`);
  }
  return {
    kind: 'reply',
    keys,
    headers: keys.map((_, i) => headers.subarray(i * HEADER_BYTES, (i + 1) * HEADER_BYTES)),
    corrupt,
    listed,
    committed: requireFence(committed, 'committed'),
  };
}

function requireState(number: number): ReplicaState {
  const state = STATES[number];
  if (state !== undefined) return state;
  throw invalidArgument('state', `${number}, it must be below ${STATES.length}`);
}
