import type { Lives } from '../io/peer.js';
import { v1 } from './messages.js';
import {
  bytesSize,
  numberSize,
  putBytes,
  putNumber,
  putVarint,
  varintSize,
} from './protobuf-fields.js';

/** The body of an answer that is made where it goes: a large one is not copied into its frame. */
export interface Body {
  readonly length: number;
  /** Writes that many bytes from `at` on. */
  writeTo(out: Uint8Array, at: number): void;
}

/** An answer as a frame takes it. What it refers to stays as it is until it is written. */
export interface OutgoingAnswer extends Omit<v1.Answer.$Properties, 'body'> {
  body?: Uint8Array | Body | null;
}

/** For a few answers, or an SDK's greeting. */
const FIRST_ROOM_BYTES = 512;
/** A tag and the length of what follows it. */
const PREFIX_BYTES = 6;
const COUNTER_BYTES = 11;

// Field numbers and wire types of CallFrame and AnswerFrame; below, those of Call and Answer.
const CALLS_TAG = 18;
const ANSWERS_TAG = 18;
const COMMIT_COUNTER_TAG = 24;

/**
 * Builds one frame of a channel, a part at a time: the bytes that the generated encoder of the whole would give (test/wire). Calls
 * and answers are written by hand, because they are nearly all that is ever written and the generated encoder takes about eight
 * times as long: it learns how long a message is once it has written it, and moves it then to make room for the length.
 */
export class FrameWriter {
  #bytes: Buffer;
  #length = 0;

  /** `roomBytes`: what the frame will about take, where that is known. */
  constructor(roomBytes = FIRST_ROOM_BYTES) {
    this.#bytes = Buffer.allocUnsafe(roomBytes);
  }

  get empty(): boolean {
    return this.#length === 0;
  }

  hello(hello: v1.Hello.$Properties): this {
    return this.#append(v1.CallFrame.encode({ hello }).finish());
  }

  welcome(welcome: v1.Welcome.$Properties): this {
    return this.#append(v1.AnswerFrame.encode({ welcome }).finish());
  }

  call(call: v1.Call.$Properties): void {
    const zone = call.zone ? Buffer.from(call.zone) : undefined;
    const size =
      numberSize(call.id) +
      numberSize(call.kind) +
      numberSize(call.timeoutMs) +
      bytesSize(call.key) +
      bytesSize(call.record) +
      bytesSize(call.version) +
      numberSize(call.consistency) +
      (call.receipt === true ? 2 : 0) +
      bytesSize(zone) +
      bytesSize(call.traceparent) +
      bytesSize(call.body) +
      numberSize(call.placementVersion) +
      bytesSize(call.fence) +
      bytesSize(call.expect) +
      bytesSize(call.above);
    const out = this.#roomFor(PREFIX_BYTES + size);
    let at = this.#length;
    out[at++] = CALLS_TAG;
    at = putVarint(out, at, size);
    at = putNumber(out, at, 8, call.id);
    at = putNumber(out, at, 16, call.kind);
    at = putNumber(out, at, 24, call.timeoutMs);
    at = putBytes(out, at, 34, call.key);
    at = putBytes(out, at, 42, call.record);
    at = putBytes(out, at, 50, call.version);
    at = putNumber(out, at, 56, call.consistency);
    at = putNumber(out, at, 64, call.receipt === true ? 1 : 0);
    at = putBytes(out, at, 74, zone);
    at = putBytes(out, at, 82, call.traceparent);
    at = putBytes(out, at, 90, call.body);
    at = putNumber(out, at, 96, call.placementVersion);
    at = putBytes(out, at, 106, call.fence);
    at = putBytes(out, at, 114, call.expect);
    this.#length = putBytes(out, at, 122, call.above);
  }

  cancelled(ids: number[]): void {
    this.#append(v1.CallFrame.encode({ cancelled: ids }).finish());
  }

  answer(answer: OutgoingAnswer): void {
    const message = answer.message ? Buffer.from(answer.message) : undefined;
    const receipt = answer.receipt ? v1.Receipt.encode(answer.receipt).finish() : undefined;
    const receiptSize = receipt === undefined ? 0 : 1 + varintSize(receipt.length) + receipt.length;
    const size =
      numberSize(answer.id) +
      numberSize(answer.code) +
      numberSize(answer.outcome) +
      bytesSize(answer.record) +
      bytesSize(answer.header) +
      bytesSize(message) +
      bytesSize(answer.body) +
      receiptSize +
      bytesSize(answer.fence) +
      bytesSize(answer.version) +
      numberSize(answer.result);
    const out = this.#roomFor(PREFIX_BYTES + size);
    let at = this.#length;
    out[at++] = ANSWERS_TAG;
    at = putVarint(out, at, size);
    at = putNumber(out, at, 8, answer.id);
    at = putNumber(out, at, 16, answer.code);
    at = putNumber(out, at, 24, answer.outcome);
    at = putBytes(out, at, 34, answer.record);
    at = putBytes(out, at, 42, answer.header);
    at = putBytes(out, at, 50, message);
    at = putBody(out, at, 58, answer.body);
    if (receipt !== undefined) {
      // A message that is there is written, whatever is in it.
      out[at++] = 66;
      at = putVarint(out, at, receipt.length);
      out.set(receipt, at);
      at += receipt.length;
    }
    at = putBytes(out, at, 74, answer.fence);
    at = putBytes(out, at, 82, answer.version);
    this.#length = putNumber(out, at, 88, answer.result);
  }

  /** How far the sender's group commits have come. */
  commitCounter(count: number): void {
    const out = this.#roomFor(COUNTER_BYTES);
    out[this.#length++] = COMMIT_COUNTER_TAG;
    this.#length = putVarint(out, this.#length, count);
  }

  lives({ incarnation, known }: Lives): void {
    const wire = { incarnation, known: known.map((life) => ({ ...life })) };
    this.#append(v1.AnswerFrame.encode(wire).finish());
  }

  closing(): void {
    this.#append(v1.AnswerFrame.encode({ closing: true }).finish());
  }

  /** The frame. Nothing is added to it after that. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  #append(bytes: Uint8Array): this {
    this.#roomFor(bytes.length).set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** Where to write so much more, at `#length`. */
  #roomFor(bytes: number): Buffer {
    const needed = this.#length + bytes;
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, 2 * this.#bytes.length));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    return this.#bytes;
  }
}

function putBody(out: Uint8Array, at: number, tag: number, body: OutgoingAnswer['body']): number {
  if (!body || body.length === 0) return at;
  if (body instanceof Uint8Array) return putBytes(out, at, tag, body);
  out[at] = tag;
  const start = putVarint(out, at + 1, body.length);
  body.writeTo(out, start);
  return start + body.length;
}
