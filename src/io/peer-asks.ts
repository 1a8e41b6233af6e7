import type { Rumour } from '../core/membership.js';
import type { PartitionSet } from '../core/partition-set.js';

/**
 * What nodes ask of each other beside the hot calls: comparing trees, fences, incarnations, hints, gossip. Each ask is a
 * request and a reply; a replica that cannot or will not answer gives a `ReplicaFailure` instead.
 */
export interface Asks {
  /** First on every connection, both ways in one: who I am, and what I remember of you. */
  readonly introduce: { readonly request: Introduction; readonly reply: IntroductionReply };
  /**
   * Records durably that `nodeId` is in this life from now on, before it answers. Refused when a later life is known. From
   * then on every answer of the replica names it, and only then may it refill that node.
   */
  readonly 'record-life': {
    readonly request: { readonly nodeId: string; readonly incarnation: Uint8Array };
    readonly reply: Done;
  };
  readonly fences: {
    readonly request: { readonly partitions: PartitionSet };
    /** For each partition of the set, in order, 48 bytes: the fences promised, sealed and committed; zeros: none. */
    readonly reply: { readonly kind: 'reply'; readonly fences: Uint8Array };
  };
  /** Refuses new writes at or below the fence from now on; durable before it answers. Of an older fence it only says so. */
  readonly 'promise-fence': { readonly request: FenceRequest; readonly reply: FencePromise };
  /**
   * Refuses copies at or below the fence, too, unless their holder has committed it; durable before it answers. Refused when
   * a newer fence is promised, and when a copy that old was taken since the promise said `mark`: what was compared is then
   * not what is there. Sealed by all, the fence may be committed.
   */
  readonly 'seal-fence': {
    readonly request: FenceRequest & { readonly mark: number };
    readonly reply: Done;
  };
  /** All have sealed it: what it hides is gone. Refused when it is not sealed here, or `promised` is not what is promised. */
  readonly 'commit-fence': { readonly request: FenceSettlement; readonly reply: Done };
  /** It will never be committed anywhere: the seal is taken off. Refused when `promised` is not what is promised. */
  readonly 'release-fence': { readonly request: FenceSettlement; readonly reply: Done };
  /** The ballots that it has promised and that nothing has followed yet: what a replica that has forgotten takes over. */
  readonly promises: {
    readonly request: {
      readonly partitions: PartitionSet;
      /** Of keys after this one; empty: of all. */
      readonly after: Uint8Array;
    };
    readonly reply: PromisesReply;
  };
  /** The first look of anti-entropy: the digests of partitions, unless all of them together are equal. */
  readonly digests: {
    readonly request: {
      /** The node that asks. */
      readonly from: string;
      readonly partitions: PartitionSet;
      /** Of all these partitions together, 8 bytes (core/hash-tree.ts). */
      readonly combined: Uint8Array;
      /** It takes what is newer here and brings nothing, so it need not wait while another node compares with this one. */
      readonly takes?: boolean;
    };
    readonly reply: {
      readonly kind: 'reply';
      /** False: its trees are being rebuilt, so nothing can be said. */
      readonly ready: boolean;
      /** Equal below all; `digests` is empty then. */
      readonly equal: boolean;
      /** It is comparing with another node: come again. Nothing else is to be asked of it now. */
      readonly busy: boolean;
      /** 8 bytes for each partition of the set, in order. */
      readonly digests: Uint8Array;
    };
  };
  /** One level down: the groups of a partition, or the segments of some groups. */
  readonly segments: {
    readonly request: {
      readonly from: string;
      readonly partition: number;
      /** Empty: the digests of all groups are asked for, 8 bytes each. Else of the segments of these groups, in order. */
      readonly groups: Uint8Array;
      /** Segment digests of 8 bytes instead of the first 4. */
      readonly wide: boolean;
    };
    readonly reply: {
      readonly kind: 'reply';
      readonly digests: Uint8Array;
      readonly promised: Uint8Array;
      readonly committed: Uint8Array;
    };
  };
  /** The keys of some segments of a partition with the headers of their records. */
  readonly keys: {
    readonly request: {
      readonly from: string;
      readonly partition: number;
      /** Ascending. */
      readonly segments: readonly number[];
    };
    readonly reply: KeysReply;
  };
  /** Marks that `target` is owed these keys, which the asked replica holds. */
  readonly owe: {
    readonly request: { readonly target: string; readonly keys: readonly Uint8Array[] };
    readonly reply: Done;
  };
  /** Can you reach it? Asked by a node that could not (SWIM's indirect probe). */
  readonly probe: {
    readonly request: { readonly target: string };
    readonly reply: { readonly kind: 'reply'; readonly reached: boolean };
  };
  /** All that the node knows of all members; asked once after connecting. */
  readonly members: {
    readonly request: { readonly from: string };
    readonly reply: { readonly kind: 'reply'; readonly members: readonly Rumour[] };
  };
}

export type AskKind = keyof Asks;
export type AskRequest<K extends AskKind> = Asks[K]['request'];
export type AskReply<K extends AskKind> = Asks[K]['reply'];

export interface Done {
  readonly kind: 'reply';
}

export const DONE: Done = Object.freeze({ kind: 'reply' });

export interface FenceRequest {
  readonly partition: number;
  /** 16 bytes. */
  readonly fence: Uint8Array;
}

/** What becomes of a sealed fence. Only who goes by the newest promise may say it: so two never say different things. */
export interface FenceSettlement extends FenceRequest {
  /** The fence promised last, by all replicas; 16 bytes. */
  readonly promised: Uint8Array;
}

/** Where the fences of a partition stand after a promise; empty: none. */
export interface FencePromise {
  readonly kind: 'reply';
  /** Not below the fence asked for. */
  readonly promised: Uint8Array;
  readonly sealed: Uint8Array;
  readonly committed: Uint8Array;
  /** Changes whenever a copy at or below the promised fence is taken, and with every start of the node. */
  readonly mark: number;
}

/** How far a node had come: which life, and how many group commits. */
export interface Progress {
  readonly incarnation: Uint8Array;
  readonly commitCounter: number;
}

export interface Introduction extends Progress {
  readonly nodeId: string;
  /** What the sender remembers of the node that it asks; absent: it never heard of it. */
  readonly remembers?: Progress;
}

export interface IntroductionReply extends Progress {
  readonly kind: 'reply';
  /** `waiting`: it cannot tell yet whether it is new or has forgotten. `refilling`: it has forgotten, and votes on nothing. */
  readonly state: ReplicaState;
  readonly remembers?: Progress;
}

export type ReplicaState = 'serving' | 'waiting' | 'refilling';

export interface PromisesReply {
  readonly kind: 'reply';
  /** In order. */
  readonly keys: readonly Uint8Array[];
  /** For each key 16 bytes. */
  readonly ballots: readonly Uint8Array[];
  /** Further ones come after the last of these keys. */
  readonly more: boolean;
}

export interface KeysReply {
  readonly kind: 'reply';
  readonly keys: readonly Uint8Array[];
  /** For each key the first 25 bytes of its record. */
  readonly headers: readonly Uint8Array[];
  /** Keys whose record cannot be read. */
  readonly corrupt: readonly Uint8Array[];
  /** How many of the segments asked for are listed, whole and in order; at least one. The rest is for another ask. */
  readonly listed: number;
  readonly committed: Uint8Array;
}
