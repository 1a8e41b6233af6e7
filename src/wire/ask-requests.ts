import { invalidArgument } from '../core/errors.js';
import { GROUPS, SEGMENTS, TREE_DIGEST_BYTES } from '../core/hash-tree.js';
import { checkKey, DEFAULT_LIMITS } from '../core/limits.js';
import type { AskKind, AskRequest, FenceRequest, FenceSettlement } from '../io/peer-asks.js';
import {
  FENCE_BYTES,
  INCARNATION_BYTES,
  progressFromWire,
  progressToWire,
  requireBelow,
  requireBytes,
  requireCount,
  requireName,
  requirePartition,
  requirePartitions,
  requireSmall,
} from './ask-fields.js';
import { v1 } from './messages.js';
import { decodeBody } from './range-codec.js';

/** Keys of one `owe`. */
const MAX_OWED = 16_384;

/** The names of the oneof in Ask and in AskReply; they are the same. */
export type AskField = keyof Pick<
  v1.Ask,
  | 'introduce'
  | 'recordLife'
  | 'fences'
  | 'promiseFence'
  | 'sealFence'
  | 'commitFence'
  | 'releaseFence'
  | 'digests'
  | 'segments'
  | 'keys'
  | 'owe'
  | 'probe'
  | 'members'
  | 'promises'
>;

export const FIELD_OF_ASK: Readonly<Record<AskKind, AskField>> = {
  introduce: 'introduce',
  'record-life': 'recordLife',
  fences: 'fences',
  'promise-fence': 'promiseFence',
  'seal-fence': 'sealFence',
  'commit-fence': 'commitFence',
  'release-fence': 'releaseFence',
  digests: 'digests',
  segments: 'segments',
  keys: 'keys',
  owe: 'owe',
  probe: 'probe',
  members: 'members',
  promises: 'promises',
};

const KIND_OF_FIELD = new Map<string, AskKind>(
  Object.entries(FIELD_OF_ASK).map(([kind, field]) => [field, kind as AskKind]),
);

/** An ask that arrived, whatever it is. */
export type ArrivedAsk = { readonly [K in AskKind]: { kind: K; request: AskRequest<K> } }[AskKind];

interface RequestForm<K extends AskKind> {
  readonly toWire: (request: AskRequest<K>) => object;
  /** `message` is of the type that the field has. Throws INVALID_ARGUMENT naming what is out of bounds. */
  readonly fromWire: (message: never, from: string) => AskRequest<K>;
}

const FORMS: { readonly [K in AskKind]: RequestForm<K> } = {
  introduce: {
    toWire: ({ remembers, ...self }): v1.Introduce.$Properties => ({
      self: progressToWire(self),
      ...(remembers === undefined ? {} : { remembers: progressToWire(remembers) }),
    }),
    fromWire: ({ self, remembers }: v1.Introduce, from) => ({
      nodeId: from,
      ...progressFromWire(self, 'self'),
      ...(remembers ? { remembers: progressFromWire(remembers, 'remembers') } : {}),
    }),
  },
  'record-life': {
    toWire: ({ nodeId, incarnation }): v1.RecordLife.$Properties => ({ nodeId, incarnation }),
    fromWire: ({ nodeId, incarnation }: v1.RecordLife) => ({
      nodeId: requireName(nodeId, 'node_id'),
      incarnation: requireSmall(incarnation, INCARNATION_BYTES, 'incarnation'),
    }),
  },
  fences: {
    toWire: ({ partitions }): v1.FencesRequest.$Properties => ({ partitions }),
    fromWire: ({ partitions }: v1.FencesRequest) => ({ partitions: requirePartitions(partitions) }),
  },
  'promise-fence': { toWire: fenceToWire, fromWire: fenceFromWire },
  'seal-fence': {
    toWire: ({ partition, fence, mark }): v1.SealFence.$Properties => ({ partition, fence, mark }),
    fromWire: (request: v1.SealFence) => ({
      ...fenceFromWire(request),
      mark: requireCount(request.mark, 'mark'),
    }),
  },
  'commit-fence': { toWire: settlementToWire, fromWire: settlementFromWire },
  'release-fence': { toWire: settlementToWire, fromWire: settlementFromWire },
  digests: {
    toWire: ({ partitions, combined, takes = false }): v1.DigestsRequest.$Properties => ({
      partitions,
      combined,
      takes,
    }),
    fromWire: ({ partitions, combined, takes }: v1.DigestsRequest, from) => ({
      from,
      partitions: requirePartitions(partitions),
      combined: requireBytes(combined, TREE_DIGEST_BYTES, 'combined'),
      takes,
    }),
  },
  segments: {
    toWire: ({ partition, groups, wide }): v1.SegmentsRequest.$Properties => ({
      partition,
      groups,
      wide,
    }),
    fromWire: ({ partition, groups, wide }: v1.SegmentsRequest, from) => ({
      from,
      partition: requirePartition(partition),
      groups: requireGroups(groups),
      wide,
    }),
  },
  keys: {
    toWire: ({ partition, segments }): v1.KeysRequest.$Properties => ({
      partition,
      segments: [...segments],
    }),
    fromWire: ({ partition, segments }: v1.KeysRequest, from) => ({
      from,
      partition: requirePartition(partition),
      segments: requireSegments(segments),
    }),
  },
  owe: {
    toWire: ({ target, keys }): v1.OweRequest.$Properties => ({ target, keys: [...keys] }),
    fromWire: ({ target, keys }: v1.OweRequest) => ({
      target: requireName(target, 'target'),
      keys: requireKeys(keys),
    }),
  },
  probe: {
    toWire: ({ target }): v1.ProbeRequest.$Properties => ({ target }),
    fromWire: ({ target }: v1.ProbeRequest) => ({ target: requireName(target, 'target') }),
  },
  members: {
    toWire: (): v1.MembersRequest.$Properties => ({}),
    fromWire: (_: v1.MembersRequest, from) => ({ from }),
  },
  promises: {
    toWire: ({ partitions, after }): v1.PromisesRequest.$Properties => ({ partitions, after }),
    fromWire: ({ partitions, after }: v1.PromisesRequest) => ({
      partitions: requirePartitions(partitions),
      after,
    }),
  },
};

/** The body of a call that asks. Who asks is not in it: the other side knows from the greeting. */
export function encodeAsk<K extends AskKind>(kind: K, request: AskRequest<K>): Uint8Array {
  return v1.Ask.encode({ [FIELD_OF_ASK[kind]]: FORMS[kind].toWire(request) }).finish();
}

/**
 * Reads what the node `from` asks. Fences and incarnations are copies; all other bytes are views of `body`. Throws
 * INVALID_ARGUMENT naming the field that is out of bounds.
 */
export function decodeAsk(body: Uint8Array, from: string): ArrivedAsk {
  const ask = decodeBody(() => v1.Ask.decode(body), 'Ask');
  const kind = KIND_OF_FIELD.get(ask.ask ?? '');
  if (kind === undefined) throw invalidArgument('ask', 'nothing that this release knows is asked');
  const request = FORMS[kind].fromWire(ask[FIELD_OF_ASK[kind]] as never, from);
  return { kind, request } as ArrivedAsk;
}

function fenceToWire({ partition, fence }: FenceRequest): v1.FenceRequest.$Properties {
  return { partition, fence };
}

function fenceFromWire({
  partition,
  fence,
}: {
  readonly partition: number;
  readonly fence: Uint8Array;
}): FenceRequest {
  return {
    partition: requirePartition(partition),
    fence: requireSmall(fence, FENCE_BYTES, 'fence'),
  };
}

function settlementToWire(settlement: FenceSettlement): v1.SettleFence.$Properties {
  const { partition, fence, promised } = settlement;
  return { partition, fence, promised };
}

function settlementFromWire(request: v1.SettleFence): FenceSettlement {
  const fence = fenceFromWire(request);
  return { ...fence, promised: requireSmall(request.promised, FENCE_BYTES, 'promised') };
}

function requireGroups(groups: Uint8Array): Uint8Array {
  for (let i = 0; i < groups.length; i++) {
    const group = requireBelow(groups[i] as number, GROUPS, `groups[${i}]`);
    if (i > 0 && group <= (groups[i - 1] as number)) {
      throw invalidArgument(`groups[${i}]`, `${group} does not follow ${groups[i - 1]}`);
    }
  }
  return groups;
}

function requireSegments(segments: readonly number[]): readonly number[] {
  if (segments.length === 0 || segments.length > SEGMENTS) {
    throw invalidArgument('segments', `${segments.length}, it must be 1 to ${SEGMENTS}`);
  }
  segments.forEach((segment, i) => requireBelow(segment, SEGMENTS, `segments[${i}]`));
  return segments;
}

function requireKeys(keys: readonly Uint8Array[]): readonly Uint8Array[] {
  if (keys.length > MAX_OWED) {
    throw invalidArgument('keys', `${keys.length}, the limit is ${MAX_OWED}`);
  }
  for (const key of keys) {
    const problem = checkKey(key, DEFAULT_LIMITS);
    if (problem !== undefined) throw problem;
  }
  return keys;
}
