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
  const deletes = calls
    .filter(({ known, kind, value }) => !known && kind === 'write' && value === undefined)
    .sort((a, b) => a.call - b.call);
  return explains(placed, deletes);
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

/** `deletes`: of which nobody was told, the first begun first. Whoever finds nothing may owe it to one of them. */
function explains(placed: readonly Placed[], deletes: readonly VersionedCall[]): boolean {
  let used = 0;
  let value: string | undefined;
  let latestCall = Number.NEGATIVE_INFINITY;
  for (const { call } of placed) {
    if (call.return < latestCall) return false;
    latestCall = Math.max(latestCall, call.call);
    const wantsNothing = call.kind === 'read' ? call.value === undefined : isSwapOfNothing(call);
    if (wantsNothing && value !== undefined) {
      const unseen = deletes[used++];
      if (unseen === undefined || unseen.call > call.return) return false;
      latestCall = Math.max(latestCall, unseen.call);
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

function isSwapOfNothing({ kind, swapped, expected }: VersionedCall): boolean {
  return kind === 'cas' && swapped && expected === undefined;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
