import type { ErrorCode } from '../core/errors.js';
import type { v1 } from './messages.js';

/** What surrounds the bytes of a call in a frame: tags, lengths, numbers, trace parent. */
const CALL_OVERHEAD_BYTES = 128;

/**
 * One call on its way over a channel. A subclass is the caller's own call: it carries what is sent and takes what comes
 * back, without a closure. Exactly one of `answered` and `failed` follows when it is sent, never within the sending.
 */
export abstract class OutgoingCall {
  /** Given by the channel while the call is under way; otherwise 0. */
  id = 0;
  /** Handed to the stream: the other side may have it. */
  written = false;
  /** An upper bound of what it takes in a frame. */
  readonly frameBytes: number;

  constructor(
    /** On the monotonic clock. */
    readonly deadlineMs: number,
    payloadBytes: number,
  ) {
    this.frameBytes = payloadBytes + CALL_OVERHEAD_BYTES;
  }

  /** The message to send. Called once, when it is written. */
  abstract message(id: number, timeoutMs: number): v1.Call.$Properties;
  /** The bytes of the answer are views of the frame it came in: copy what is kept for long. */
  abstract answered(answer: v1.Answer): void;
  /** `sent`: the other side may have it and may act on it. */
  abstract failed(code: ErrorCode, message: string, sent: boolean): void;
}
