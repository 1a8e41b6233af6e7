import { admitsCoordinatorStamp, type HybridClock } from '../core/hlc.js';
import { REPLICA_DRIFT_FACTOR } from '../core/limits.js';
import { isIntact, VERSION_AT } from '../core/record.js';
import { readVersion, readWallMs } from '../core/version.js';
import type { Clock } from '../io/clock.js';
import type { ApplyCall, ReplicaFailure } from '../io/peer.js';
import type { CorruptKeys } from './corrupt-keys.js';
import { refused } from './failure.js';

const DAMAGED = refused('INVALID_ARGUMENT', 'record: fails its checksum');
const PLACEMENT_CHANGED = refused(
  'PLACEMENT_CHANGED',
  'the request went by an older member list than that of the replica',
);

export interface ReplicaDoorOptions {
  readonly nodeId: string;
  readonly hlc: HybridClock;
  readonly clock: Clock;
  readonly maxDriftMs: number;
  readonly placementVersion: () => number;
  readonly corrupt: CorruptKeys;
}

/** What is taken at all: intact records, stamps within drift, the placement of now, keys that can be read. */
export class ReplicaDoor {
  readonly #options: ReplicaDoorOptions;
  /** Calls refused because their stamp was too far ahead. */
  driftRefusals = 0;

  constructor(options: ReplicaDoorOptions) {
    this.#options = options;
  }

  /** What a record must be before it may wait for a commit; it is judged while the disk is busy with those before it. */
  judge(call: ApplyCall): ReplicaFailure | undefined {
    const refusal = this.judgeCall(call);
    if (refusal !== undefined) return refusal;
    if (!isIntact(call.keyHash, call.record)) return DAMAGED;
    // What a round proposes has been judged by the majority that promised its ballot.
    return this.#judgeVersion(call.record, VERSION_AT, call.source === 'write');
  }

  /**
   * What a ballot must be: within drift, or next to what its key has come to already, here or on another replica that has answered
   * with it. A clock may have been wrong when that came, and the key is not to wait until all others show the same. So what one
   * replica has let in by its own clock is passed by all, and a ballot goes past it by a millisecond at most.
   */
  readonly judgeBallot = (ballot: Uint8Array, nearMs: number): ReplicaFailure | undefined =>
    this.#judgeVersion(ballot, 0, readWallMs(ballot, 0) > nearMs + 1);

  #judgeVersion(bytes: Uint8Array, at: number, isNew: boolean): ReplicaFailure | undefined {
    const version = readVersion(bytes, at);
    const { clock, maxDriftMs, nodeId, hlc } = this.#options;
    if (isNew) {
      const nowMs = clock.wallMs();
      if (!admitsCoordinatorStamp(version, nowMs, maxDriftMs)) {
        this.driftRefusals += 1;
        return refused(
          'CLOCK_DRIFT',
          `the stamp is ${version.wallMs - nowMs} ms ahead of the clock of ${nodeId}, which takes ${REPLICA_DRIFT_FACTOR * maxDriftMs}`,
        );
      }
    }
    hlc.observe(version);
    return undefined;
  }

  /** What every call about a key must be. */
  judgeCall(call: {
    readonly key: Uint8Array;
    readonly deadlineMs: number;
    readonly placementVersion: number;
  }): ReplicaFailure | undefined {
    return this.judgeRange(call, call.deadlineMs) ?? this.#options.corrupt.judge(call.key);
  }

  judgeRange(
    request: { readonly placementVersion: number },
    deadlineMs: number,
  ): ReplicaFailure | undefined {
    this.#options.corrupt.taking(deadlineMs);
    return request.placementVersion < this.#options.placementVersion()
      ? PLACEMENT_CHANGED
      : undefined;
  }
}
