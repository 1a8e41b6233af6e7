import { invalidArgument } from '../core/errors.js';

/** The text as one of the words that are known. Throws INVALID_ARGUMENT naming the field. */
export function oneOf<T extends string>(known: readonly T[], text: string, field: string): T {
  if ((known as readonly string[]).includes(text)) return text as T;
  throw invalidArgument(field, `"${text}" is none of ${known.join(', ')}`);
}
