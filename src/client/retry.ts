import type { Consistency } from '../core/consistency.js';
import type { CallKind, NodeAnswer, NodeCall } from '../io/link.js';
import type { Operation } from './operation.js';

/** An attempt after the first. An object of its own, so that answers of different attempts cannot be confused. */
export class Retry implements NodeCall {
  timeoutMs = 0;
  readonly #operation: Operation;

  constructor(operation: Operation) {
    this.#operation = operation;
  }

  get kind(): CallKind {
    return this.#operation.kind;
  }
  get key(): Uint8Array {
    return this.#operation.key;
  }
  get record(): Uint8Array {
    return this.#operation.record;
  }
  get minVersion(): Uint8Array {
    return this.#operation.minVersion;
  }
  get expect(): Uint8Array {
    return this.#operation.expect;
  }
  get level(): Consistency {
    return this.#operation.level;
  }
  get zone(): string {
    return this.#operation.zone;
  }
  get receipt(): boolean {
    return this.#operation.receipt;
  }
  get traceparent(): Uint8Array {
    return this.#operation.traceparent;
  }

  onAnswer(answer: NodeAnswer): void {
    this.#operation.answered(this, answer);
  }
}
