import type { ErrorCode } from '../core/errors.js';
import type { Rumour } from '../core/membership.js';
import type { Version } from '../core/version.js';
import type { AskKind, AskReply, AskRequest } from './peer-asks.js';

/**
 * A replica as a coordinator sees it: the node itself, a node over the wire, or a simulated one. The hot calls carry no
 * closures: one object of the coordinator is given to every replica of the key, and each reports to its own slot of it.
 */
export interface Peer {
  readonly nodeId: string;
  /** Whether a call has a chance: a channel is open (or this is the node itself). */
  readonly connected: boolean;
  /** Gives the record to the replica. `call.onApplied(slot, …)` follows exactly once, never within this call. */
  apply(call: ApplyCall, slot: number): void;
  /** Asks for the whole record or for its header. `call.onRead(slot, …)` follows exactly once, never within this call. */
  read(call: ReadCall, slot: number, part: 'record' | 'header'): void;
  /** Asks for a promise of the ballot. `call.onPrepared(slot, …)` follows exactly once, never within this call. */
  prepare(call: PrepareCall, slot: number): void;
  scan(request: ReplicaScan, deadlineMs: number): Promise<ReplicaPage | ReplicaFailure>;
  /** Where its clock and its state stand; carries gossip both ways. */
  ping(request: PingRequest, deadlineMs: number): Promise<PingAnswer | ReplicaFailure>;
  /** Everything that is not on the hot path: io/peer-asks.ts says what may be asked. */
  ask<K extends AskKind>(
    kind: K,
    request: AskRequest<K>,
    deadlineMs: number,
  ): Promise<AskReply<K> | ReplicaFailure>;
}

/**
 * Where a record comes from: a coordinator's write or a late retry of one, what a LINEARIZABLE round proposes, or a copy of what
 * some replica holds (read repair, hint, anti-entropy). The merge rule is the same for all, and so is the promise of the key,
 * below which nothing is taken. What is new, a write or a proposal, is judged by its drift and by the fence that the replica has
 * promised; a copy by the fence that the replica has committed.
 */
export type ApplySource = 'write' | 'accept' | 'copy';

export interface ApplyCall {
  readonly key: Uint8Array;
  /** `hash32(key)`. */
  readonly keyHash: number;
  readonly record: Uint8Array;
  readonly source: ApplySource;
  /** Of a copy: the committed fence of the replica that holds it, 16 bytes; empty: none, as for a write. */
  readonly fence: Uint8Array;
  /** On the monotonic clock of the caller. Work past it is dropped. */
  readonly deadlineMs: number;
  /** The placement version that the coordinator went by. */
  readonly placementVersion: number;
  /** W3C trace parent, 25 bytes, or empty. */
  readonly traceparent: Uint8Array;
  onApplied(slot: number, answer: ApplyAnswer): void;
}

export type ApplyAnswer =
  /** The record is on disk and synced. */
  | { readonly kind: 'applied' }
  /** An equal or a newer record is on disk and synced; its header is given. */
  | { readonly kind: 'kept'; readonly header: Uint8Array }
  | ReplicaFailure;

/** The first half of a round of CASPaxos: core/round-tally.ts says what a promise is worth. */
export interface PrepareCall {
  readonly key: Uint8Array;
  readonly keyHash: number;
  /** 16 bytes: the version that the record of the round will have. */
  readonly ballot: Uint8Array;
  /** What a replica has answered an earlier ballot with ({@link ReplicaFailure.promised}), 16 bytes; empty: none has. */
  readonly above: Uint8Array;
  /** The header of what the key may well hold, of which the caller has all; empty: it has nothing. */
  readonly known: Uint8Array;
  readonly deadlineMs: number;
  readonly placementVersion: number;
  readonly traceparent: Uint8Array;
  onPrepared(slot: number, answer: PrepareAnswer): void;
}

export type PrepareAnswer =
  /**
   * Nothing below the ballot is taken for the key any more, and that is on disk; `record` is what is there, whole. Where that is
   * what the call has the header of, `header` comes in its place. Neither: nothing is there.
   * The fence is the one of the key's partition that the replica has committed; absent: none.
   */
  | {
      readonly kind: 'promised';
      readonly record?: Uint8Array | undefined;
      readonly header?: Uint8Array | undefined;
      readonly fence?: Uint8Array | undefined;
    }
  | ReplicaFailure;

export interface ReadCall {
  readonly key: Uint8Array;
  readonly keyHash: number;
  readonly deadlineMs: number;
  readonly placementVersion: number;
  readonly traceparent: Uint8Array;
  onRead(slot: number, answer: ReadAnswer): void;
}

export type ReadAnswer =
  /** `record` is given where it was asked for. Reads see only what is synced. */
  | {
      readonly kind: 'found';
      readonly header: Uint8Array;
      readonly record?: Uint8Array;
      /** The fence of the key's partition that the replica has committed, 16 bytes. Absent: none. */
      readonly fence?: Uint8Array;
    }
  /** The version of absence is the committed fence: a tombstone at or below it is equal to it. */
  | { readonly kind: 'absent'; readonly fence?: Uint8Array }
  | ReplicaFailure;

/**
 * `refused`: it has not applied the call and never will. `unreachable`: the call was not sent. `failed`: it may have been
 * applied, or may still be (a broken channel, a missed deadline, a failed sync).
 */
export interface ReplicaFailure {
  readonly kind: 'refused' | 'unreachable' | 'failed';
  readonly code: ErrorCode;
  readonly message: string;
  /**
   * 16 bytes, of a refusal because of what the replica has promised or holds of the key, or of a ballot because of the fence that it
   * has promised: a ballot above this would not be refused for that.
   */
  readonly promised?: Uint8Array;
}

export function isReplicaFailure(answer: { readonly kind: string }): answer is ReplicaFailure {
  return answer.kind === 'refused' || answer.kind === 'unreachable' || answer.kind === 'failed';
}

/** A page of a range scan on one replica. */
export interface ReplicaScan {
  /** From this key on, inclusive. */
  readonly gte: Uint8Array;
  /** Up to this key, exclusive. Empty: to the end of the keys. */
  readonly lt: Uint8Array;
  readonly reverse: boolean;
  /** The most records to answer. */
  readonly limit: number;
  /** The most bytes of keys and records to answer; at least one record comes whatever its size. */
  readonly maxBytes: number;
  /** Bitmap of 256 partitions, 32 bytes, the lowest bit of the first byte first: records of others are passed over. */
  readonly partitions: Uint8Array;
  /** Bitmap of partitions: of these the whole record is answered, of the rest the header. */
  readonly whole: Uint8Array;
  /** Not the entries are wanted, but what stands for the same page of them (`core/scan-digest.ts`). */
  readonly asDigest: boolean;
  readonly placementVersion: number;
}

export interface ReplicaPage {
  readonly kind: 'page';
  /** In order, tombstones included. `record` is a head (`headOf`) where the whole was not asked for. */
  readonly entries: readonly { readonly key: Uint8Array; readonly record: Uint8Array }[];
  /** Of the entries, which are left out: where that was asked for, except by a node of an earlier release. */
  readonly digest?: Uint8Array;
  /**
   * Everything of the range before this key (after it, when reverse; inclusive either way) has been looked at. Absent: the
   * whole range has. A page may be empty and yet have come further, because work is bounded and not only what is found.
   */
  readonly scannedTo?: Uint8Array;
  /** Keys of the range that the replica holds and cannot read. */
  readonly corrupt: readonly Uint8Array[];
}

export interface PingRequest {
  /** The node that asks. */
  readonly from: string;
  /** News of the cluster, a bounded number. */
  readonly rumours: readonly Rumour[];
}

export interface PingAnswer {
  readonly kind: 'pong';
  readonly nodeId: string;
  readonly wallMs: number;
  /** The highest version the node has issued or seen. */
  readonly hlc: Version;
  readonly quarantined: boolean;
  /** How far its group commits have come; peers remember it. */
  readonly commitCounter: number;
  /** Which life of its data folder this is. */
  readonly incarnation: Uint8Array;
  readonly placementVersion: number;
  readonly rumours: readonly Rumour[];
}

/**
 * What every answer of a node names beside itself: which life of its data folder it is in, and which lives of others it has
 * recorded. One object until something of it changes. See DESIGN section 7, a node that forgot.
 */
export interface Lives {
  /** 8 bytes; a later life is greater, byte by byte. */
  readonly incarnation: Uint8Array;
  readonly known: readonly { readonly nodeId: string; readonly incarnation: Uint8Array }[];
}

/** What the way to a peer tells whoever opened it. */
export interface PeerEvents {
  /** It is connected, each time. */
  onConnected(): void;
  /** Called before the answers that come with it are: with every connect, just before `onConnected`, and when it changes. */
  onLives(lives: Lives): void;
  /** How far the peer's group commits had come when it sent what has just arrived. */
  onCommitCounter(commitCounter: number): void;
}
