import { usageError } from './failure.js';

/** `city/{country}/{name}` taken apart: text between fields. One more text than there are fields. */
export interface KeyTemplate {
  readonly source: string;
  readonly texts: readonly string[];
  /** Each a path of names: `{place.name}` looks in `place` for `name`. */
  readonly fields: readonly (readonly string[])[];
}

export type RenderedKey =
  { readonly ok: true; readonly key: string } | { readonly ok: false; readonly reason: string };

/** `{{` and `}}` stand for the braces themselves. Refuses a template that is not closed, names nothing or has no field. */
export function parseKeyTemplate(source: string): KeyTemplate {
  const texts: string[] = [''];
  const fields: string[][] = [];
  const pattern = /\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+/g;
  for (const [token, field] of source.matchAll(pattern)) {
    if (field !== undefined) {
      if (field === '') throw usageError('--key: {} names no field');
      fields.push(field.split('.'));
      texts.push('');
    } else if (token === '{' || token === '}') {
      throw usageError(
        `--key: a lone ${token} in "${source}"`,
        `Write a field as {name}, and the brace itself as ${token}${token}.`,
      );
    } else {
      texts[texts.length - 1] += token === '{{' ? '{' : token === '}}' ? '}' : token;
    }
  }
  if (fields.length === 0) {
    throw usageError(
      `--key: "${source}" has no {field}, so all records would have one key`,
      "Example: --key 'city/{country}/{name}'",
    );
  }
  return { source, texts, fields };
}

/**
 * The key of one record, or why it has none: a field that is missing, null, an object or an array, or a number beyond 2^53,
 * of which JSON.parse has lost the last digits: two records would share a key.
 */
export function renderKey(template: KeyTemplate, record: unknown): RenderedKey {
  let key = template.texts[0] as string;
  for (let at = 0; at < template.fields.length; at++) {
    const path = template.fields[at] as readonly string[];
    const value = fieldOf(record, path);
    if (value === undefined) return { ok: false, reason: `has no field "${path.join('.')}"` };
    if (value === null || typeof value === 'object') {
      const kind = value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object';
      return { ok: false, reason: `field "${path.join('.')}" is ${kind}, not part of a key` };
    }
    if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value)) {
      return { ok: false, reason: `field "${path.join('.')}" is a number too large to be exact` };
    }
    key +=
      (typeof value === 'string' ? value : JSON.stringify(value)) +
      (template.texts[at + 1] as string);
  }
  return { ok: true, key };
}

/** What `path` leads to; undefined when it leads nowhere. A name with dots in it is found too, if it is there whole. */
export function fieldOf(record: unknown, path: readonly string[]): unknown {
  const whole = path.length > 1 ? ownField(record, path.join('.')) : undefined;
  if (whole !== undefined) return whole;
  let value = record;
  for (const name of path) {
    value = ownField(value, name);
    if (value === undefined) return undefined;
  }
  return value;
}

function ownField(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}
