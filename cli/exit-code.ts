import { KvError, type ErrorCode } from '../src/core/errors.js';
import { CommandFailure } from './failure.js';

/** What the process says of its run. Scripts depend on these numbers; they never change. */
export const EXIT = {
  ok: 0,
  error: 1,
  usage: 2,
  notFound: 3,
  conflict: 4,
  unavailable: 5,
  timedOut: 6,
  refusedIdentity: 7,
  differs: 8,
  /** A lock or a leadership was lost while it was needed. */
  lost: 9,
  /** What shells expect of a command that SIGINT ended. */
  interrupted: 130,
} as const;

const BY_CODE: Partial<Record<ErrorCode, number>> = {
  INVALID_ARGUMENT: EXIT.usage,
  NO_QUORUM: EXIT.unavailable,
  UNAVAILABLE: EXIT.unavailable,
  OVERLOADED: EXIT.unavailable,
  QUARANTINED: EXIT.unavailable,
  STALE: EXIT.unavailable,
  TIMED_OUT: EXIT.timedOut,
  WRONG_CLUSTER: EXIT.refusedIdentity,
  INCOMPATIBLE: EXIT.refusedIdentity,
};

export function exitCodeOf(error: unknown): number {
  if (error instanceof CommandFailure) return error.exitCode;
  if (error instanceof KvError) return BY_CODE[error.code] ?? EXIT.error;
  return EXIT.error;
}
