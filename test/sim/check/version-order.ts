import type { RegisterCall } from './linearizable.js';

/** A call with the version that it was told: of what it wrote, or of what it found; empty: of nothing that ever was. */
export interface VersionedCall extends RegisterCall {
  readonly version: string | undefined;
}

interface Placed {
  readonly call: VersionedCall;
  readonly version: string;
  /** Of what stands at one version: what wrote it, then what found it. */
  readonly rank: number;
}

/**
 * Whether the versions that calls were told are an order that explains them all. It is found by sorting, so it decides what a
 * search would give up: hundreds of calls at once. False says nothing: another order may do.
 */
export function isInOrderOfVersions(calls: readonly VersionedCall[]): boolean {
  const placed: Placed[] = [];
  /** The lowest version under which each value was found. */
  const foundAt = new Map<string | undefined, string>();
  for (const call of calls) {
    if (!call.known) continue;
    const { version } = call;
    if (version === undefined) return false;
    const found = call.kind === 'read' ? call.value : call.swapped ? call.expected : undefined;
    const before = foundAt.get(found);
    if (found !== undefined && (before === undefined || version < before)) {
      foundAt.set(found, version);
    }
    const hasWritten = call.kind === 'write' || (call.kind === 'cas' && call.swapped);
    placed.push({ call, version, rank: hasWritten ? 1 : 2 });
  }
  for (const call of calls) {
    if (call.known || call.kind === 'read') continue;
    // Nobody was told of it: it was right before whoever found it first, or never.
    const version = call.value === undefined ? undefined : foundAt.get(call.value);
    if (version !== undefined) placed.push({ call: { ...call, swapped: true }, version, rank: 0 });
  }
  placed.sort(
    (a, b) => compare(a.version, b.version) || a.rank - b.rank || a.call.call - b.call.call,
  );
  sortWithinEpochs(placed);
  const unseen = calls.filter(
    ({ known, kind, value }) => !known && kind !== 'read' && value === undefined,
  );
  return explains(placed, new Disappearances(unseen));
}

/** Between two changes of the value it does not matter which version was found: what was found is then in the order of calls. */
function sortWithinEpochs(placed: Placed[]): void {
  const epochs = new Map<Placed, number>();
  let epoch = 0;
  let value: string | undefined;
  for (const one of placed) {
    const { rank, call } = one;
    if (rank < 2 || (call.kind === 'read' && call.value !== value)) {
      epoch += 1;
      ({ value } = call);
    }
    epochs.set(one, epoch);
  }
  const epochOf = (one: Placed): number => epochs.get(one) as number;
  placed.sort((a, b) => epochOf(a) - epochOf(b) || a.rank - b.rank || a.call.call - b.call.call);
}

/** What nobody was told of and leaves nothing: deletes, and the swaps for nothing as which values expire. Each is used once. */
class Disappearances {
  /** The first begun first. */
  readonly #deletes: VersionedCall[];
  readonly #swapsOf: Map<string | undefined, VersionedCall>;

  constructor(calls: readonly VersionedCall[]) {
    const swaps = calls.filter(({ kind }) => kind === 'cas');
    this.#swapsOf = new Map(swaps.map((call) => [call.expected, call]));
    this.#deletes = calls.filter(({ kind }) => kind === 'write').sort((a, b) => b.call - a.call);
  }

  /** One that may have taken this value away. */
  take(value: string | undefined): VersionedCall | undefined {
    const swap = this.#swapsOf.get(value);
    this.#swapsOf.delete(value);
    return swap ?? this.#deletes.pop();
  }
}

function explains(placed: readonly Placed[], unseen: Disappearances): boolean {
  let value: string | undefined;
  let latestCall = Number.NEGATIVE_INFINITY;
  for (const { call } of placed) {
    if (call.return < latestCall) return false;
    latestCall = Math.max(latestCall, call.call);
    if (value !== undefined && needsAnother(call, value)) {
      const before = unseen.take(value);
      if (before === undefined || before.call > call.return) return false;
      latestCall = Math.max(latestCall, before.call);
      value = undefined;
    }
    if (call.kind === 'read') {
      if (call.value !== value) return false;
      continue;
    }
    if (call.kind === 'cas' && (call.expected === value) !== call.swapped) return false;
    if (call.kind === 'write' || call.swapped) ({ value } = call);
  }
  return true;
}

/** Whether the call needs that this value is not there any more, and nothing would do. */
function needsAnother(call: VersionedCall, value: string): boolean {
  if (call.kind === 'read') return call.value === undefined;
  if (call.kind !== 'cas') return false;
  return call.swapped ? call.expected === undefined : call.expected === value;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
