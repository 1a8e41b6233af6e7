import type { Link, Linker, NodeAnswer, NodeCall, Welcome } from '../../src/io/link.js';
import type { ClientWitness } from '../sim/recorder.js';

/** The same network, with somebody who sees every call that is sent and every answer that comes back. */
export function witnessed(linker: Linker, witness: ClientWitness): Linker {
  return {
    open: (endpoint, onState) => new WitnessedLink(linker.open(endpoint, onState), witness),
  };
}

class WitnessedLink implements Link {
  readonly #link: Link;
  readonly #witness: ClientWitness;
  /** What was sent in the place of a call, to find what is to be cancelled. */
  readonly #sent = new WeakMap<NodeCall, NodeCall>();

  constructor(link: Link, witness: ClientWitness) {
    this.#link = link;
    this.#witness = witness;
  }

  get endpoint(): string {
    return this.#link.endpoint;
  }

  get welcome(): Welcome | undefined {
    return this.#link.welcome;
  }

  send(call: NodeCall): void {
    this.#witness.sent(call);
    const { kind, key, record, minVersion, expect, level, zone, receipt } = call;
    const { timeoutMs, traceparent } = call;
    const asked = { kind, key, record, minVersion, expect, level, zone, receipt };
    const onAnswer = (answer: NodeAnswer): void => {
      this.#witness.answered(call, answer);
      call.onAnswer(answer);
    };
    const sent: NodeCall = { ...asked, timeoutMs, traceparent, onAnswer };
    this.#sent.set(call, sent);
    this.#link.send(sent);
  }

  cancel(call: NodeCall): void {
    const sent = this.#sent.get(call);
    if (sent !== undefined) this.#link.cancel(sent);
  }

  scan(...[request, signal]: Parameters<Link['scan']>): ReturnType<Link['scan']> {
    return this.#link.scan(request, signal);
  }

  ping(timeoutMs: number): ReturnType<Link['ping']> {
    return this.#link.ping(timeoutMs);
  }

  close(graceMs: number): Promise<void> {
    return this.#link.close(graceMs);
  }
}
