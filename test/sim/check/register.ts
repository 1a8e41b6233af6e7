import { settleUnknown } from './unknown-outcomes.js';

/** What a register did. `known` false: nobody was told, so it may have taken effect at any time since, or never. */
export interface RegisterCall {
  readonly kind: 'read' | 'write' | 'cas';
  /** When it began and ended; of what is not known to have ended, infinity. */
  readonly call: number;
  readonly return: number;
  readonly known: boolean;
  /** Read or written; undefined: nothing there. No two calls write the same, nothing apart. */
  readonly value: Value;
  readonly expected: Value;
  /** Whether the compare-and-set took place; only where known. */
  readonly swapped: boolean;
}

export interface Judgement {
  /** `undecided`: neither is proved. */
  readonly verdict: 'linearizable' | 'illegal' | 'undecided';
  /** No order was found for what had returned by then. Infinity: one was found for all. */
  readonly until: number;
}

export type Value = string | undefined;

/** Where the search has come to. Calls are named by their place in the order in which they began. */
interface Standing {
  /** All calls before this one have their place in the order, and so have these after it, ascending. */
  readonly first: number;
  readonly beyond: readonly number[];
  readonly state: Value;
  /** The places in {@link Search.#open} of what was used and would bring the same about again, ascending. */
  readonly used: readonly number[];
}

/** Of a standing: which calls may come next, in the order in which they began, and the first return among them. */
interface Choice {
  readonly calls: readonly number[];
  readonly endsAt: number;
}

/**
 * Whether one order of the calls agrees with what each was told and with real time: the search of Wing and Gong (1993) with the
 * memory of Lowe (2017), which looks at a standing once. That a value is written once forces most of the order (Gibbons and Korach
 * 1997), so the search has a choice only where nothing does:
 *
 * - What changes nothing, and fits, takes its place at once: it gains nothing by waiting.
 * - A value that some call has yet to meet is not left, for it does not come again.
 * - Writes that nobody meets take their places together, or right before another.
 * - What has an unknown outcome takes its place right before the call that needs it, or never.
 *
 * A history of thousands of calls then has some thousands of standings; a search that meets more than `maxStandings` is given up.
 */
export function judgeRegister(history: readonly RegisterCall[], maxStandings = 300_000): Judgement {
  return new Search(settleUnknown(history)).run(maxStandings);
}

class Search {
  readonly #calls: readonly RegisterCall[];
  /** By value who has to meet it: reads, and compare-and-sets that took its place. */
  readonly #meets = new Map<Value, number[]>();
  /** By value who has to meet another: compare-and-sets that lost. */
  readonly #avoids = new Map<Value, number[]>();
  /** Of unknown outcome, by the value that they take the place of. */
  readonly #openSwaps = new Map<Value, RegisterCall[]>();
  /** Of unknown outcome, and not tied to a value that goes for good: writes, and swaps for nothing at all. */
  readonly #open: readonly RegisterCall[];
  /** Of each of them: those of one kind may stand for each other. */
  readonly #kinds: readonly string[];
  /** By call: a write that may as well be right before another. */
  readonly #isBlind: readonly boolean[];
  readonly #goneAt = new Map<Value, number>();
  readonly #seen = new Set<string>();
  readonly #left: Standing[] = [];

  constructor(calls: readonly RegisterCall[]) {
    const ordered = calls.toSorted((a, b) => a.call - b.call || a.return - b.return);
    this.#calls = ordered.filter(({ known }) => known);
    for (const [i, { kind, value, expected, swapped }] of this.#calls.entries()) {
      if (kind === 'read') listAt(this.#meets, value).push(i);
      if (kind === 'cas') listAt(swapped ? this.#meets : this.#avoids, expected).push(i);
    }
    const open = ordered.filter(({ known }) => !known);
    for (const call of open) {
      if (call.kind === 'cas') listAt(this.#openSwaps, call.expected).push(call);
    }
    this.#open = open.filter(({ kind, expected }) => kind === 'write' || expected === undefined);
    this.#kinds = this.#open.map((call, i) => this.#kindOf(call, i));
    const writtenFrom = beginningsOfValues(ordered);
    const losers = [...this.#avoids.values()].flat().map((i) => {
      const { expected, return: by } = this.#call(i);
      return { from: writtenFrom.get(expected) ?? Number.NEGATIVE_INFINITY, by };
    });
    this.#isBlind = this.#calls.map(
      (call) =>
        call.kind === 'write' &&
        call.value !== undefined &&
        !this.#meets.has(call.value) &&
        !this.#avoids.has(call.value) &&
        !this.#openSwaps.has(call.value) &&
        // Whoever lost may have lost to it.
        losers.every(({ from, by }) => by < call.call || call.return < from),
    );
  }

  run(maxStandings: number): Judgement {
    let until = Number.NEGATIVE_INFINITY;
    this.#add({ first: 0, beyond: [], state: undefined, used: [] });
    for (let at = this.#left.pop(); at !== undefined; at = this.#left.pop()) {
      if (at.first === this.#calls.length) return { verdict: 'linearizable', until: Infinity };
      if (this.#seen.size > maxStandings) return { verdict: 'undecided', until };
      const choice = this.#choiceOf(at.first, at.beyond);
      until = Math.max(until, choice.endsAt);
      this.#branch(at, choice);
    }
    return { verdict: 'illegal', until };
  }

  /** The standings that may follow; what is likely comes last, and is looked at first. */
  #branch(at: Standing, { calls, endsAt }: Choice): void {
    const { state } = at;
    const swap = calls.find((i) => this.#swapsFrom(i, state));
    if (state !== undefined && this.#unmet(at, state) > (swap === undefined ? 0 : 1)) return;
    if (swap === undefined || state === undefined) {
      const blind = calls.filter((i) => this.#isBlind[i]);
      if (blind.length > 0) this.#place(at, blind, this.#call(blind[0] as number).value);
      this.#bridge(at, calls, endsAt);
      for (const i of calls.toReversed()) {
        const { kind, value } = this.#call(i);
        if (kind === 'write' && this.#isBlind[i] !== true) this.#place(at, [...blind, i], value);
      }
    }
    for (const i of calls) {
      if (this.#swapsFrom(i, state)) this.#place(at, [i], this.#call(i).value);
    }
  }

  /** Calls of unknown outcome take their place where a call that may be next needs the state that they lead to. */
  #bridge(at: Standing, calls: readonly number[], endsAt: number): void {
    const { state, used } = at;
    const some = (tells: (call: RegisterCall) => boolean): boolean =>
      calls.some((i) => tells(this.#call(i)));
    const ways = new Set<string>();
    const use = (i: number, to: Value): void => {
      const kind = this.#kinds[i] as string;
      const way = `${kind}, ${to === undefined ? 'gone' : 'there'}`;
      if (ways.has(way) || used.includes(i)) return;
      ways.add(way);
      this.#add({ ...at, state: to, used: [...used, i].sort((a, b) => a - b) });
    };
    const needsNothing =
      state !== undefined &&
      some(({ kind, value, swapped, expected }) =>
        kind === 'read' ? value === undefined : kind === 'cas' && swapped && expected === undefined,
      );
    const needsOther = some(
      ({ kind, swapped, expected }) => kind === 'cas' && !swapped && expected === state,
    );
    if (needsNothing && this.#goneFrom(state) > endsAt) {
      for (const [i, { kind, call, value }] of this.#open.entries()) {
        if (kind === 'write' && Math.max(call, this.#goneFrom(value)) <= endsAt) use(i, undefined);
      }
    } else if (needsNothing) this.#add({ ...at, state: undefined });
    if (!needsOther) return;
    for (const [i, { kind, call, value }] of this.#open.entries()) {
      if (call <= endsAt && value !== state && (kind === 'write' || state === undefined)) {
        use(i, value);
      }
    }
    if (state === undefined) return;
    for (const { call, value } of this.#openSwaps.get(state) ?? []) {
      if (call <= endsAt) this.#add({ ...at, state: value });
    }
  }

  /** Adds the standing in which these calls, all of them choices, come next. */
  #place({ first, beyond, used }: Standing, calls: readonly number[], state: Value): void {
    this.#add({ ...this.#after(first, beyond, calls), state, used });
  }

  #after(
    first: number,
    beyond: readonly number[],
    calls: readonly number[],
  ): Pick<Standing, 'first' | 'beyond'> {
    const placed = [...beyond, ...calls].sort((a, b) => a - b);
    let next = first;
    while (placed[next - first] === next) next++;
    return { first: next, beyond: placed.slice(next - first) };
  }

  /** What fits and changes nothing is placed; a standing that was met before is not looked at again. */
  #add({ first: from, beyond: early, state, used }: Standing): void {
    let [first, beyond] = [from, early];
    for (;;) {
      const { calls } = this.#choiceOf(first, beyond);
      const fitting = calls.filter((i) => this.#changesNothing(i, state));
      if (fitting.length === 0) break;
      ({ first, beyond } = this.#after(first, beyond, fitting));
    }
    const at = { first, beyond, state, used };
    const stands = state === undefined ? '' : this.#matters(at, state) ? `=${state}` : '*';
    const key = `${first} ${beyond.join(',')} ${used.join(',')} ${stands}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.#left.push(at);
  }

  #choiceOf(first: number, beyond: readonly number[]): Choice {
    const calls: number[] = [];
    let endsAt = Infinity;
    let next = 0;
    for (let i = first; i < this.#calls.length; i++) {
      if (beyond[next] === i) {
        next++;
        continue;
      }
      const call = this.#call(i);
      if (call.call > endsAt) break;
      calls.push(i);
      endsAt = Math.min(endsAt, call.return);
    }
    return { calls, endsAt };
  }

  #changesNothing(i: number, state: Value): boolean {
    const { kind, value, expected, swapped } = this.#call(i);
    return kind === 'read' ? value === state : kind === 'cas' && !swapped && expected !== state;
  }

  #swapsFrom(i: number, state: Value): boolean {
    const { kind, expected, swapped } = this.#call(i);
    return kind === 'cas' && swapped && expected === state;
  }

  /** How many calls that are not placed have to meet the value. */
  #unmet(at: Standing, value: Value): number {
    return countLeft(at, this.#meets.get(value));
  }

  /** Whether anything that may follow depends on it that this value, and no other, is there. */
  #matters(at: Standing, value: Value): boolean {
    const left = this.#unmet(at, value) + countLeft(at, this.#avoids.get(value));
    return left > 0 || this.#openSwaps.has(value);
  }

  /** From when on the value may be gone, with nothing in its place, by calls of unknown outcome that began from it. */
  #goneFrom(value: Value): number {
    if (value === undefined) return Number.NEGATIVE_INFINITY;
    const known = this.#goneAt.get(value);
    if (known !== undefined) return known;
    this.#goneAt.set(value, Infinity);
    const ways = (this.#openSwaps.get(value) ?? []).map((swap) =>
      Math.max(swap.call, this.#goneFrom(swap.value)),
    );
    const from = Math.min(Infinity, ...ways);
    this.#goneAt.set(value, from);
    return from;
  }

  #kindOf({ kind, call, value }: RegisterCall, i: number): string {
    if (value === undefined) return kind;
    const swaps = this.#openSwaps.get(value) ?? [];
    if (this.#avoids.has(value)) return `${i}`;
    if (swaps.length === 0) return `${kind} of anything`;
    const expires = swaps.every((swap) => swap.value === undefined && swap.call <= call);
    return expires ? `${kind} of what expires` : `${i}`;
  }

  #call(i: number): RegisterCall {
    return this.#calls[i] as RegisterCall;
  }
}

/** When the call that writes each value began. */
function beginningsOfValues(calls: readonly RegisterCall[]): ReadonlyMap<Value, number> {
  const beginnings = new Map<Value, number>();
  for (const { kind, known, swapped, call, value } of calls) {
    const writes = kind === 'write' || (kind === 'cas' && (swapped || !known));
    if (!writes || value === undefined) continue;
    if (beginnings.has(value)) throw new Error(`${value} is written twice`);
    beginnings.set(value, call);
  }
  return beginnings;
}

function countLeft({ first, beyond }: Standing, calls: readonly number[] = []): number {
  let left = 0;
  for (let k = calls.length - 1; k >= 0 && (calls[k] as number) >= first; k--) {
    if (!beyond.includes(calls[k] as number)) left++;
  }
  return left;
}

function listAt<Item>(lists: Map<Value, Item[]>, value: Value): Item[] {
  let list = lists.get(value);
  if (list === undefined) lists.set(value, (list = []));
  return list;
}
