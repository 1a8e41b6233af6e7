import { prefixEnd } from '../../../src/core/key-range.js';
import { HEADER_BYTES } from '../../../src/core/record.js';
import { systemClock } from '../../../src/io/clock.js';
import type { Link, NodePage } from '../../../src/io/link.js';
import { systemRandom } from '../../../src/io/random.js';
import { systemTimers } from '../../../src/io/timers.js';
import { createGrpcLinker } from '../../../src/wire/node-link.js';

/** Keys of a page: a look that finds a difference at once costs the node next to nothing. */
const FIRST_KEYS = 16;
const MOST_KEYS = 2_000;
const TIMEOUT_MS = 10_000;
const NO_BYTES = new Uint8Array(0);

/** What a node must hold: keys in order, each with the header of its record. */
export type Contents = readonly (readonly [key: Uint8Array, header: Uint8Array])[];

/** A channel to one node, which answers scans at ONE from its own replica. */
export async function openLink(endpoint: string): Promise<Link> {
  const linker = createGrpcLinker({
    clock: systemClock,
    timers: systemTimers,
    random: systemRandom,
  });
  return new Promise((resolve, reject) => {
    const link = linker.open(endpoint, (state) => {
      if (state.kind === 'open') resolve(link);
      else if (state.fatal) reject(new Error(state.message));
    });
  });
}

/** All that a node holds of the keys with this prefix. */
export async function contentsOf(link: Link, prefix: Uint8Array): Promise<Contents> {
  const contents: (readonly [Uint8Array, Uint8Array])[] = [];
  let token: Uint8Array = NO_BYTES;
  do {
    const page = await scan(link, prefix, prefix, token, MOST_KEYS);
    if (page === undefined) throw new Error(`${link.endpoint} answers no scan`);
    for (const { key, record } of page.entries) {
      contents.push([key, record.slice(0, HEADER_BYTES)]);
    }
    ({ token } = page);
  } while (token.length > 0);
  return contents;
}

/**
 * How far a node holds what it must. Each look goes on where the last one found a difference, so that waiting for a node to
 * catch up costs it one scan in all, and not one each time.
 */
export class Frontier {
  #reached = 0;

  constructor(
    private readonly link: Link,
    private readonly prefix: Uint8Array,
    private readonly contents: Contents,
  ) {}

  /** True when the node holds all of it. */
  async look(): Promise<boolean> {
    for (let limit = FIRST_KEYS; this.#reached < this.contents.length; limit *= 4) {
      const [from] = this.contents[this.#reached] as Contents[number];
      const page = await scan(this.link, this.prefix, from, NO_BYTES, Math.min(limit, MOST_KEYS));
      if (page === undefined) return false;
      for (const { key, record } of page.entries) {
        const [expected, header] = this.contents[this.#reached] as Contents[number];
        const isHeld =
          Buffer.compare(key, expected) === 0 &&
          Buffer.compare(record.subarray(0, HEADER_BYTES), header) === 0;
        if (!isHeld) return false;
        this.#reached++;
      }
      if (page.entries.length === 0 && page.token.length === 0) return false;
    }
    return true;
  }
}

async function scan(
  link: Link,
  prefix: Uint8Array,
  gte: Uint8Array,
  token: Uint8Array,
  limit: number,
): Promise<NodePage | undefined> {
  const page = await link.scan({
    gte,
    lt: prefixEnd(prefix) ?? NO_BYTES,
    reverse: false,
    limit,
    keysOnly: true,
    token,
    level: 'ONE',
    zone: '',
    timeoutMs: TIMEOUT_MS,
    traceparent: NO_BYTES,
  });
  return page.kind === 'page' ? page : undefined;
}
