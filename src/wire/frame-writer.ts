import type { Lives } from '../io/peer.js';
import { v1 } from './messages.js';
import protobuf from './protobuf.js';
import { asBuffer } from './services.js';

const CALLS_TAG = 18;
const ANSWERS_TAG = 18;
const COMMIT_COUNTER_TAG = 24;

/** Builds one frame of a channel, a part at a time, as the generated encoder of the whole would. */
export class FrameWriter {
  readonly #writer = protobuf.Writer.create();

  get empty(): boolean {
    return this.#writer.len === 0;
  }

  hello(hello: v1.Hello.$Properties): this {
    v1.CallFrame.encode({ hello }, this.#writer);
    return this;
  }

  welcome(welcome: v1.Welcome.$Properties): this {
    v1.AnswerFrame.encode({ welcome }, this.#writer);
    return this;
  }

  call(call: v1.Call.$Properties): void {
    v1.Call.encode(call, this.#writer.uint32(CALLS_TAG).fork()).ldelim();
  }

  cancelled(ids: number[]): void {
    v1.CallFrame.encode({ cancelled: ids }, this.#writer);
  }

  answer(answer: v1.Answer.$Properties): void {
    v1.Answer.encode(answer, this.#writer.uint32(ANSWERS_TAG).fork()).ldelim();
  }

  /** How far the sender's group commits have come. */
  commitCounter(count: number): void {
    this.#writer.uint32(COMMIT_COUNTER_TAG).uint64(count);
  }

  lives({ incarnation, known }: Lives): void {
    v1.AnswerFrame.encode({ incarnation, known: known.map((life) => ({ ...life })) }, this.#writer);
  }

  closing(): void {
    v1.AnswerFrame.encode({ closing: true }, this.#writer);
  }

  finish(): Buffer {
    return asBuffer(this.#writer.finish());
  }
}
