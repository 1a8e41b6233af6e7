import { invalidArgument } from '../core/errors.js';
import { typeOf } from './codec.js';

/** A name or an IPv4 address, or an IPv6 address in brackets, and a port. */
const ENDPOINT =
  /^(?:[a-zA-Z0-9_](?:[a-zA-Z0-9_.-]*[a-zA-Z0-9_.])?|\[[0-9a-fA-F:.]+(?:%[\w.-]+)?\]):(\d{1,5})$/;

/** `host:port` texts, also several in one, separated by commas; each once. Throws INVALID_ARGUMENT. */
export function parseEndpoints(endpoints: string | readonly string[]): readonly string[] {
  const given: readonly unknown[] = typeof endpoints === 'string' ? [endpoints] : endpoints;
  if (!Array.isArray(given)) {
    throw invalidArgument(
      'endpoints',
      `must be host:port, or a list of them, got ${typeOf(given)}`,
    );
  }
  const found = new Set<string>();
  for (const text of given) {
    if (typeof text !== 'string') {
      throw invalidArgument('endpoints', `must be host:port, got ${typeOf(text)}`);
    }
    for (const part of text.split(',')) {
      const endpoint = part.trim();
      const port = Number(ENDPOINT.exec(endpoint)?.[1] ?? 0);
      if (port < 1 || port > 65_535) {
        throw invalidArgument(
          'endpoints',
          `${JSON.stringify(endpoint)} is not host:port with a port from 1 to 65535`,
        );
      }
      found.add(endpoint);
    }
  }
  if (found.size === 0) throw invalidArgument('endpoints', 'must name at least one node');
  return [...found];
}
