import { Metadata, status as grpc, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { KvError, type ErrorCode, type Outcome } from '../core/errors.js';
import type { Receipt } from '../core/receipt.js';
import { receiptFromWire, receiptToWire } from './codec.js';
import { v1 } from './messages.js';
import { plainDetails } from './grpc-details.js';
import { asBuffer } from './services.js';

interface WireStatus {
  /** In `Answer.code` and `BatchResult.code`. Never reused. */
  readonly number: v1.ErrorCode;
  /** What other languages see of it. */
  readonly grpc: grpc;
}

/** The one table from error codes to what travels. Numbers are for ever; a new code takes the next one. */
export const WIRE_STATUS: Readonly<Record<ErrorCode, WireStatus>> = {
  INVALID_ARGUMENT: { number: v1.ErrorCode.ERROR_INVALID_ARGUMENT, grpc: grpc.INVALID_ARGUMENT },
  NO_QUORUM: { number: v1.ErrorCode.ERROR_NO_QUORUM, grpc: grpc.UNAVAILABLE },
  UNAVAILABLE: { number: v1.ErrorCode.ERROR_UNAVAILABLE, grpc: grpc.UNAVAILABLE },
  TIMED_OUT: { number: v1.ErrorCode.ERROR_TIMED_OUT, grpc: grpc.DEADLINE_EXCEEDED },
  CANCELLED: { number: v1.ErrorCode.ERROR_CANCELLED, grpc: grpc.CANCELLED },
  OVERLOADED: { number: v1.ErrorCode.ERROR_OVERLOADED, grpc: grpc.RESOURCE_EXHAUSTED },
  CLOCK_DRIFT: { number: v1.ErrorCode.ERROR_CLOCK_DRIFT, grpc: grpc.FAILED_PRECONDITION },
  QUARANTINED: { number: v1.ErrorCode.ERROR_QUARANTINED, grpc: grpc.UNAVAILABLE },
  STALE: { number: v1.ErrorCode.ERROR_STALE, grpc: grpc.ABORTED },
  NOT_SUPPORTED: { number: v1.ErrorCode.ERROR_NOT_SUPPORTED, grpc: grpc.UNIMPLEMENTED },
  WRONG_CLUSTER: { number: v1.ErrorCode.ERROR_WRONG_CLUSTER, grpc: grpc.FAILED_PRECONDITION },
  INCOMPATIBLE: { number: v1.ErrorCode.ERROR_INCOMPATIBLE, grpc: grpc.FAILED_PRECONDITION },
  PLACEMENT_CHANGED: { number: v1.ErrorCode.ERROR_PLACEMENT_CHANGED, grpc: grpc.ABORTED },
  STORE_FAILED: { number: v1.ErrorCode.ERROR_STORE_FAILED, grpc: grpc.UNAVAILABLE },
  RECORD_CORRUPT: { number: v1.ErrorCode.ERROR_RECORD_CORRUPT, grpc: grpc.DATA_LOSS },
  LOCKED: { number: v1.ErrorCode.ERROR_LOCKED, grpc: grpc.FAILED_PRECONDITION },
  REFUSED: { number: v1.ErrorCode.ERROR_REFUSED, grpc: grpc.PERMISSION_DENIED },
  INTERNAL: { number: v1.ErrorCode.ERROR_INTERNAL, grpc: grpc.INTERNAL },
};

const CODE_OF_NUMBER = new Map(
  Object.entries(WIRE_STATUS).map(([code, { number }]) => [number, code as ErrorCode]),
);

/** What a gRPC status means where the other side did not name a code of ours: gRPC itself said it, or a proxy. */
const CODE_OF_GRPC: Readonly<Partial<Record<grpc, ErrorCode>>> = {
  [grpc.CANCELLED]: 'CANCELLED',
  [grpc.INVALID_ARGUMENT]: 'INVALID_ARGUMENT',
  [grpc.DEADLINE_EXCEEDED]: 'TIMED_OUT',
  [grpc.RESOURCE_EXHAUSTED]: 'OVERLOADED',
  [grpc.UNIMPLEMENTED]: 'INCOMPATIBLE',
  [grpc.UNAVAILABLE]: 'UNAVAILABLE',
};

const TRAILER_CODE = 'quorate-code';
const TRAILER_OUTCOME = 'quorate-outcome';
const TRAILER_NODE = 'quorate-node';
const TRAILER_RECEIPT = 'quorate-receipt-bin';
const TRAILER_REQUEST_ID = 'quorate-request-id';

/** Status and trailers travel in headers, and both sides bound the size of those. */
const MAX_MESSAGE_CHARACTERS = 2_048;
const MAX_RECEIPT_BYTES = 8_192;
const MAX_REQUEST_ID_CHARACTERS = 2_048;

export function codeToWire(code: ErrorCode): v1.ErrorCode {
  return WIRE_STATUS[code].number;
}

/** Undefined for success. The code of a newer release is INTERNAL here. */
export function codeFromWire(code: v1.ErrorCode): ErrorCode | undefined {
  return code === v1.ErrorCode.ERROR_NONE ? undefined : (CODE_OF_NUMBER.get(code) ?? 'INTERNAL');
}

export function outcomeToWire(outcome: Outcome): v1.Outcome {
  return outcome === 'unknown' ? v1.Outcome.UNKNOWN : v1.Outcome.NONE;
}

/** An outcome that this release does not know is not `none`. */
export function outcomeFromWire(outcome: v1.Outcome): Outcome {
  return outcome === v1.Outcome.NONE ? 'none' : 'unknown';
}

/** Anything thrown, as the error that callers see: what is not a KvError is a defect of ours, and leaves open what it did. */
export function toKvError(thrown: unknown): KvError {
  if (thrown instanceof KvError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new KvError('INTERNAL', message, { outcome: 'unknown', cause: thrown });
}

/** A KvError as the status and trailers of a gRPC call. `node` names this node where the error names none. */
export function toGrpcStatus(error: KvError, node: string): StatusObject {
  const metadata = new Metadata();
  metadata.set(TRAILER_CODE, error.code);
  metadata.set(TRAILER_OUTCOME, error.outcome);
  metadata.set(TRAILER_NODE, (error.node ?? node).replace(/[^ -~]/g, '?'));
  if (error.receipt !== undefined) {
    const bytes = v1.Receipt.encode(receiptToWire(error.receipt)).finish();
    if (bytes.length <= MAX_RECEIPT_BYTES) metadata.set(TRAILER_RECEIPT, asBuffer(bytes));
  }
  const { requestId } = error;
  if (requestId !== undefined && requestId.length <= MAX_REQUEST_ID_CHARACTERS) {
    metadata.set(TRAILER_REQUEST_ID, requestId);
  }
  return {
    code: WIRE_STATUS[error.code].grpc,
    details: wellFormed(error.message.slice(0, MAX_MESSAGE_CHARACTERS)),
    metadata,
  };
}

/**
 * The inverse of {@link toGrpcStatus}. `outcome` stands in where the other side did not tell: `unknown` for what may change
 * something, because a broken connection says nothing about the request.
 */
export function fromGrpcStatus(
  failure: Pick<ServiceError, 'code' | 'details' | 'metadata'>,
  endpoint: string,
  outcome: Outcome,
): KvError {
  const { metadata } = failure;
  const code = textTrailer(metadata, TRAILER_CODE);
  if (code === undefined || !Object.hasOwn(WIRE_STATUS, code)) {
    return new KvError(
      CODE_OF_GRPC[failure.code] ?? 'INTERNAL',
      `${endpoint}: ${plainDetails(failure.details)}`,
      {
        outcome,
        node: endpoint,
      },
    );
  }
  const told = textTrailer(metadata, TRAILER_OUTCOME);
  const receipt = receiptTrailer(metadata);
  const requestId = textTrailer(metadata, TRAILER_REQUEST_ID);
  return new KvError(code as ErrorCode, failure.details, {
    outcome: told === 'none' || told === 'unknown' ? told : outcome,
    node: textTrailer(metadata, TRAILER_NODE) ?? endpoint,
    ...(receipt === undefined ? {} : { receipt }),
    ...(requestId === undefined ? {} : { requestId }),
  });
}

/** Without half surrogate pairs, which a cut leaves behind and which gRPC throws at. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}

function textTrailer(metadata: Metadata, name: string): string | undefined {
  const value = metadata.get(name)[0];
  return typeof value === 'string' ? value : undefined;
}

function receiptTrailer(metadata: Metadata): Receipt | undefined {
  const value = metadata.get(TRAILER_RECEIPT)[0];
  if (!Buffer.isBuffer(value)) return undefined;
  try {
    return receiptFromWire(v1.Receipt.decode(value));
  } catch {
    // A receipt is an explanation; one that cannot be read must not hide the error that it explains.
    return undefined;
  }
}
