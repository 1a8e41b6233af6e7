import type { Receipt } from './receipt.js';
import type { Version } from './version.js';

/**
 * Whether a failed operation may have taken effect. `none`: it did not and never will, anywhere. `unknown`: it may have,
 * or may still; the same stamped operation can be sent again, a new one may act twice.
 */
export type Outcome = 'none' | 'unknown';

interface CodeFacts {
  /** Whether the same operation may succeed if it is sent again, perhaps through another node. */
  readonly retryable: boolean;
  /** What a person can do about it. */
  readonly advice: string;
}

/** Every way an operation can fail. Numbers on the wire and gRPC statuses are in `wire/status.ts`. */
export const ERROR_CODES = {
  INVALID_ARGUMENT: { retryable: false, advice: 'Correct the named field; nothing was changed.' },
  NO_QUORUM: {
    retryable: true,
    advice:
      'Too few replicas answered. See `kvctl cluster status`; retry, or ask for a lower consistency.',
  },
  UNAVAILABLE: {
    retryable: true,
    advice:
      'The node cannot be reached or is stopping. Check that it runs and that --endpoints names it.',
  },
  TIMED_OUT: {
    retryable: true,
    advice: 'Raise the timeout, or look for slow replicas with `kvctl cluster status`.',
  },
  CANCELLED: { retryable: false, advice: 'The caller cancelled it.' },
  OVERLOADED: {
    retryable: true,
    advice: 'The node sheds load. Send less at once, or retry after a pause.',
  },
  CLOCK_DRIFT: {
    retryable: true,
    advice:
      'The stamp is too far from the clock of the node. Check the clocks with `kvctl clock`, and NTP on both.',
  },
  QUARANTINED: {
    retryable: true,
    advice:
      'The clock of this node is wrong, so it coordinates no writes. Use another node; set its clock.',
  },
  STALE: {
    retryable: true,
    advice:
      'No replica that answered holds a version as new as minVersion. Retry, or ask for a higher consistency.',
  },
  NOT_SUPPORTED: { retryable: false, advice: 'This release does not do that yet.' },
  WRONG_CLUSTER: {
    retryable: false,
    advice: 'The other side belongs to another cluster. Check endpoints and member lists.',
  },
  INCOMPATIBLE: {
    retryable: false,
    advice: 'The two sides speak different protocol versions. Upgrade the older one.',
  },
  PLACEMENT_CHANGED: { retryable: true, advice: 'The member list changed meanwhile. Retry.' },
  STORE_FAILED: {
    retryable: true,
    advice:
      'The disk of the node failed a read or a write. See the log of the node; check space and health of the disk.',
  },
  RECORD_CORRUPT: {
    retryable: true,
    advice:
      'The stored record fails its checksum; the replica does not answer for this key until it is repaired.',
  },
  LOCKED: {
    retryable: false,
    advice: 'Another process holds the data folder. Stop it, or use another folder.',
  },
  REFUSED: {
    retryable: false,
    advice:
      'A rule of the node forbids it, as the message says: a write that comes too late, or what takes a flag at its start.',
  },
  INTERNAL: {
    retryable: false,
    advice: 'This is a defect in Quorate; please report it with the log of the node.',
  },
} as const satisfies Record<string, CodeFacts>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface KvErrorDetails {
  readonly outcome?: Outcome;
  /** The id or the endpoint of the node that failed or refused. */
  readonly node?: string;
  /** How far the operation got, where a coordinator told. */
  readonly receipt?: Receipt;
  /** The stamp of a write whose outcome is unknown: the same write sent again under it applies once. */
  readonly version?: Version;
  /** Of a LINEARIZABLE write whose outcome is unknown: what its outcome can be asked for by. */
  readonly requestId?: string;
  readonly cause?: unknown;
  /** Instead of what its code advises, where more is known. */
  readonly advice?: string;
}

/** The one error type. Absence and a lost compare-and-set are values; everything else that goes wrong is this. */
export class KvError extends Error {
  override readonly name = 'KvError';
  readonly code: ErrorCode;
  readonly outcome: Outcome;
  readonly retryable: boolean;
  readonly node: string | undefined;
  readonly receipt: Receipt | undefined;
  readonly version: Version | undefined;
  readonly requestId: string | undefined;
  /** What a person can do about it, in a sentence or two. */
  readonly advice: string;

  constructor(code: ErrorCode, message: string, details: KvErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.outcome = details.outcome ?? 'none';
    this.retryable = ERROR_CODES[code].retryable;
    this.node = details.node;
    this.receipt = details.receipt;
    this.version = details.version;
    this.requestId = details.requestId;
    this.advice = details.advice ?? ERROR_CODES[code].advice;
  }
}

/** A refusal of bad input: names the field and the bound. Nothing has been touched. */
export function invalidArgument(field: string, problem: string): KvError {
  return new KvError('INVALID_ARGUMENT', `${field}: ${problem}`);
}
