import type { RegisterCall, Value } from './register.js';

/** What calls of one key say about its values. */
interface Clues {
  /** How many may have brought the value about; nothing at all is how a key begins. */
  readonly writers: ReadonlyMap<Value, number>;
  /** When the first began, and the first ended, of the operations that saw it and whose answer is known. */
  readonly seen: ReadonlyMap<Value, { readonly from: number; readonly by: number }>;
  /** Every value that an operation needs, whether its own answer is known or not. */
  readonly needed: ReadonlySet<Value>;
  /** A compare-and-set that lost says only what the value was not, which any write may explain. */
  readonly someLost: boolean;
}

/**
 * The same calls with fewer open ends, legal exactly when the given ones are. Each call of which nobody was told doubles the
 * orders to try, and a network partition leaves dozens; but the value of most was either seen or not. Seen, and written by
 * nobody else: it took effect, before the first who saw it had ended, and it may as well have been right before that one.
 * Needed by nobody: it may as well never have been.
 */
export function settleUnknown(calls: readonly RegisterCall[]): readonly RegisterCall[] {
  for (let left = calls; ;) {
    const writers = new Map(left.filter(writes).map((call) => [call.value, call]));
    const told = left.filter(
      (call) => !isLoser(call) || !isExplained(call, writers.get(call.expected), left),
    );
    const clues = cluesOf(told);
    const settled = told.flatMap((call) => settle(call, clues));
    if (settled.length === left.length && settled.every((call, i) => call === left[i])) return left;
    left = settled;
  }
}

function isLoser({ kind, known, swapped }: RegisterCall): boolean {
  return kind === 'cas' && known && !swapped;
}

function writes(call: RegisterCall): boolean {
  return call.kind !== 'read' && !isLoser(call);
}

function settle(call: RegisterCall, clues: Clues): readonly RegisterCall[] {
  if (call.known) return [call];
  const seen = clues.seen.get(call.value);
  if (seen !== undefined && clues.writers.get(call.value) === 1) {
    const start = clues.someLost ? call.call : Math.max(call.call, seen.from);
    return [{ ...call, known: true, swapped: call.kind === 'cas', call: start, return: seen.by }];
  }
  return clues.needed.has(call.value) || clues.someLost ? [call] : [];
}

/**
 * Whether it is known without this compare-and-set that what it lost for was not there: something else was, while it was under
 * way, or since the value had been written, which happens once.
 */
function isExplained(
  { call, return: end, expected }: RegisterCall,
  writer: RegisterCall | undefined,
  calls: readonly RegisterCall[],
): boolean {
  if (expected !== undefined && (writer === undefined || writer.call > end)) return true;
  const isElse = (one: RegisterCall): boolean =>
    one.kind === 'cas'
      ? one.swapped && (one.expected !== expected || one.value !== expected)
      : one.value !== expected;
  return calls.some(
    (one) =>
      one.known &&
      isElse(one) &&
      one.return <= end &&
      (one.call >= call ||
        (expected !== undefined &&
          writer !== undefined &&
          one.call > writer.return &&
          one.return < call)),
  );
}

function cluesOf(calls: readonly RegisterCall[]): Clues {
  const writers = new Map<Value, number>([[undefined, 1]]);
  const seen = new Map<Value, { from: number; by: number }>();
  const needed = new Set<Value>();
  let someLost = false;
  for (const call of calls) {
    const lost = isLoser(call);
    someLost ||= lost;
    if (lost) continue;
    if (call.kind !== 'read') writers.set(call.value, (writers.get(call.value) ?? 0) + 1);
    if (call.kind === 'write') continue;
    const value = call.kind === 'read' ? call.value : call.expected;
    needed.add(value);
    if (!call.known) continue;
    const before = seen.get(value) ?? { from: call.call, by: call.return };
    const from = Math.min(before.from, call.call);
    seen.set(value, { from, by: Math.min(before.by, call.return) });
  }
  return { writers, seen, needed, someLost };
}
