import type { ApplyCall, PrepareCall, ReplicaFailure } from '../io/peer.js';
import { answerTo, applyRecord, type HeldKey } from './apply.js';
import type { FenceTable } from './fence-table.js';
import type { KeysUnderWay } from './known-records.js';
import { isKeyOf, recordKey } from './layout.js';
import type { Promises } from './promises.js';

/** The calls of one group commit, and the keys that they are about. */
export class CommitRound implements KeysUnderWay {
  readonly #calls: ApplyCall[] = [];
  readonly #slots: number[] = [];
  /** For each call its key; calls on one key share it. */
  readonly #held: HeldKey[] = [];
  /** A table of chains, by the lowest bits of the hash of the key: a Map would be made anew several times while it fills. */
  readonly #chains: (HeldKey | undefined)[] = [];
  /** By place: the calls that a fence or a promise was above. There are next to none. */
  #refused: Map<number, ReplicaFailure> | undefined;

  /** For about so many calls. */
  constructor(calls: number) {
    const chains = powerOfTwoFrom(calls);
    for (let i = 0; i < chains; i++) this.#chains.push(undefined);
  }

  /** The key of the call where this is the first call on it: what is on disk of it is for the caller to say. */
  add(call: ApplyCall, slot: number): HeldKey | undefined {
    const chain = this.#chainOf(call.keyHash);
    const next = this.#chains[chain];
    const known = find(next, call.keyHash, call.key);
    const held = known ?? {
      key: call.key,
      storeKey: recordKey(call.key),
      keyHash: call.keyHash,
      next,
      stored: undefined,
      failure: undefined,
      winner: undefined,
    };
    if (known === undefined) this.#chains[chain] = held;
    this.#calls.push(call);
    this.#slots.push(slot);
    this.#held.push(held);
    return known === undefined ? held : undefined;
  }

  mentions(keyHash: number): boolean {
    let held = this.#chains[this.#chainOf(keyHash)];
    while (held !== undefined && held.keyHash !== keyHash) held = held.next;
    return held !== undefined;
  }

  /** What is made of the key that a prepare is about; undefined: no call is about it. */
  find({ key, keyHash }: PrepareCall): HeldKey | undefined {
    return find(this.#chains[this.#chainOf(keyHash)], keyHash, key);
  }

  /** Applies the calls in the order in which they came. The keys that have a winner now are to be written. */
  decide(fences: FenceTable, promises: Promises): HeldKey[] {
    const winners: HeldKey[] = [];
    for (let i = 0; i < this.#calls.length; i++) {
      const held = this.#held[i] as HeldKey;
      if (held.failure !== undefined) continue;
      const first = held.winner === undefined;
      const decided = applyRecord(held, this.#calls[i] as ApplyCall, fences, promises);
      if (decided === 'taken') {
        if (first) winners.push(held);
      } else if (decided !== 'kept') {
        this.#refused ??= new Map();
        this.#refused.set(i, decided);
      }
    }
    return winners;
  }

  /** What was decided is on disk. */
  answer(): { readonly applied: number; readonly kept: number } {
    let applied = 0;
    let kept = 0;
    for (let i = 0; i < this.#calls.length; i++) {
      const call = this.#calls[i] as ApplyCall;
      const held = this.#held[i] as HeldKey;
      const answer = this.#refusalOf(i) ?? answerTo(held, call.record);
      if (answer.kind === 'applied') applied += 1;
      else if (answer.kind === 'kept') kept += 1;
      call.onApplied(this.#slots[i] as number, answer);
    }
    return { applied, kept };
  }

  /** What was decided is not on disk, or perhaps. */
  answerFailure(failure: ReplicaFailure): void {
    for (let i = 0; i < this.#calls.length; i++) {
      const answer = this.#refusalOf(i) ?? failure;
      (this.#calls[i] as ApplyCall).onApplied(this.#slots[i] as number, answer);
    }
  }

  #chainOf(keyHash: number): number {
    return keyHash & (this.#chains.length - 1);
  }

  /** What keeps the call at this place from being applied, whatever becomes of the commit. */
  #refusalOf(place: number): ReplicaFailure | undefined {
    return (this.#held[place] as HeldKey).failure ?? this.#refused?.get(place);
  }
}

function find(chain: HeldKey | undefined, keyHash: number, key: Uint8Array): HeldKey | undefined {
  let held = chain;
  while (held !== undefined && !(held.keyHash === keyHash && isKeyOf(held.storeKey, key))) {
    held = held.next;
  }
  return held;
}

function powerOfTwoFrom(atLeast: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(atLeast, 1)));
}
