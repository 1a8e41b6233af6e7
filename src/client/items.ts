import { invalidArgument, KvError } from '../core/errors.js';
import type { BatchOutcome } from './batch.js';
import { typeOf } from './codec.js';

/** Throws INVALID_ARGUMENT unless it can be iterated. */
export function iterable<T>(field: string, items: Iterable<T>): Iterable<T> {
  if (typeof (items as Partial<Iterable<T>> | null | undefined)?.[Symbol.iterator] === 'function') {
    return items;
  }
  throw invalidArgument(field, `must be iterable, got ${typeOf(items)}`);
}

/** Puts the place of an item before what is wrong with it: `entries[17].key: must not be empty`. */
export function named<T>(place: string, prepare: () => T): T {
  try {
    return prepare();
  } catch (error) {
    if (!(error instanceof KvError)) throw error;
    throw new KvError(error.code, `${place}.${error.message}`, { cause: error.cause });
  }
}

/** The first failure as that of the whole: of several writes some may be done although this one is not. */
export function throwFirst(outcome: BatchOutcome<unknown>, field: string, writes: boolean): void {
  if (outcome.firstFailure === undefined) return;
  const { index, error } = outcome.firstFailure;
  throw new KvError(error.code, `${field}[${index}]: ${error.message}`, {
    outcome: writes && outcome.begun > 1 ? 'unknown' : error.outcome,
    cause: error,
    ...(error.node === undefined ? {} : { node: error.node }),
    ...(error.receipt === undefined ? {} : { receipt: error.receipt }),
  });
}
